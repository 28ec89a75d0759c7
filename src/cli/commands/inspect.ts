// `channel inspect`: one message and what happened to it.
import { OFFSET_MAX } from "../../protocol/names.ts";
import type { AttemptStep, MessageHistory, ReceivedMessage } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import { type Given, parseWhole } from "../command-line/given.ts";
import { escapeControls, jsonOfMessage, lineOfMessage } from "../command-line/message-text.ts";
import { formatTime, type Output } from "../command-line/output.ts";
import type { Session } from "../command-line/session.ts";

export const INSPECT: Command = {
  name: "inspect",
  needed: ["CHANNEL", "OFFSET"],
  summary: "Shows one message without taking it: who put it, and each attempt to deliver it",
  notes: "A message that is gone has no history, unless a dead letter of it is kept.",
  options: [],
  run: inspect,
};

async function inspect(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const channel = session.channel(given.channel);
  const offset = parseWhole("OFFSET", given.operand("OFFSET") ?? "", 1, OFFSET_MAX);
  const history = await channel.history(offset, { signal });
  // Of a dead letter only the history is there.
  const message = await channel.read(offset, { signal });
  const json = { ...(message !== undefined && { message: jsonOfMessage(message) }), history };
  await output.show(json, () => formatInspection(message, history, output));
  return EXIT.ok;
}

function formatInspection(message: ReceivedMessage | undefined, { put, groups }: MessageHistory, output: Output): string {
  const via = [put.via, put.colo].filter((part) => part !== undefined).join(" at ");
  const facts: [string, string][] = [["put", `${formatTime(put.atMs)}${via === "" ? "" : ` over ${via}`}`]];
  if (put.producer !== undefined) facts.push(["producer", put.producer]);
  if (put.redrivenFrom !== undefined) facts.push(["put again from", String(put.redrivenFrom)]);
  for (const { group, state, attempts, omitted, events } of groups) {
    facts.push([`group ${group}`, `${state}, attempts: ${attempts}`]);
    if (omitted > 0) facts.push(["", `(${omitted} earlier attempts are not kept)`]);
    facts.push(...events.map((event): [string, string] => [`attempt ${event.attempt}`, formatAttempt(event)]));
  }
  const shown = message === undefined ? "Only the dead letter is left" : lineOfMessage(message, output);
  return `${shown}\n${output.facts(facts)}`;
}

const TIERS: Readonly<Record<NonNullable<AttemptStep["route"]>["tier"], string>> = {
  key: "it has others of the key",
  colo: "at the colo of its origin",
  region: "in the region of its origin",
  continent: "on the continent of its origin",
  any: "nobody nearer",
};

/** Why it was this reader. */
function formatRoute({ route }: AttemptStep): string {
  if (route === undefined) return "";
  const { tier, reason, candidates, load } = route;
  const among = tier === "key" ? "" : `, ${reason} of ${candidates}`;
  return ` (${TIERS[tier]}${among}, holding ${load})`;
}

/** One line: when, who and why, and how it ended. */
export function formatAttempt(step: AttemptStep): string {
  const { reader, leasedAtMs, endedAtMs, verdict, reason } = step;
  const end = endedAtMs === undefined ? "goes on" : `${verdict} ${formatTime(endedAtMs)}`;
  const by = reader === undefined ? "" : ` by ${reader}`;
  return `${formatTime(leasedAtMs)}${by}${formatRoute(step)}, ${end}${reason === undefined ? "" : `: ${escapeControls(reason)}`}`;
}
