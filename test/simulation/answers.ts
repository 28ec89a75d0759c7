// Answers of the channel: in a form that can be compared, counted, and as text for people.
import type { Delivered, Effect, Operation, Origin, Outcome } from "../../src/channel/operation.ts";
import type { Tally } from "./tally.ts";

/** Counts what kind of an answer it is. */
export function countOutcome(tally: Tally, outcome: Outcome): void {
  for (const event of eventsIn(outcome)) tally.count("event", event);
  if (outcome.type === "refused") {
    const { refusal } = outcome;
    tally.count("refusal", refusal.kind);
    const parts = refusal.kind === "settle-refused" ? refusal.refused : [];
    for (const { problem } of parts) tally.count("refusal", `settle-refused: ${problem.kind}`);
  }
  if (outcome.type !== "settled") return;
  for (const { refusal } of outcome.refused) {
    tally.count("refusal", refusal.kind === "lease-lost" ? `lease-lost: ${refusal.cause}` : refusal.kind);
  }
}

/** Refused entries come in no order that matters, and the channel chooses how it names what is scheduled. */
export function comparable(outcome: Outcome): object {
  if (outcome.type === "settled") return { ...outcome, refused: byPointer(outcome.refused) };
  if (outcome.type === "refused" && outcome.refusal.kind === "settle-refused") {
    return { ...outcome, refusal: { ...outcome.refusal, refused: byPointer(outcome.refusal.refused) } };
  }
  if (outcome.type === "put" && outcome.scheduled !== undefined) {
    return { ...outcome, scheduled: outcome.scheduled.map(({ index, deliverAtMs }) => ({ index, deliverAtMs })) };
  }
  return outcome;
}

/** Answers to those who wait come in the order in which they were served; no rule says in which order subscribers are sent theirs. */
export function inOrder(effects: readonly Effect[]): readonly Effect[] {
  const sent = effects.filter(isSent);
  if (sent.length === 0) return effects;
  sent.sort((a, b) => a.connection - b.connection || a.request - b.request);
  return [...effects.filter((effect) => !isSent(effect)), ...sent];
}

function isSent({ outcome: { type } }: Effect): boolean {
  return type === "delivered" || type === "pressure" || type === "ended";
}

function byPointer<Part extends { readonly pointer: string }>(parts: readonly Part[]): Part[] {
  return [...parts].sort((a, b) => (a.pointer < b.pointer ? -1 : 1));
}

/** What is worth counting of an answer that is no refusal. */
function eventsIn(outcome: Outcome): string[] {
  if (outcome.type === "put" && outcome.isDuplicate === true) return ["a duplicate is answered"];
  if (outcome.type === "put" && outcome.scheduled !== undefined) return ["messages are scheduled"];
  if (outcome.type === "delivered") return eventsInDelivered(outcome);
  if (outcome.type === "pressure") return [`a connection that watches is told of ${outcome.level} pressure`];
  if (outcome.type === "ended" && outcome.refusal !== undefined) return [`a subscription ends: ${outcome.refusal.kind}`];
  if (outcome.type !== "settled") return [];
  return [
    ...(outcome.checkpoint === undefined ? [] : ["a checkpoint rides on a settle"]),
    ...(outcome.put === undefined ? [] : ["puts ride on a settle"]),
  ];
}

function eventsInDelivered({ messages, controls, granted, resume, gap }: Delivered): string[] {
  const isBare = granted === undefined && messages.length + controls.length === 0 && gap === undefined;
  return [
    granted === undefined
      ? resume === undefined
        ? "a tap is sent a frame"
        : "a reader is sent a frame"
      : "a member is sent a frame",
    ...(granted?.redelivered.includes(true) === true ? ["a member is sent what came back"] : []),
    ...(gap === undefined ? [] : ["a reader is told of a gap"]),
    ...(isBare ? ["a reader is only told how far it came"] : []),
  ];
}

export function formatOperation(operation: Operation, origin: Origin | undefined, outcome: Outcome): string {
  const { type, ...rest } = operation;
  const from = origin === undefined ? "" : ` from ${origin.connection}/${origin.request}`;
  return `  ${type} ${JSON.stringify(rest, shorten)}${from} -> ${formatOutcome(outcome)}`;
}

export function formatOutcome(outcome: Outcome): string {
  const { type, ...rest } = outcome;
  return `${type} ${"facts" in rest ? "" : JSON.stringify(rest, shorten)}`;
}

function shorten(name: string, value: unknown): unknown {
  return name === "body" || (name === "value" && value instanceof Uint8Array)
    ? Buffer.from(value as Uint8Array).toString("latin1", 0, 12)
    : value;
}
