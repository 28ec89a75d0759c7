// Settling: what readers say of the messages that they hold (SPEC section LS). Judged entry by entry, carried out in an order in which
// no verdict undoes another.
import { invalidRequest } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import { messageBytes } from "../protocol/message.ts";
import type { LeaseRef, LeaseSealer } from "../protocol/lease-id.ts";
import type { LeaseLossCause, Refusal } from "../protocol/problems.ts";
import type { Size } from "./admission.ts";
import { endAttempt } from "./attempt-history.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { Delivery } from "./delivery.ts";
import type { Exhausted } from "./delivery-terms.ts";
import { endOf, type AttemptHistory, type Lease } from "./delivery-store.ts";
import type { GroupLog } from "./group-log.ts";
import type { KnownLeases } from "./member-session.ts";
import type { Moment, Outcome, RefusedEntry, SettleEntry, SettleVerb } from "./operation.ts";
import { computeRetryDelay } from "./retry-delay.ts";
import type { DeliverySettings } from "../protocol/settings.ts";

interface Judged {
  readonly entry: SettleEntry;
  readonly lease: Lease;
  readonly settlement: Settlement;
}

/** Where settlements are found, and what they need. */
interface SettleContext {
  readonly sealer: LeaseSealer;
  readonly groups: { findById(id: number): { readonly settlement: Settlement } | undefined };
  readonly moment: Moment;
}

/** The entries of a call, judged and not carried out. */
export interface SettlePlan {
  readonly refused: readonly RefusedEntry[];
  /** Messages and bytes that leave the channel by it. */
  measureFreed(): Size;
  /** Carries out the entries that are not refused. */
  carryOut(): Extract<Outcome, { type: "settled" }>;
}

/** Judges the entries of a call one by one, and changes nothing yet. */
export function planSettlement(entries: readonly SettleEntry[], context: SettleContext): SettlePlan | Refusal {
  if (entries.reduce((sum, { count = 1 }) => sum + count, 0) > LIMITS.settleEntriesMax)
    return invalidRequest("", `Expected at most ${LIMITS.settleEntriesMax} leases in all`);
  const found = findLeases(entries, context);
  if ("kind" in found) return found;
  const { judged, refused } = judgeOrder(found.judged, found.refused);
  return {
    refused,
    measureFreed: () => measureFreed(judged),
    carryOut: () => {
      carryOut(judged, context.moment);
      const counts = { ack: 0, retry: 0, extend: 0, reject: 0, release: 0 } satisfies Record<SettleVerb, number>;
      for (const { entry } of judged) counts[entry.verb] += 1;
      return { type: "settled", counts, refused };
    },
  };
}

/** The live lease of each entry. An id that is not ours, or one that comes twice, refuses the whole call. */
function findLeases(
  entries: readonly SettleEntry[],
  { sealer, groups, moment }: SettleContext,
): { judged: Judged[]; refused: RefusedEntry[] } | Refusal {
  const judged: Judged[] = [];
  const refused: RefusedEntry[] = [];
  const seen = new Map<string, Set<number>>();
  for (const entry of entries) {
    const { leaseId, pointer, count = 1 } = entry;
    const ref = sealer.parse(leaseId);
    if (ref === undefined) return { kind: "invalid-lease", pointer };
    const name = `${ref.group}-${ref.attempt}-${ref.holder}`;
    const seenOffsets = seen.get(name) ?? new Set();
    seen.set(name, seenOffsets);
    const settlement = groups.findById(ref.group)?.settlement;
    // LS14: each of them as if it stood by itself.
    for (let { offset } = ref; offset < ref.offset + count; offset++) {
      if (seenOffsets.has(offset)) return invalidRequest(pointer, "Expected each lease once in a call");
      seenOffsets.add(offset);
      const lease = settlement?.findLive(ref, offset, moment.nowMs);
      if (settlement !== undefined && lease !== undefined) judged.push({ entry, lease, settlement });
      else
        refused.push({ pointer, refusal: { kind: "lease-lost", offset, cause: settlement?.explainLost(offset) ?? "settled" } });
    }
  }
  return { judged, refused };
}

