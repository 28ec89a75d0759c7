// The port to storage: what the core reads and the changes it asks for. SQLite and the memory twin implement it (src/storage).
import type { FateCounts } from "./fates.ts";
import type { Lifecycle } from "../protocol/description.ts";
import type { Settings } from "../protocol/settings.ts";
import type { DeadLetterChanges, DeadLetterStore } from "./dead-letter-store.ts";
import type { GroupChanges, GroupStore } from "./group-store.ts";
import type { DeliveryChanges, DeliveryStore } from "./delivery-store.ts";
import type { CheckpointChanges, CheckpointStore } from "./checkpoint-store.ts";
import type { ScheduleChanges, ScheduleStore } from "./schedule-store.ts";
import type { IdempotencyChanges, IdempotencyStore } from "./idempotency-store.ts";
import type { StoredRedrive } from "./redrive-store.ts";
import type { ProducersChanges, ProducersStore } from "./producers-store.ts";
import type { SnapshotChanges, SnapshotStore } from "./snapshot-store.ts";

/** What is known of a channel besides its records; written when a setting or the life cycle changes, never by a put or a get. */
export interface ChannelRecord {
  /** Random id of this existence of the name, from creation to deletion. */
  readonly life: string;
  /** Seals the lease ids of this life. Nobody but the object knows it. */
  readonly leaseSecret: string;
  readonly state: Lifecycle;
  readonly settings: Settings;
  /** The limits in force: those of the settings, or what the channel has grown to. */
  readonly limits: { readonly maxMessages: number; readonly maxBytes: number };
  readonly createdAtMs: number;
  /** When a draining channel is deleted even if messages are left; null when it is not being deleted. */
  readonly drainUntilMs: number | null;
  readonly deletedAtMs: number | null;
  /** Messages that were still there when the channel was deleted. */
  readonly droppedMessages: number;
  /** Deleted because it was idle: no tombstone answers for it. */
  readonly isExpired: boolean;
  readonly outbox: Outbox;
  /** The redrive that runs; null, or absent in a record of an earlier release, for none. */
  readonly redrive?: StoredRedrive | null;
  /** When the leases that are stored ended: they are those of the life that a snapshot was taken of, until the channel wakes (rule SN8). */
  readonly leasesEndedAtMs?: number;
}

/** The registration with the directory that is still to be done. `version` rises with each change over all lives of the name. */
export interface Outbox {
  readonly version: number;
  readonly isPending: boolean;
  readonly attempts: number;
  readonly nextAttemptAtMs: number;
}

/** Where a channel stands. What the segments themselves tell is derived from them, so most commits do not write this. */
export interface Position {
  readonly nextOffset: number;
  readonly headOffset: number;
  /** Messages, their bytes, and segments since the life began. */
  readonly put: Totals;
  /** The part of `put` that lies before the head. */
  readonly passed: Totals;
  /** What was removed at or after the head, and the bytes of it that are not stored any more. */
  readonly removedAhead: Totals;
  readonly lostAheadBytes: number;
  /** Messages that ended otherwise than acked since the life began. */
  readonly fates: FateCounts;
  /** Offset of the newest control record, or 0. */
  readonly lastControlOffset: number;
  /** Where delivery goes on to look for messages after waking; what it passed before is stored otherwise. 0 for the head. */
  readonly scanMark: number;
  /** Offset of the newest message that names its time to live, or 0. */
  readonly lastTtlOffset: number;
  /** When the last commit that wrote this row happened: an idle channel expires by it. */
  readonly writtenAtMs: number;
}

export interface Totals {
  readonly messages: number;
  readonly bytes: number;
  readonly segments: number;
}

export const NO_TOTALS: Totals = { messages: 0, bytes: 0, segments: 0 };

export function addTotals(a: Totals, b: Totals): Totals {
  return { messages: a.messages + b.messages, bytes: a.bytes + b.bytes, segments: a.segments + b.segments };
}

export function isSameTotals(a: Totals, b: Totals): boolean {
  return a.messages === b.messages && a.bytes === b.bytes && a.segments === b.segments;
}

