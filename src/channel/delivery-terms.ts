// What delivery is asked for, and what it answers.
import type { ControlRecord } from "../protocol/message.ts";
import type { Lease, LeaseEnd } from "./delivery-store.ts";
import type { RoutedReaders } from "./routed-readers.ts";
import type { Selection } from "./selection.ts";
import type { Member } from "./subscription.ts";

/** How long messages live that say nothing themselves, and what becomes of them then. */
export interface ExpirySettings {
  readonly messageTtlMs: number | null;
  readonly onExpired: "drop" | "dead-letter";
}

export interface LeaseRequest {
  /** A fresh token that nobody can guess. */
  readonly holder: string;
  readonly leaseMs: number;
  /** The connection whose end ends the leases too; undefined for leases that outlive it. */
  readonly connection: number | undefined;
  /** Whether the leases may lie with the socket of the connection alone (rule LS13). */
  readonly isAttached?: boolean;
  /** What the reader calls itself. */
  readonly reader?: string | undefined;
}

/** How a lease ends without ending its message. */
export interface GivenBack {
  readonly end: LeaseEnd;
  readonly endedAtMs: number;
  readonly isCounted: boolean;
  readonly dueAtMs: number;
  readonly reason?: string | undefined;
}

export interface TakeRequest {
  readonly min: number;
  readonly max: number;
  /** Bytes of messages at most, or one larger message. */
  readonly bytesMax: number;
  readonly nowMs: number;
  /** How the messages are leased; undefined for a get that removes at once. */
  readonly lease: LeaseRequest | undefined;
}

export type Taken =
  | {
      readonly type: "taken";
      readonly selection: Selection;
      readonly controls: readonly ControlRecord[];
      /** The leases of the messages, in their order; none for a get that removes at once. */
      readonly leases: readonly Lease[];
      /** Whether each message may have been handed out before. */
      readonly redelivered: readonly boolean[];
    }
  | { readonly type: "too-few" }
  /** Only so many of the `min` messages fit in a reply. */
  | { readonly type: "too-large"; readonly count: number };

/** A message that was handed out too often without being acked. */
export interface Exhausted {
  readonly offset: number;
  readonly attempts: number;
  readonly reason: string;
}

/** What was routed to whom in a turn. */
export interface Routed {
  readonly readers: RoutedReaders;
  readonly frames: readonly {
    readonly member: Member;
    readonly selection: Selection;
    /** The leases of its messages, in their order. */
    readonly leases: readonly Lease[];
    readonly redelivered: readonly boolean[];
  }[];
  /** Control records that the group has passed. */
  readonly controls: readonly ControlRecord[];
}
