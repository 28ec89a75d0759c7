// Guarantees that can be told from the stored rows and the description alone: nothing here asks the model.
import type { ChannelFacts } from "../../src/channel/operation.ts";
import type { CarriedFrame } from "../../src/channel/attached-leases.ts";
import { endOf, type Lease } from "../../src/channel/delivery-store.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { Message, ScheduledMessage } from "../../src/protocol/message.ts";
import { endOffset } from "../../src/channel/run.ts";
import { decodeGonePlaces } from "../../src/channel/gone-places.ts";
import type { GroupDescription } from "../../src/protocol/description.ts";
import { expectHolds } from "./failure.ts";
import type { FaultyStore } from "./faulty-store.ts";

/** Before the head of a group; what is left there stays there. */
const DONE_ROWS_LOOKED_AT = 6;

/** Everything that is kept, as browsing shows it, and the groups as they are listed. */
export interface Seen {
  readonly facts: ChannelFacts;
  readonly messages: readonly Message[];
  readonly groups: readonly GroupDescription[];
  /** In the order of entering. */
  readonly scheduled: readonly ScheduledMessage[];
}

/** What is left of a channel when it sleeps. */
interface Asleep {
  readonly store: FaultyStore;
  /** Leases that sockets carry. */
  readonly frames: readonly CarriedFrame[];
}

export function checkInvariants({ store, frames }: Asleep, seen: Seen, nowMs: number): void {
  checkConservation(store, seen);
  checkScheduled(seen, nowMs);
  checkBounds(store, seen);
  const ids = new Map(store.groups.readGroups().map(({ id, name }) => [name, id]));
  for (const group of seen.groups) {
    const id = ids.get(group.group) ?? 0;
    const open = seen.messages.filter(({ offset }) => offset >= group.headOffset && !isDone(store, id, offset));
    const leases = liveLeases(store, id, new Set(open.map(({ offset }) => offset)));
    const carried = addCarried(
      leases,
      frames.filter((frame) => frame.group === id),
    );
    checkMark(store, id, frames);
    checkAccount(group, open);
    checkLeases(carried, group, nowMs);
    checkKeyOrder(carried, open);
    checkRows(store, id, group);
  }
}

interface HeldLease {
  readonly holder: string;
  readonly endsAtMs: number;
}

/** G4, from the description and from what is stored. */
function checkConservation(store: FaultyStore, { facts, messages }: Seen): void {
  const { put, acked, removed, deadLettered, dropped, expired } = facts.counts;
  const { depth } = facts;
  expectHolds(
    put === depth + acked + removed + deadLettered + dropped + expired,
    `[G4] put is not the sum: ${JSON.stringify(facts.counts)}, ${depth}`,
  );
  expectHolds(Math.min(put, acked, removed, deadLettered, dropped, expired) >= 0, "[G4] a count below 0");
  expectHolds(facts.settings.retention !== "log" || acked === 0, "[GP1] a log lost what was acked");
  expectHolds(depth === messages.length, `[G4] the depth is ${depth}, but ${messages.length} messages are kept`);
  const stored = store.listSegments();
  // The row of the last one stays for the next, while there is none (rule RC7).
  const isSpare = stored.length === 1 && stored.every((run) => endOffset(run) <= facts.firstOffset);
  const segments = isSpare ? [] : stored;
  const isNeeded = segments.every((run) => endOffset(run) > facts.firstOffset && run.present > run.gone.size);
  expectHolds(isNeeded, "[RC7] a segment without a kept record");
  expectHolds(facts.segments === segments.length, `[RC7] ${facts.segments} segments described, ${segments.length} stored`);
}

/** G4 of a group (rule GP3). */
function checkAccount(group: GroupDescription, open: readonly Message[]): void {
  const { depth, ready, leased, retrying, quarantined, counts } = group;
  const { put, acked, deadLettered, removed, dropped, expired, skipped } = counts;
  const ended = acked + deadLettered + removed + dropped + expired + skipped;
  expectHolds(put === depth + ended, `[G4] put of a group is not the sum: ${JSON.stringify(group)}`);
  expectHolds(depth === ready + leased + retrying + quarantined, `[G4] depth is not the sum: ${JSON.stringify(group)}`);
  expectHolds(Math.min(...Object.values(counts), ready, leased, retrying, quarantined) >= 0, "[G4] a count of a group below 0");
  expectHolds(depth === open.length, `[G4] the depth of ${group.group} is ${depth}, but it has ${open.length} to do`);
}

/** Whether the stored rows say that a group has done with a message. */
function isDone(store: FaultyStore, group: number, offset: number): boolean {
  const places = store.groups.readDone(group, Math.floor(offset / LIMITS.doneOffsetsPerRow));
  return places !== undefined && decodeGonePlaces(places).has(offset % LIMITS.doneOffsetsPerRow);
}

/** Those that sockets carry, beside those that are stored. */
function addCarried(stored: ReadonlyMap<number, Lease>, frames: readonly CarriedFrame[]): Map<number, HeldLease> {
  const leases = new Map<number, HeldLease>();
  for (const [offset, lease] of stored) leases.set(offset, { holder: lease.holder, endsAtMs: endOf(lease) });
  for (const { offsets, holder, deadlineMs } of frames) {
    for (const offset of offsets) {
      expectHolds(!leases.has(offset), `[G3] two leases of the message at ${offset}`);
      leases.set(offset, { holder, endsAtMs: deadlineMs });
    }
  }
  return leases;
}

/** LS8: whoever holds what is not stored is known. */
function checkMark(store: FaultyStore, id: number, frames: readonly CarriedFrame[]): void {
  const { mark } = store.readRows().get(id) ?? {};
  for (const { group, connection } of frames) {
    const isKnown = group !== id || mark?.connections.includes(connection) === true;
    expectHolds(isKnown, `[LS8] nothing tells that connection ${connection} holds leases`);
  }
}