/** An ack counts only if every earlier message of its key is acked or rejected in the same call (G5). */
function judgeOrder(candidates: readonly Judged[], refused: RefusedEntry[]): { judged: Judged[]; refused: RefusedEntry[] } {
  const sorted = candidates.toSorted((a, b) => a.lease.offset - b.lease.offset);
  // Most messages have no key.
  if (sorted.every(({ lease }) => lease.key === undefined)) return { judged: sorted, refused };
  const ending = new Set(
    candidates.filter(({ entry }) => entry.verb === "ack" || entry.verb === "reject").map(({ lease }) => lease),
  );
  const judged: Judged[] = [];
  for (const candidate of sorted) {
    const { entry, lease, settlement } = candidate;
    const open = entry.verb === "ack" ? settlement.findOpenBefore(lease, ending) : undefined;
    if (open === undefined) judged.push(candidate);
    else {
      ending.delete(lease);
      refused.push({ pointer: entry.pointer, refusal: { kind: "out-of-order", offset: lease.offset, openOffset: open } });
    }
  }
  return { judged, refused };
}

function measureFreed(judged: readonly Judged[]): Size {
  const ending = judged.filter(({ entry }) => entry.verb === "ack" || entry.verb === "reject");
  const bytes = ending.reduce((sum, { lease, settlement }) => sum + settlement.bytesOf(lease.offset), 0);
  return { messages: ending.length, bytes };
}

function carryOut(judged: readonly Judged[], moment: Moment): void {
  const settlements = new Set(judged.map(({ settlement }) => settlement));
  for (const settlement of settlements) {
    const acked = judged.filter((one) => one.entry.verb === "ack" && one.settlement === settlement);
    settlement.finish(acked.map(({ lease }) => lease));
  }
  for (const { entry, lease, settlement } of judged) settlement.extendOrReject(entry, lease, moment.nowMs);
  // The last first: what is given back ends the later leases of its key, and each of these has a verdict of its own here.
  for (const { entry, lease, settlement } of judged.toReversed()) settlement.giveBack(entry, lease, moment);
  for (const settlement of settlements) settlement.buryExhausted(moment.nowMs);
}

/** What becomes of the leases of one group. */
export class Settlement {
  readonly #log: GroupLog;
  readonly #delivery: Delivery;
  readonly #deadLetters: DeadLetters;
  readonly #settings: () => DeliverySettings;
  readonly #group: { readonly groupId: number; readonly group: string };

  constructor(parts: {
    readonly group: { readonly groupId: number; readonly group: string };
    readonly log: GroupLog;
    readonly delivery: Delivery;
    readonly deadLetters: DeadLetters;
    readonly settings: () => DeliverySettings;
  }) {
    this.#group = parts.group;
    this.#log = parts.log;
    this.#delivery = parts.delivery;
    this.#deadLetters = parts.deadLetters;
    this.#settings = parts.settings;
  }

