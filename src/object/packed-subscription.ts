// Subscriptions as a socket's attachment carries them through hibernation: arrays, since four of them share its 16 KB with the waiters.
import { placeOf, type Member, type PlainReader, type Subscription } from "../channel/subscription.ts";
import type { MessageFilter } from "../protocol/stream-frames.ts";

export type PackedSubscription = PackedMember | PackedReader | PackedWatch | PackedPresence;

type PackedMember = readonly [
  type: "member",
  request: number,
  messages: number,
  bytes: number,
  group: number,
  holder: string,
  leaseMs: number,
  /** Null without credit. */
  ticket: number | null,
  reader: string | null,
];

type PackedReader = readonly [
  type: "reader",
  request: number,
  messages: number,
  bytes: number,
  isTap: boolean,
  position: number,
  filter: MessageFilter | null,
  /** Of a relay's reader. */
  life?: string | null,
  /** Absent for a client's. */
  isRelay?: true,
];

type PackedWatch = readonly [type: "watch", request: number, isHigh: boolean];

type PackedPresence = readonly [type: "presence", request: number, digest: number];

export function packSubscription(subscription: Subscription): PackedSubscription {
  if (subscription.type === "watch") return ["watch", subscription.request, subscription.isHigh];
  if (subscription.type === "presence") return ["presence", subscription.request, subscription.digest];
  const { request, credit } = subscription;
  if (subscription.type === "member") {
    const { group, holder, leaseMs, place, reader } = subscription;
    return ["member", request, credit.messages, credit.bytes, group, holder, leaseMs, place?.ticket ?? null, reader ?? null];
  }
  const { isTap, position, filter, life, isRelay } = subscription;
  const packed = ["reader", request, credit.messages, credit.bytes, isTap, position, filter ?? null] as const;
  if (isRelay !== undefined) return [...packed, life ?? null, isRelay];
  return life === undefined ? packed : [...packed, life];
}

export function unpackSubscription(connection: number, packed: PackedSubscription): Subscription {
  if (packed[0] === "watch") return { type: "watch", connection, request: packed[1], isHigh: packed[2] };
  if (packed[0] === "presence") return { type: "presence", connection, request: packed[1], digest: packed[2] };
  return packed[0] === "member" ? unpackMember(connection, packed) : unpackReader(connection, packed);
}

function unpackMember(connection: number, packed: PackedMember): Member {
  const [type, request, messages, bytes, group, holder, leaseMs, ticket, reader] = packed;
  const base = { type, connection, request, credit: { messages, bytes }, group, holder, leaseMs };
  const place = ticket === null ? undefined : placeOf({ connection, request, group, holder }, ticket);
  return { ...base, place, ...(reader !== null && { reader }) };
}

function unpackReader(connection: number, packed: PackedReader): PlainReader {
  const [type, request, messages, bytes, isTap, position, filter, life, isRelay] = packed;
  const wanted = { ...(filter !== null && { filter }), ...(typeof life === "string" && { life }), ...(isRelay && { isRelay }) };
  return { type, connection, request, credit: { messages, bytes }, isTap, position, ...wanted };
}
