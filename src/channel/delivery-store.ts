// The port to what delivery stores: leases that are handed out, and messages that are deferred (SPEC sections LS and KO).

import type { RouteNote } from "../protocol/history.ts";
import type { LeaseLossCause } from "../protocol/problems.ts";

/** An attempt to deliver a message that did not end with an ack. */
export interface AttemptEvent {
  readonly attempt: number;
  /** What the reader called itself. */
  readonly reader: string | undefined;
  readonly leasedAtMs: number;
  readonly endedAtMs: number;
  readonly verdict: AttemptVerdict;
  /** What the reader said. */
  readonly reason: string | undefined;
  /** Why it was this reader; undefined where nothing was routed, or that is not known any more. */
  readonly route?: RouteNote | undefined;
}

/** The last events, in their order, and how many earlier ones were left out. */
export interface AttemptHistory {
  readonly events: readonly AttemptEvent[];
  readonly omitted: number;
}

/** A reader's exclusive right to settle a message, until `deadlineMs`. */
export interface Lease {
  readonly offset: number;
  /** Random token of the pull or connection that holds it. */
  readonly holder: string;
  /** How often the message was handed out and not released, this time included. */
  readonly attempt: number;
  readonly deadlineMs: number;
  readonly key: string | undefined;
  /** The connection whose end ends the lease too; undefined for one that outlives connections. */
  readonly connection: number | undefined;
  readonly leasedAtMs: number;
  /** What the reader called itself. */
  readonly reader: string | undefined;
  /** Of the attempts before this one; undefined without any. */
  readonly history: AttemptHistory | undefined;
  /** Until when it is kept for a reader that was cut off, if that is before its deadline. */
  readonly graceUntilMs?: number | undefined;
  /** Why it went to this reader; in memory alone (rule RD8). */
  readonly route?: RouteNote | undefined;
}

/** When a lease ends unless it is settled. */
export function endOf({ deadlineMs, graceUntilMs = deadlineMs }: Lease): number {
  return Math.min(deadlineMs, graceUntilMs);
}

/** Why a message that is still kept has no lease any more. */
export type LeaseEnd = Exclude<LeaseLossCause, "settled" | "superseded">;

export type AttemptVerdict = LeaseEnd | "rejected";

/**
 * A message that the scan has passed and that is neither leased nor ended: parked behind an earlier one of its key, given back, retrying
 * after a delay, or quarantined.
 */
export interface Deferred {
  readonly offset: number;
  readonly key: string | undefined;
  /** How often it was handed out and not released. */
  readonly attempts: number;
  /** When it may be handed out again; 0 for at once. */
  readonly dueAtMs: number;
  /** How its last lease ended; undefined for one that was only parked. */
  readonly end: LeaseEnd | undefined;
  readonly isQuarantined: boolean;
  /** Of its attempts; undefined without any. */
  readonly history: AttemptHistory | undefined;
}

/** A row of leases that were made by one pull. */
export interface LeaseRow {
  readonly slot: number;
  readonly leases: readonly Lease[];
}

/** A row of deferred messages whose offsets lie in one range. */
export interface DeferredRow {
  readonly bucket: number;
  readonly messages: readonly Deferred[];
}

/** What is stored of leases that lie with their sockets alone (rule LS13). */
export interface AttachedMark {
  /** Connections that such leases of the group were given to, and whose end is not known. */
  readonly connections: readonly number[];
  /** Messages before this offset may have been handed out though nothing says so; 0 for none. */
  readonly doubtBefore: number;
}

/** What is stored of one group's delivery. */
export interface StoredDelivery {
  readonly mark?: AttachedMark | undefined;
  readonly leases: readonly LeaseRow[];
  readonly deferred: readonly DeferredRow[];
}

/** What a commit changes of one group's delivery. */
export interface GroupDeliveryChanges {
  /** Deletes every row of the group first. */
  readonly isCleared: boolean;
  /** Null deletes it. */
  readonly mark?: AttachedMark | null | undefined;
  readonly writeLeases: readonly LeaseRow[];
  readonly deleteLeaseSlots: readonly number[];
  readonly writeDeferred: readonly DeferredRow[];
  readonly deleteDeferredBuckets: readonly number[];
}

/** By the id of the group; 0 is the only group of a queue. */
export type DeliveryChanges = ReadonlyMap<number, GroupDeliveryChanges>;

export interface DeliveryStore {
  /** Everything, by the id of the group. */
  readDelivery(): ReadonlyMap<number, StoredDelivery>;
}
