// What an inspection tells the checker: all that is there while nothing else goes on. It settles every unknown outcome so far.
import type { Inspection, Seen } from "./history.ts";
import type { End, Send, Tracked } from "./tracked.ts";
import type { FaultKind } from "./verdict.ts";

/** The puts of each connection since the last inspection, in the order of sending. */
export type Sends = Map<string, Send[]>;

/** What the ledger knows, and what may be done to it. */
export interface InspectedState {
  readonly maxMessages: number;
  readonly totals: {
    readonly stored: number;
    readonly acked: number;
    readonly unseen: number;
    readonly taken: number;
    readonly dead: number;
  };
  readonly unended: ReadonlySet<Tracked>;
  readonly rejected: ReadonlySet<Tracked>;
  readonly sends: Sends;
  readonly lostGetsMax: number;
  readonly unknowable: () => number;
  readonly identify: (seen: Seen) => Tracked | undefined;
  readonly end: (tracked: Tracked, end: End) => void;
  readonly forgetPut: (tracked: Tracked) => void;
  readonly report: (kind: FaultKind, text: string) => void;
}

export function checkInspection(inspection: Inspection, state: InspectedState): void {
  const there = checkBrowsed(inspection, state);
  const diedMeanwhile = checkDeadLetters(inspection, state, there);
  checkMissing(inspection, state, there);
  for (const sends of state.sends.values()) checkSends(sends, state);
  checkCounts(inspection, state, diedMeanwhile);
}

function checkBrowsed({ browsed }: Inspection, state: InspectedState): ReadonlySet<Tracked> {
  const there = new Set<Tracked>();
  let last = 0;
  if (browsed.length > state.maxMessages) state.report("overLimit", `${browsed.length} messages are there`);
  for (const seen of browsed) {
    if (seen.offset <= last) state.report("outOfOrder", `${seen.name} at ${seen.offset} was browsed after ${last}`);
    last = seen.offset;
    const tracked = state.identify(seen);
    if (tracked === undefined) continue;
    if (there.has(tracked)) state.report("misplaced", `${seen.name} is there twice`);
    there.add(tracked);
    if (tracked.end !== undefined) state.report("ackedTwice", `${seen.name} is there again, but had ended: ${tracked.end}`);
    // Calls of unknown outcome did not end it, and never will.
    tracked.endings = 0;
  }
  return there;
}

/** Returns how many died between the two looks. */
function checkDeadLetters({ deadLetters }: Inspection, state: InspectedState, there: ReadonlySet<Tracked>): number {
  let diedMeanwhile = 0;
  for (const seen of deadLetters) {
    const tracked = state.identify(seen);
    if (tracked === undefined || tracked.end === "dead") continue;
    if (tracked.end !== undefined && tracked.end !== "rejected") {
      state.report("ackedTwice", `${seen.name} is a dead letter, but had ended: ${tracked.end}`);
      continue;
    }
    if (there.has(tracked)) diedMeanwhile += 1;
    state.end(tracked, "dead");
  }
  for (const tracked of state.rejected) {
    state.report("lost", `${tracked.name} was rejected and is not among the dead letters`);
    state.end(tracked, "dead");
  }
  return diedMeanwhile;
}

/** What was stored and has not ended is there, unless a call without an answer explains that it is not. */
function checkMissing({ browsed }: Inspection, state: InspectedState, there: ReadonlySet<Tracked>): void {
  const head = browsed[0]?.offset ?? Infinity;
  let explained = state.lostGetsMax;
  for (const tracked of state.unended) {
    if (there.has(tracked)) continue;
    const { name, offset } = tracked;
    if (offset === undefined) state.forgetPut(tracked);
    else {
      // Gets take from the head, so what they took lies before what is left.
      const isTaken = explained > 0 && offset < head;
      if (tracked.endings > 0) tracked.endings = 0;
      else if (isTaken) explained -= 1;
      else state.report("lost", `${name}, put at ${offset}, is gone and nobody ended it`);
      state.end(tracked, "unseen");
    }
  }
}

/** Of one connection: batches whole, in the order of sending, and nothing without what was sent before (G2, G8). */
function checkSends(sends: readonly Send[], state: InspectedState): void {
  let last = 0;
  let missing: string | undefined;
  for (const { messages, mayBeRefused } of sends) {
    const name = messages[0]?.name ?? "";
    const offsets = messages.map(({ offset }) => offset).filter((offset) => offset !== undefined);
    // What a get without an answer took can not be told from what was never stored.
    const isTellable = state.lostGetsMax === 0;
    if (offsets.length === 0) {
      if (isTellable && !mayBeRefused) missing ??= name;
      continue;
    }
    if (offsets.length < messages.length && isTellable) state.report("torn", `${name} and ${messages.length - 1} more`);
    if (missing !== undefined) state.report("outOfOrder", `${name} was stored without ${missing}, which was sent before it`);
    for (const offset of offsets) {
      if (offset <= last) state.report("outOfOrder", `${name} at ${offset} was sent after what is at ${last}`);
      last = offset;
    }
  }
}

/** Conservation (G4), and the counts against what is known. */
function checkCounts({ browsed, depth, counts }: Inspection, state: InspectedState, diedMeanwhile: number): void {
  const { stored, acked, unseen, taken, dead } = state.totals;
  const ended = acked + unseen + taken;
  const wrong = (what: string): void => state.report("counts", `${what}: ${JSON.stringify({ depth, ...counts })}`);
  if (counts.put !== depth + counts.acked + counts.removed + counts.deadLettered)
    wrong("put is not the sum of what became of it");
  if (!isWithin(depth, browsed.length - diedMeanwhile, diedMeanwhile)) wrong(`depth is not the ${browsed.length} that are there`);
  if (!isWithin(counts.put, stored, state.unknowable())) wrong(`put is not the ${stored} that were stored`);
  if (!isWithin(counts.acked, ended, state.unknowable())) wrong(`acked is not the ${ended} that ended`);
  if (!isWithin(counts.deadLettered, dead - diedMeanwhile, diedMeanwhile)) wrong(`deadLettered is not the ${dead} seen`);
  if (counts.removed !== 0) wrong("nothing was removed");
}

function isWithin(value: number, min: number, further: number): boolean {
  return value >= min && value <= min + further;
}
