// Guarantees that can be told from the stored rows and the description alone: nothing here asks the model.
import type { ChannelFacts } from "../../src/channel/operation.ts";
import type { Lease } from "../../src/channel/delivery-store.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { Message, ScheduledMessage } from "../../src/protocol/message.ts";
import { Broken, expectHolds } from "./failure.ts";
import type { FaultyStore } from "./faulty-store.ts";

/** Everything that is kept, as browsing shows it. */
export interface Seen {
  readonly facts: ChannelFacts;
  readonly messages: readonly Message[];
  /** In the order of entering. */
  readonly scheduled: readonly ScheduledMessage[];
}

export function checkInvariants(store: FaultyStore, seen: Seen, nowMs: number): void {
  const kept = new Map(seen.messages.map((message) => [message.offset, message]));
  const leases = liveLeases(store, kept);
  checkConservation(store, seen);
  checkLeases(leases, seen, nowMs);
  checkKeyOrder(leases, seen.messages);
  checkScheduled(seen, nowMs);
  checkBounds(store, seen);
}

/** G4, from the description and from what is stored. */
function checkConservation(store: FaultyStore, { facts, messages }: Seen): void {
  const { put, acked, removed, deadLettered } = facts.counts;
  const { ready, leased, retrying, quarantined } = deliveryOf(facts);
  const { depth } = facts;
  expectHolds(
    put === depth + acked + removed + deadLettered,
    `[G4] put is not the sum: ${JSON.stringify(facts.counts)}, ${depth}`,
  );
  expectHolds(depth === ready + leased + retrying + quarantined, `[G4] depth is not the sum: ${JSON.stringify(facts.delivery)}`);
  expectHolds(Math.min(put, acked, removed, deadLettered, ready, leased, retrying, quarantined) >= 0, "[G4] a count below 0");
  expectHolds(depth === messages.length, `[G4] the depth is ${depth}, but ${messages.length} messages are kept`);
  const segments = store.listSegments();
  const live = segments.filter(({ segment }) => segment.firstOffset + segment.count > facts.firstOffset);
  expectHolds(live.length === segments.length && live.every((one) => one.live > 0), "[RC7] a segment without a kept record");
  expectHolds(facts.segments === segments.length, `[RC7] ${facts.segments} segments described, ${segments.length} stored`);
}

/** G3, from the stored rows: one live lease for each message, and those that are described. */
function checkLeases(leases: ReadonlyMap<number, Lease>, { facts }: Seen, nowMs: number): void {
  expectHolds(
    leases.size === deliveryOf(facts).leased,
    `[G3] ${leases.size} leases stored, ${deliveryOf(facts).leased} described`,
  );
  for (const { offset, deadlineMs } of leases.values()) {
    expectHolds(deadlineMs > nowMs, `[LS6] the lease of ${offset} is over`);
  }
}

/** G5, from the stored rows: one holder for each key, who has its first messages. */
function checkKeyOrder(leases: ReadonlyMap<number, Lease>, messages: readonly Message[]): void {
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

/** The account of the one group of a queue. */
function deliveryOf({ delivery }: ChannelFacts): NonNullable<ChannelFacts["delivery"]> {
  if (delivery === null) throw new Broken("A queue has a group");
  return delivery;
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
  for (const { segment } of store.listSegments()) {
    const isSmall = segment.count <= LIMITS.segmentRecordsMax && (segment.bytes <= LIMITS.segmentBytesMax || segment.count === 1);
    expectHolds(isSmall, `[RC4] the segment ${segment.firstOffset} has ${segment.count} records of ${segment.bytes} bytes`);
  }
  const leaseRows = store.readRows().leases;
  expectHolds(
    leaseRows.every(({ leases }) => leases.length > 0 && leases.length <= LIMITS.leasesPerRowMax),
    "[LS11] a row of leases that is empty or too long",
  );
  for (const { bucket, messages } of store.readRows().deferred) {
    const isInBucket = messages.every(({ offset }) => Math.floor(offset / LIMITS.deferredOffsetsPerRow) === bucket);
    expectHolds(isInBucket && messages.length > 0, `[KO5] the row ${bucket} of deferred messages is empty or mixed`);
    const isNeeded = messages.some(({ offset }) => offset >= facts.firstOffset) || bucket >= bucketOf(facts.firstOffset);
    expectHolds(isNeeded, `[KO5] the row ${bucket} of deferred messages is not needed`);
  }
}

function bucketOf(offset: number): number {
  return Math.floor(offset / LIMITS.deferredOffsetsPerRow);
}

/** The stored leases of messages that are kept, by offset. Others ended before the head; nobody rewrites their rows (LS11). */
function liveLeases(store: FaultyStore, kept: ReadonlyMap<number, Message>): Map<number, Lease> {
  const leases = new Map<number, Lease>();
  for (const row of store.readRows().leases) {
    for (const lease of row.leases) {
      if (!kept.has(lease.offset)) continue;
      expectHolds(!leases.has(lease.offset), `[G3] two stored leases of the message at ${lease.offset}`);
      leases.set(lease.offset, lease);
    }
  }
  for (const { messages } of store.readRows().deferred) {
    for (const { offset } of messages)
      expectHolds(!leases.has(offset), `[G3] the message at ${offset} is stored as leased and as given back`);
  }
  return leases;
}
