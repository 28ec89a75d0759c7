// Who is sent messages as they come, and what may still be sent. It lives in its socket's attachment, so it survives hibernation.
import type { MessageFilter } from "../protocol/stream-frames.ts";
import type { Size } from "./admission.ts";
import type { Delivered } from "./operation.ts";
import { selectionOf } from "./selection.ts";
import type { Waiter } from "./wait-line.ts";

export type Subscription = Member | PlainReader | Watch | PresenceWatch;

interface SubscriptionBase {
  readonly connection: number;
  /** The id that the connection gave it. */
  readonly request: number;
  /** What may still be sent; the bytes are below 0 after a message that was larger than what was left. */
  readonly credit: Size;
}

/** Shares the work of a group: what it is sent is leased. */
export interface Member extends SubscriptionBase {
  readonly type: "member";
  /** The number of the group. */
  readonly group: number;
  /** Whose its leases are: one token for all, so that it may hold several messages of a key. */
  readonly holder: string;
  readonly leaseMs: number;
  readonly reader?: string;
  /** Where it stands in the line of its group; undefined without credit. */
  readonly place: Waiter | undefined;
}

/** Gets every record from its position on, whatever others do. */
export interface PlainReader extends SubscriptionBase {
  readonly type: "reader";
  /** Whether it sees what passes through a channel that is no log: then nothing is said of what it misses. */
  readonly isTap: boolean;
  /** The next record that it has not been sent. */
  readonly position: number;
  /** Whether it is a relay: it is told where it stands also as a tap, and where nothing is left for it (rules RY6, RY14). */
  readonly isRelay?: true;
  /** Of a relay's reader: the life of the channel that the position is of. */
  readonly life?: string;
  readonly filter?: MessageFilter;
}

/** Is sent no messages: it is told when producers should slow down (SPEC BP). */
interface Watch {
  readonly type: "watch";
  readonly connection: number;
  /** The id that the connection gave it. */
  readonly request: number;
  /** The level that it was told last. */
  readonly isHigh: boolean;
}

/** Is sent no messages: it is told who reads the channel (SPEC RG7). */
interface PresenceWatch {
  readonly type: "presence";
  readonly connection: number;
  /** The id that the connection gave it. */
  readonly request: number;
  /** Of the readers that it was told of last (presence.ts). */
  readonly digest: number;
}

/** Where a member stands. How much it takes, its credit says. */
export function placeOf(member: Pick<Member, "connection" | "request" | "group" | "holder">, ticket: number): Waiter {
  const { connection, request, group, holder } = member;
  return {
    connection,
    request,
    ticket,
    kind: "get",
    min: 1,
    max: 1,
    bytes: 0,
    deadlineMs: Number.MAX_SAFE_INTEGER,
    group,
    holder,
  };
}

/** Whether it is sent messages, at the pace of its credit. */
export function hasPace(subscription: Subscription): subscription is Member | PlainReader {
  return subscription.type === "member" || subscription.type === "reader";
}

export function hasCredit({ credit }: Member | PlainReader): boolean {
  return credit.messages > 0 && credit.bytes > 0;
}

/** Whether it has messages sent to it. A relay that asks where somebody begins gives no credit at all (rule RY7). */
export function isFollowing(subscription: Subscription): boolean {
  return subscription.type === "reader" && (subscription.credit.messages !== 0 || subscription.credit.bytes !== 0);
}

/** What is left of a credit when a frame was sent. */
export function spend({ messages, bytes }: Size, delivered: Delivered): Size {
  return { messages: messages - selectionOf(delivered).count, bytes: bytes - delivered.bytes };
}
