// Members of a group that come back on another connection (SPEC rule SB11): whose leases they have, and which of them they know of.
import { invalidRequest } from "../protocol/fault.ts";
import type { LeaseRef, LeaseSealer } from "../protocol/lease-id.ts";
import type { LeaseEntry } from "../protocol/lease-run.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal } from "../protocol/problems.ts";
import { parseMemberResume } from "../protocol/stream-frames.ts";
import type { ChannelRecord } from "./store.ts";

/** Attempts by offset. */
export type KnownLeases = ReadonlyMap<number, number>;

/** Whose leases a member that comes back has, by what it was told; or why it can not have them. */
export function findSession(
  resume: string,
  { record, sealer, group }: { readonly record: ChannelRecord; readonly sealer: LeaseSealer; readonly group: number },
): string | Refusal {
  const told = parseMemberResume(resume);
  if (told !== undefined && told.life !== record.life) return { kind: "resume-lost", resume };
  const session = told && sealer.parseSession(told.session);
  if (session === undefined) return invalidRequest("/resume", "Expected what a subscription of a member was told as `resume`");
  return session.group === group ? session.holder : { kind: "resume-lost", resume };
}

/** The leases of the session that a member names; those of other sessions that it still has are none of them. */
export function findHeld(
  held: readonly LeaseEntry[],
  sealer: LeaseSealer,
  session: Pick<LeaseRef, "group" | "holder">,
): KnownLeases | Refusal {
  if (held.reduce((sum, { count = 1 }) => sum + count, 0) > LIMITS.settleEntriesMax)
    return invalidRequest("/held", `Expected at most ${LIMITS.settleEntriesMax} leases in all`);
  const known = new Map<number, number>();
  for (const [index, { leaseId, count = 1 }] of held.entries()) {
    const ref = sealer.parse(leaseId);
    if (ref === undefined) return { kind: "invalid-lease", pointer: `/held/${index}/leaseId` };
    if (ref.group !== session.group || ref.holder !== session.holder) continue;
    for (let place = 0; place < count; place++) known.set(ref.offset + place, ref.attempt);
  }
  return known;
}
