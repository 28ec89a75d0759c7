// Work stealing: where somebody waits and nothing can be handed out, who holds most is asked to release some of it (SPEC rule SB13).
import { LeaseSealer } from "../protocol/lease-id.ts";
import { type LeaseEntry, listRuns } from "../protocol/lease-run.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Lease } from "./delivery-store.ts";
import type { Group, Groups } from "./groups.ts";
import type { MemberRouting } from "./member-routing.ts";
import type { ChannelRecord } from "./store.ts";
import type { Streams } from "./streams.ts";
import type { Member, Subscription } from "./subscription.ts";
import type { Waiter, WaitLine } from "./wait-line.ts";

interface StealingParts {
  readonly groups: Groups;
  readonly line: WaitLine;
  readonly streams: Streams;
  readonly routing: MemberRouting;
}

/** Leases by the offsets of their messages. */
type LeasesByOffset = ReadonlyMap<number, Lease>;

export class WorkStealing {
  readonly #parts: StealingParts;
  /** By group: what was asked for. */
  readonly #asked = new Map<number, LeasesByOffset>();
  /** A look that found nothing is not repeated before: what is leased later is too young until then. */
  #quietUntilMs = 0;
  /** When a look may find something though nothing else happens. */
  #owedAtMs: number | undefined;

  constructor(parts: StealingParts) {
    this.#parts = parts;
  }

  /** When to look though nobody asks. The object is awake then, so a timer serves. */
  get nextLookAtMs(): number | undefined {
    return this.#owedAtMs;
  }

  /** A life ends, and with it all leases. */
  clear(): void {
    this.#asked.clear();
    this.#quietUntilMs = 0;
    this.#owedAtMs = undefined;
  }

  /** To be called when all that can be handed out is. */
  look(record: ChannelRecord, nowMs: number): void {
    const { groups, line, streams } = this.#parts;
    // Only members can be asked.
    const ids = streams.counts.members === 0 ? [] : line.waitingGroups();
    const waiting = ids.flatMap((id) => groups.findById(id) ?? []);
    const busy = waiting.filter(({ isPaused, delivery }) => !isPaused && delivery.leased > 1);
    this.#owedAtMs = busy.length > 0 ? this.#quietUntilMs : undefined;
    if (busy.length === 0 || nowMs < this.#quietUntilMs) return;
    const found = busy.map((group) => this.#askOne(record, group, nowMs));
    const oldEnoughAtMs = nowMs + LIMITS.revokeAgeMs;
    // Where one group was asked, the next commit may ask it for more; what is too young in another has its time all the same.
    this.#quietUntilMs = found.includes("asked") ? nowMs : oldEnoughAtMs;
    this.#owedAtMs = found.includes("too-young") ? oldEnoughAtMs : undefined;
  }

  /** Asks the member of a group that holds most, for the first that waits beside it. */
  #askOne(record: ChannelRecord, group: Group, nowMs: number): "asked" | "too-young" | "nothing" {
    const slowest = this.#findSlowest(group);
    const first = slowest && this.#findWaiting(group, slowest, nowMs);
    if (slowest === undefined || first === undefined) return "nothing";
    const asked = this.#listAsked(group);
    const free = listLeases(group, slowest).filter((lease) => !isSame(asked.get(lease.offset), lease));
    const share = Math.floor((free.length - listLeases(group, first).length - asked.size) / 2);
    const max = Math.min(share, this.#countWanted(first), LIMITS.settleEntriesMax);
    if (max < first.min) return "nothing";
    const isOld = ({ leasedAtMs }: Lease): boolean => leasedAtMs + LIMITS.revokeAgeMs <= nowMs;
    const chosen = chooseNewest(group, free.filter(isOld), max);
    if (chosen.length < first.min) return free.every(isOld) ? "nothing" : "too-young";
    this.#asked.set(group.id, new Map([...asked, ...chosen.map((lease) => [lease.offset, lease] as const)]));
    this.#parts.routing.expectReleases(
      slowest,
      chosen.map(({ offset }) => offset),
    );
    this.#parts.streams.askBack(slowest, nameLeases(record, group, chosen));
    return "asked";
  }

  /** Of the members of a group the one on whose connection most leases lie. */
  #findSlowest(group: Group): Member | undefined {
    let slowest: Member | undefined;
    let most = 1;
    for (const [connection, leases] of group.delivery.countByConnection()) {
      if (leases <= most) continue;
      const member = this.#parts.streams.ofConnection(connection).find((one) => isMemberOf(one, group));
      if (member === undefined) continue;
      slowest = member;
      most = leases;
    }
    return slowest;
  }

  #findWaiting(group: Group, slowest: Member, nowMs: number): Waiter | undefined {
    for (const waiter of this.#parts.line.getsOf(group.id)) {
      if (waiter.holder !== slowest.holder && waiter.deadlineMs > nowMs && this.#mayTake(group, waiter, slowest)) return waiter;
    }
    return undefined;
  }

  /** Where messages are routed, what a member releases has to go to who waits, and not to itself again (rule RD7). */
  #mayTake(group: Group, waiter: Waiter, slowest: Member): boolean {
    const { streams, routing } = this.#parts;
    const member = waiter.holder === undefined ? undefined : streams.find(waiter);
    return member?.type !== "member" || routing.mayShare(group, member, slowest);
  }

  #countWanted(waiter: Waiter): number {
    const member = waiter.holder === undefined ? undefined : this.#parts.streams.find(waiter);
    return member?.type === "member" ? member.credit.messages : waiter.max;
  }

  /** What was asked for and is held yet; the rest is forgotten. */
  #listAsked({ id, delivery }: Group): LeasesByOffset {
    const held = [...(this.#asked.get(id) ?? [])].filter(([offset, lease]) => isSame(delivery.findLease(offset), lease));
    return new Map(held);
  }
}

function isMemberOf(one: Subscription, group: Group): one is Member {
  return one.type === "member" && one.group === group.id;
}

/** What somebody holds of a group; a get that waits holds nothing. */
function listLeases({ delivery }: Group, { connection, holder }: Pick<Waiter, "connection" | "holder">): readonly Lease[] {
  return holder === undefined ? [] : delivery.leasesOf(connection).filter((lease) => lease.holder === holder);
}

/** It was not settled and given anew meanwhile. */
function isSame(a: Lease | undefined, b: Lease): boolean {
  return a?.holder === b.holder && a.attempt === b.attempt;
}

/** The newest, `max` at most, in the order of offsets: of a key all that are leased or none. */
function chooseNewest({ delivery }: Group, leases: readonly Lease[], max: number): readonly Lease[] {
  const byOffset = new Map(leases.map((lease) => [lease.offset, lease]));
  const seenKeys = new Set<string>();
  const chosen: Lease[] = [];
  for (const { offset, key } of leases.toSorted((a, b) => b.offset - a.offset)) {
    if (chosen.length === max) break;
    if (key !== undefined && seenKeys.has(key)) continue;
    if (key !== undefined) seenKeys.add(key);
    const offsets = key === undefined ? [offset] : delivery.leasedOf(key);
    const together = offsets.flatMap((one) => byOffset.get(one) ?? []);
    if (together.length === offsets.length && chosen.length + together.length <= max) chosen.push(...together);
  }
  return chosen.toSorted((a, b) => a.offset - b.offset);
}

function nameLeases({ leaseSecret }: ChannelRecord, { id: group }: Group, leases: readonly Lease[]): readonly LeaseEntry[] {
  const sealer = LeaseSealer.of(leaseSecret);
  return listRuns(leases.map((lease) => sealer.format({ group, ...lease })));
}