export function subtractTotals(a: Totals, b: Totals): Totals {
  return { messages: a.messages - b.messages, bytes: a.bytes - b.bytes, segments: a.segments - b.segments };
}

/** A stored row of consecutive records. `before` are the totals of the life up to it. */
export interface Segment {
  readonly firstOffset: number;
  readonly count: number;
  readonly messages: number;
  readonly bytes: number;
  readonly before: Totals;
  readonly putAtMs: number;
}

export interface StoredSegment extends Segment {
  readonly block: Uint8Array;
  /** Places that were removed, as delta ranges (gone-places.ts); undefined when none was. */
  readonly gone: Uint8Array | undefined;
}

export interface NewSegment extends Segment {
  readonly block: Uint8Array<ArrayBuffer>;
}

/** What one commit changes of the records, applied in the order of the members. */
export interface BacklogChanges {
  /** Deletes every segment, hole and message id first. */
  readonly isPurge: boolean;
  /** Deletes all segments whose first offset is lower. */
  readonly deleteBelowOffset: number;
  /** Deletes single segments further on, by their first offset. */
  readonly deleteSegments: readonly number[];
  /** The first offset of a segment that was passed earlier, whose row the first of `insertSegments` takes; 0 for none. */
  readonly reuseSegment: number;
  readonly insertSegments: readonly NewSegment[];
  /** Removed places by the first offset of their segment. */
  readonly writeGone: ReadonlyMap<number, Uint8Array<ArrayBuffer>>;
  readonly deleteMessageIds: readonly MessageIdEntry[];
  readonly insertMessageIds: readonly MessageIdEntry[];
  readonly position: Position | undefined;
}

export const NO_BACKLOG_CHANGES: BacklogChanges = {
  isPurge: false,
  deleteBelowOffset: 0,
  deleteSegments: [],
  reuseSegment: 0,
  insertSegments: [],
  writeGone: new Map(),
  deleteMessageIds: [],
  insertMessageIds: [],
  position: undefined,
};

/** Everything one commit changes, applied whole or not at all (G8). */
export interface Changes extends BacklogChanges {
  readonly checkpoints: CheckpointChanges | undefined;
  readonly channel: ChannelRecord | undefined;
  readonly delivery: DeliveryChanges | undefined;
  readonly deadLetters: DeadLetterChanges | undefined;
  readonly groups: GroupChanges | undefined;
  readonly schedule: ScheduleChanges | undefined;
  readonly producers: ProducersChanges | undefined;
  readonly idempotency: IdempotencyChanges | undefined;
  readonly snapshots: SnapshotChanges | undefined;
}

export interface MessageIdEntry {
  readonly messageId: string;
  readonly offset: number;
}

/** Synchronous storage of one channel. Reads show what was committed. */
export interface ChannelStore {
  readonly checkpoints: CheckpointStore;
  readonly schedule: ScheduleStore;
  readonly producers: ProducersStore;
  readonly idempotency: IdempotencyStore;
  readonly snapshots: SnapshotStore;
  readChannel(): ChannelRecord | undefined;
  readPosition(): Position | undefined;
  /** The last segment without its block. */
  readLastSegment(): Segment | undefined;
  /** The segment with the least first offset that is not lower than `offset`. */
  readSegmentFrom(offset: number): StoredSegment | undefined;
  /** The segment with the greatest first offset that is not higher than `offset`; it may end before it. */
  readSegmentUpTo(offset: number): StoredSegment | undefined;
  /** First offsets of segments with removed places, from `offset` on, at most `limit`. */
  readGoneFrom(offset: number, limit: number): readonly number[];
  /** The least offset, not lower than `fromOffset`, of a kept message with this id. */
  findMessageId(messageId: string, fromOffset: number): number | undefined;
  /** Applies all changes in one transaction or throws and applies none. */
  commit(changes: Changes): void;
  readonly delivery: DeliveryStore;
  readonly deadLetters: DeadLetterStore;
  readonly groups: GroupStore;
}