  /** Ends leases and delays whose time is over, buries what was handed out too often, and lets the first messages expire. */
  advance(nowMs: number): void {
    this.#delivery.advance(nowMs);
    this.buryExhausted(nowMs);
    for (let count = 0; count < LIMITS.expiredPerSweepMax && this.#delivery.expireFirst(nowMs); count++)
      this.buryExhausted(nowMs);
  }

  /** A reader's connection closed: its leases end at once, or, if it may have been cut off, after a grace in which it can come back. */
  endLeasesOf(connection: number, how: { readonly isClean: boolean; readonly isLost: boolean; readonly nowMs: number }): void {
    const { isClean, nowMs } = how;
    const isPartLost = this.#delivery.forgetConnection(connection, how);
    const leases = this.#delivery.leasesOf(connection).sort((a, b) => b.offset - a.offset);
    const ended = { endedAtMs: nowMs, isCounted: false, dueAtMs: 0 } as const;
    for (const lease of leases) {
      if (isClean) this.#delivery.giveBack(lease, { ...ended, end: "disconnected" });
      // An earlier one of its key may be among those that were lost.
      else if (isPartLost && lease.key !== undefined) this.#delivery.giveBack(lease, { ...ended, end: "predecessor" });
      else this.#delivery.detach(lease.offset, nowMs + LIMITS.resumeGraceMs);
    }
  }

  /** A member left, or knows of some of its leases only: what it holds is handed out again at once, and the attempts do not count. */
  releaseOf(connection: number, holder: string, nowMs: number, known?: KnownLeases): void {
    const isEnding = (lease: Lease): boolean => lease.holder === holder && known?.get(lease.offset) !== lease.attempt;
    const leases = this.#delivery.leasesOf(connection).filter(isEnding);
    for (const lease of leases.sort((a, b) => b.offset - a.offset)) {
      this.#delivery.giveBack(lease, { end: "released", endedAtMs: nowMs, isCounted: false, dueAtMs: 0 });
    }
  }

  /** The lease of the message at `offset`, if it is live and that holder's. */
  findLive({ holder, attempt }: LeaseRef, offset: number, nowMs: number): Lease | undefined {
    const lease = this.#delivery.findLease(offset);
    return lease?.holder === holder && lease.attempt === attempt && endOf(lease) > nowMs ? lease : undefined;
  }

  explainLost(offset: number): LeaseLossCause {
    return this.#delivery.explainLost(offset);
  }

  bytesOf(offset: number): number {
    const message = this.#log.read(offset);
    return message === undefined ? 0 : messageBytes(message);
  }

  /** The first earlier message of the lease's key that is not among those that end. */
  findOpenBefore({ key, offset }: Lease, ending: ReadonlySet<Lease>): number | undefined {
    if (key === undefined) return undefined;
    return this.#delivery.leasedOf(key).find((other) => {
      const lease = this.#delivery.findLease(other);
      return other < offset && (lease === undefined || !ending.has(lease));
    });
  }

  /** Ends messages that were acked. */
  finish(leases: readonly Lease[]): void {
    this.#delivery.finishAll(
      leases.map(({ offset }) => offset),
      "acked",
    );
    for (const { holder } of leases) this.#delivery.loads.noteAcked(holder);
  }

  extendOrReject(entry: SettleEntry, lease: Lease, nowMs: number): void {
    if (entry.verb === "extend") this.#delivery.extend(lease.offset, nowMs + entry.leaseMs);
    if (entry.verb === "reject") {
      const history = endAttempt(lease, { verdict: "rejected", endedAtMs: nowMs, reason: entry.reason });
      this.#bury({ offset: lease.offset, attempts: lease.attempt, reason: entry.reason ?? "rejected" }, history, nowMs);
    }
  }

  giveBack(entry: SettleEntry, lease: Lease, moment: Moment): void {
    const endedAtMs = moment.nowMs;
    if (entry.verb === "release") {
      this.#delivery.giveBack(lease, { end: "released", endedAtMs, isCounted: false, dueAtMs: 0 });
      this.#delivery.loads.noteReleased(lease.offset, lease.holder);
    }
    if (entry.verb !== "retry") return;
    const random = moment.draw32() / 2 ** 32;
    const delayMs = entry.delayMs ?? computeRetryDelay(lease.attempt, this.#settings().retryDelaysMs, random);
    const dueAtMs = delayMs === 0 ? 0 : moment.nowMs + delayMs;
    this.#delivery.giveBack(lease, { end: "retried", endedAtMs, isCounted: true, dueAtMs, reason: entry.reason });
  }

  /** Moves messages that were handed out too often to the dead letters. */
  buryExhausted(nowMs: number): void {
    for (const exhausted of this.#delivery.takeExhausted()) {
      this.#bury(exhausted, this.#delivery.findDeferred(exhausted.offset)?.history, nowMs);
    }
  }

  #bury({ offset, attempts, reason }: Exhausted, history: AttemptHistory | undefined, nowMs: number): void {
    const message = this.#log.read(offset);
    if (message === undefined) return;
    this.#delivery.finish(offset, "dead-lettered");
    this.#deadLetters.add({ ...this.#group, offset, message, attempts, reason, diedAtMs: nowMs, history });
  }
}
