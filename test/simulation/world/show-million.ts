// The part of `npm run simulate -- --world` about a million readers.
import { Random } from "../random.ts";
import { weighColos } from "./all-colos.ts";
import { needColo } from "./eight-colos.ts";
import { countMillion, type Million, READERS_OF_RELAY_MAX, type SendFigures } from "./million.ts";

const READERS = 1_000_000;
const CHANNEL = "IAD";

/** Which colos are large is drawn with the seed. */
export function showMillion(seed: number, print: (line: string) => void): void {
  const places = weighColos(new Random(seed), READERS);
  const { readers, relays, figures, wakingMs, secondTierRelays, bytesBetween, memory } = countMillion(places, needColo(CHANNEL));
  print(
    `\n${formatCount(readers)} plain readers in ${places.length} colos, the channel in ${CHANNEL}, ${relays} relays of at most ` +
      `${formatCount(READERS_OF_RELAY_MAX)}; one frame of a 1 KB`,
  );
  print("message a commit. Arithmetic on measured costs: what a commit needs beside sending, and the network, are left out.");
  print("Without relays it is arithmetic alone: no object takes more than 32,768 sockets.\n");
  print("send   commits/s: channel  full relay  no relays  delivery p50  p99       without relays p50  p99");
  for (const one of figures) print(formatFigures(one));
  print(`\nAll relays asleep: the commit that wakes them takes the channel ${wakingMs.toFixed(0)} ms.`);
  print(
    `A second tier of relays has a use from ${formatCount(secondTierRelays)} relays on: until then a full relay, not the channel, is the slowest.`,
  );
  print(
    `Out of the channel's colo for each commit: ${formatBytes(bytesBetween.relayed)}, without relays ${formatBytes(bytesBetween.plain)}.`,
  );
  print(`Copied by the runtime for a commit, and attachments at their most: ${formatMemory(memory)}.`);
}

function formatFigures(one: SendFigures): string {
  const cells = [
    `${(one.sendMs * 1000).toFixed(0)} µs`.padEnd(5),
    one.commitsOfChannel.toFixed(0).padEnd(18),
    one.commitsOfRelay.toFixed(0).padEnd(10),
    one.commitsWithoutRelays.toFixed(2).padEnd(9),
    formatMs(one.deliveryP50Ms).padEnd(12),
    formatMs(one.deliveryP99Ms).padEnd(8),
    formatMs(one.p50WithoutRelaysMs).padEnd(18),
    formatMs(one.p99WithoutRelaysMs),
  ];
  return cells.join("  ");
}

function formatMemory(memory: Million["memory"]): string {
  const named = { channel: "channel", relay: "full relay", withoutRelays: "a channel without relays" } as const;
  return (["channel", "relay", "withoutRelays"] as const)
    .map((one) => `${named[one]} ${formatBytes(memory[one].copies)} and ${formatBytes(memory[one].attachments)}`)
    .join("; ");
}

function formatMs(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}

function formatBytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function formatCount(count: number): string {
  return count.toLocaleString("en");
}
