// The readers: pulls with leases over WebSocket and HTTP, settled in every way that is allowed and some that are refused.
import type { SeededRandom } from "../e2e/hostile/seeded-random.ts";
import type { Leased, SettleLists } from "./history.ts";
import { type Load, whereOf } from "./load.ts";
import { EXTEND_MS, type Port } from "./port.ts";

const LANES = 3;
const PULL_MAX = 16;
const WAIT_MS = 1000;
const LEASE_MS_MIN = 1000;
const LEASE_MS_MAX = 2000;
/** Leases of a connection end soon after it was cut off, as every one is by a kill, however long they are. */
const LONG_LEASE_MS = 3_600_000;
const LONG_LEASE_SHARE = 0.3;
const NOTHING: SettleLists = { acks: [], rejects: [], retries: [], extends: [], releases: [] };

type Style = "one-by-one" | "shuffled" | "bulk" | "partial" | "mixed" | "twice" | "keep";
const STYLES: readonly (readonly [style: Style, weight: number])[] = [
  ["one-by-one", 30],
  ["shuffled", 8],
  ["bulk", 30],
  ["partial", 12],
  ["mixed", 14],
  ["twice", 8],
  ["keep", 4],
];
const VERBS: readonly (readonly [verb: keyof SettleLists, weight: number])[] = [
  ["acks", 75],
  ["retries", 8],
  ["releases", 7],
  ["extends", 9],
  ["rejects", 3],
];

/** Pulls and settles until the load is over. A WebSocket has several pulls in flight. */
export async function runReader(load: Load, port: Port, lanes = LANES): Promise<void> {
  const lane = async (): Promise<void> => {
    while (!load.isOver() && port.isOpen) await settle(load, port, await pull(load, port));
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** Connects, pulls a few times and goes away, again and again: with leases, with requests in flight, cleanly or cut off. */
export async function runLeavingReader(load: Load, channel: string): Promise<void> {
  const { random, isOver } = load;
  while (!isOver()) {
    const port = await load.open(channel);
    for (let step = random.int(1, 6); step > 0 && !isOver(); step--) await settle(load, port, await pull(load, port));
    const leases = await pull(load, port);
    const last = random.chance(0.5) ? settle(load, port, leases) : undefined;
    load.recorder.mark({ type: "close", ...whereOf(port) });
    await port.close(random.chance(0.5) ? "clean" : "cut");
    await last;
  }
}

/** Settles some of what readers held when the runtime was killed, since leases outlive it; nobody may be given the rest meanwhile. */
export async function runHeir(load: Load, port: Port): Promise<void> {
  const acks = load.held.splice(0).filter(() => load.random.chance(0.5));
  if (acks.length > 0) await send(load, port, { acks });
}

export async function settleAll(load: Load, port: Port, messages: readonly Leased[]): Promise<void> {
  await send(load, port, { acks: messages.map(({ leaseId }) => leaseId) });
}

/** Takes at most once, several gets in flight. */
export async function runTakingReader({ recorder, random, isOver }: Load, port: Port): Promise<void> {
  const lane = async (): Promise<void> => {
    while (!isOver() && port.isOpen) {
      const max = random.int(1, PULL_MAX);
      await recorder.record(whereOf(port), { f: "get", max }, () => port.get({ max, waitMs: WAIT_MS }));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function pull({ recorder, random }: Load, port: Port): Promise<readonly Leased[]> {
  const max = random.int(1, PULL_MAX);
  // Leases of pulls over HTTP belong to no connection.
  const isDetached = port.isDetaching || random.chance(0.5);
  const isLong = !isDetached && random.chance(LONG_LEASE_SHARE);
  const leaseMs = isLong ? LONG_LEASE_MS : random.int(LEASE_MS_MIN, LEASE_MS_MAX);
  const call = { f: "pull", max, leaseMs, isDetached } as const;
  const reply = await recorder.record(whereOf(port), call, () => port.pull({ max, leaseMs, isDetached, waitMs: WAIT_MS }));
  return reply.type === "ok" ? reply.value.messages : [];
}

async function settle(load: Load, port: Port, messages: readonly Leased[]): Promise<void> {
  const { random } = load;
  const ids = messages.map(({ leaseId }) => leaseId);
  if (ids.length === 0) return;
  switch (pickWeighted(random, STYLES)) {
    case "one-by-one":
      await Promise.all(ids.map((id) => send(load, port, { acks: [id] })));
      return;
    case "shuffled":
      // Acks ahead of an earlier message of the key are refused, and come again.
      await Promise.all(shuffle(random, ids).map((id) => send(load, port, { acks: [id] })));
      await send(load, port, { acks: ids });
      return;
    case "bulk":
      await send(load, port, { acks: ids });
      return;
    case "partial": {
      const half = Math.ceil(ids.length / 2);
      await send(load, port, { acks: ids.slice(0, half) });
      await send(load, port, { acks: ids.slice(half) });
      return;
    }
    case "mixed":
      await settleMixed(load, port, ids);
      return;
    case "twice":
      await Promise.all([send(load, port, { acks: ids }), send(load, port, { acks: ids })]);
      return;
    case "keep":
      load.held.push(...ids);
      return;
  }
}

async function settleMixed(load: Load, port: Port, ids: readonly string[]): Promise<void> {
  const lists: Record<keyof SettleLists, string[]> = { acks: [], rejects: [], retries: [], extends: [], releases: [] };
  for (const id of ids) lists[pickWeighted(load.random, VERBS)].push(id);
  await send(load, port, lists);
  // By leases that were given back nothing can be settled any more, whoever has the message now.
  await send(load, port, { acks: [...lists.retries, ...lists.releases] });
  if (load.random.chance(0.5)) load.held.push(...lists.extends);
  else await send(load, port, { acks: lists.extends });
}

async function send({ recorder }: Load, port: Port, given: Partial<SettleLists>): Promise<void> {
  const lists: SettleLists = { ...NOTHING, ...given };
  if (Object.values(lists).every((list) => list.length === 0)) return;
  await recorder.record(whereOf(port), { f: "settle", extendMs: EXTEND_MS, ...lists }, () => port.settle(lists));
}

function pickWeighted<Item>(random: SeededRandom, items: readonly (readonly [Item, number])[]): Item {
  let left = random.next() * items.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [item, weight] of items) {
    left -= weight;
    if (left < 0) return item;
  }
  return random.pick(items)[0];
}

function shuffle<Item>(random: SeededRandom, items: readonly Item[]): Item[] {
  return items
    .map((item) => ({ item, place: random.next() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
