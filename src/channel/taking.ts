// Taking messages from a group, for whoever asks: a get that removes, one that leases, or a stream.
import { LeaseSealer } from "../protocol/lease-id.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Lease } from "./delivery-store.ts";
import type { Group } from "./groups.ts";
import { drawHex } from "./life-cycle.ts";
import type { GrantedLeases, LeaseTerms, Moment, Outcome } from "./operation.ts";
import { Selection, withMessages } from "./selection.ts";
import type { ChannelRecord } from "./store.ts";

export type Got = Extract<Outcome, { type: "got" }>;

export const NOTHING_GOT: Got = withMessages(new Selection(), { type: "got", controls: [] } as const);

export interface TakeTerms {
  readonly min: number;
  readonly max: number;
  /** Bytes of messages at most, or one larger message. Default: those of a reply. */
  readonly bytesMax?: number;
  /** How the messages are leased; undefined where they are removed at once. */
  readonly lease: LeaseTerms | undefined;
  /** The connection that attached leases end with. */
  readonly connection: number | undefined;
  /** Whether the leases may lie with the socket of the connection (rule LS13). */
  readonly isAttached?: boolean;
  /** Whose the leases are; a fresh token where nobody holds any yet. */
  readonly holder?: string;
}

/** Takes `min` to `max` messages, or nothing when fewer can be had now: then undefined. */
export function takeMessages(
  group: Group,
  { record, request, moment }: { readonly record: ChannelRecord; readonly request: TakeTerms; readonly moment: Moment },
): Got | Extract<Outcome, { type: "refused" }> | undefined {
  if (group.isPaused) return request.min === 0 ? NOTHING_GOT : undefined;
  const { min, max, bytesMax = LIMITS.replyBytesMax, lease } = request;
  const wanted = lease && {
    holder: request.holder ?? drawHolder(moment),
    leaseMs: lease.leaseMs,
    connection: lease.isDetached ? undefined : request.connection,
    isAttached: request.isAttached ?? false,
    reader: lease.reader,
  };
  const taken = group.delivery.take({ min, max, bytesMax, nowMs: moment.nowMs, lease: wanted });
  group.settlement.buryExhausted(moment.nowMs);
  if (taken.type === "too-few") return undefined;
  if (taken.type === "too-large") {
    return { type: "refused", refusal: { kind: "batch-too-large", size: min, limit: taken.count, unit: "messages" } };
  }
  const { selection, controls, leases, redelivered } = taken;
  if (lease === undefined) return withMessages(selection, { type: "got", controls } as const);
  const leaseUntilMs = moment.nowMs + lease.leaseMs;
  const granted = tellLeases(record, group, { leases, redelivered, leaseUntilMs });
  return withMessages(selection, { type: "got", controls, granted } as const);
}

/** What readers are told of their leases. */
export function tellLeases(
  { leaseSecret }: ChannelRecord,
  group: Group,
  { leases, ...told }: Pick<GrantedLeases, "redelivered" | "leaseUntilMs"> & { readonly leases: readonly Lease[] },
): GrantedLeases {
  const sealer = LeaseSealer.of(leaseSecret);
  const { id } = group;
  const [first] = leases;
  let leaseIds: readonly string[] | undefined;
  return {
    get leaseIds(): readonly string[] {
      return (leaseIds ??= leases.map((one) => sealer.format({ group: id, ...one })));
    },
    session: first && sealer.formatSession({ group: id, holder: first.holder }),
    attempts: leases.map((one) => one.attempt),
    ...told,
  };
}

/** A token of 64 random bits, in hex. */
export function drawHolder(moment: Moment): string {
  return drawHex(moment) + drawHex(moment);
}