/** G3, from what is stored and carried: one live lease for each message, and those that are described. */
function checkLeases(leases: ReadonlyMap<number, HeldLease>, { leased }: GroupDescription, nowMs: number): void {
  expectHolds(leases.size === leased, `[G3] ${leases.size} leases stored, ${leased} described`);
  for (const [offset, { endsAtMs }] of leases) expectHolds(endsAtMs > nowMs, `[LS6] the lease of ${offset} is over`);
}

/** G5, from the stored rows: one holder for each key, who has its first messages. */
function checkKeyOrder(leases: ReadonlyMap<number, HeldLease>, messages: readonly Message[]): void {
  const holders = new Map<string, string>();
  const open = new Map<string, number>();
  for (const { offset, key } of messages) {
    if (key === undefined) continue;
    const lease = leases.get(offset);
    if (lease === undefined) {
      open.set(key, open.get(key) ?? offset);
      continue;
    }
    const holder = holders.get(key) ?? lease.holder;
    expectHolds(holder === lease.holder, `[G5] two readers hold messages of the key ${key}`);
    holders.set(key, holder);
    expectHolds(!open.has(key), `[G5] ${offset} of the key ${key} is leased while ${open.get(key) ?? 0} is not`);
  }
}

/** SD2, SD4 and SD5. */
function checkScheduled({ facts, scheduled }: Seen, nowMs: number): void {
  const { messages, nextAtMs } = facts.scheduled;
  expectHolds(messages === scheduled.length, `[SD3] ${messages} scheduled messages described, ${scheduled.length} listed`);
  const first = scheduled[0]?.deliverAtMs ?? null;
  expectHolds(nextAtMs === first, `[SD9] the first scheduled message is due at ${first}, not at ${nextAtMs}`);
  expectHolds(first === null || first > nowMs, `[SD5] a message that was due at ${first} has not entered`);
}

/** G6. */
function checkBounds(store: FaultyStore, { facts }: Seen): void {
  expectHolds(facts.waiters <= LIMITS.waitersMax, `[G6] ${facts.waiters} waiters`);
  expectHolds(facts.deadLetters.messages <= LIMITS.deadLettersMax, `[G6] ${facts.deadLetters.messages} dead letters`);
  expectHolds(facts.deadLetters.bytes <= LIMITS.deadLetterBytesMax, `[G6] ${facts.deadLetters.bytes} bytes of dead letters`);
  const { count, bytes } = store.checkpoints.readTotals();
  expectHolds(count <= LIMITS.checkpointsMax, `[G6] ${count} checkpoints`);
  expectHolds(bytes <= LIMITS.checkpointsBytesMax, `[G6] ${bytes} bytes of checkpoints`);
  for (const run of store.listSegments()) {
    const isSmall = run.present <= LIMITS.segmentRecordsMax && (run.bytes <= LIMITS.segmentBytesMax || run.present === 1);
    expectHolds(isSmall, `[RC4] the segment ${run.firstOffset} has ${run.present} records of ${run.bytes} bytes`);
  }
  expectHolds(store.groups.readGroups().length <= LIMITS.groupsMax, "[GP9] too many groups");
  const known = new Set([0, ...store.groups.readGroups().map(({ id }) => id)]);
  expectHolds(
    [...store.readRows().keys()].every((id) => known.has(id)),
    "[GP9] rows of a group that is not there",
  );
}

function checkRows(store: FaultyStore, id: number, { headOffset }: GroupDescription): void {
  const headBucket = Math.floor(headOffset / LIMITS.doneOffsetsPerRow);
  for (let bucket = Math.max(0, headBucket - DONE_ROWS_LOOKED_AT); bucket < headBucket; bucket++)
    expectHolds(
      store.groups.readDone(id, bucket) === undefined,
      `[GP9] the row ${bucket} of what a group has done is not needed`,
    );
  const { leases, deferred } = store.readRows().get(id) ?? { leases: [], deferred: [] };
  expectHolds(
    leases.every((row) => row.leases.length > 0 && row.leases.length <= LIMITS.leasesPerRowMax),
    "[LS11] a row of leases that is empty or too long",
  );
  for (const { bucket, messages } of deferred) {
    const isInBucket = messages.every(({ offset }) => Math.floor(offset / LIMITS.deferredOffsetsPerRow) === bucket);
    expectHolds(isInBucket && messages.length > 0, `[KO5] the row ${bucket} of deferred messages is empty or mixed`);
    const isNeeded = messages.some(({ offset }) => offset >= headOffset) || bucket >= bucketOf(headOffset);
    expectHolds(isNeeded, `[KO5] the row ${bucket} of deferred messages is not needed`);
  }
}

function bucketOf(offset: number): number {
  return Math.floor(offset / LIMITS.deferredOffsetsPerRow);
}

/** The stored leases of messages that a group has not done with. Others ended before its head; nobody rewrites their rows (LS11). */
function liveLeases(store: FaultyStore, id: number, open: ReadonlySet<number>): Map<number, Lease> {
  const rows = store.readRows().get(id) ?? { leases: [], deferred: [] };
  const leases = new Map<number, Lease>();
  for (const row of rows.leases) {
    for (const lease of row.leases) {
      if (!open.has(lease.offset)) continue;
      expectHolds(!leases.has(lease.offset), `[G3] two stored leases of the message at ${lease.offset}`);
      leases.set(lease.offset, lease);
    }
  }
  for (const { messages } of rows.deferred) {
    for (const { offset } of messages)
      expectHolds(!leases.has(offset), `[G3] the message at ${offset} is stored as leased and as given back`);
  }
  return leases;
}
