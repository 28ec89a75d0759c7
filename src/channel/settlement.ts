// Settling: what readers say of the messages that they hold (SPEC section LS). Judged entry by entry, carried out in an order in which
// no verdict undoes another.
import { invalidRequest } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { LeaseSealer } from "../protocol/lease-id.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { Delivery, Exhausted } from "./delivery.ts";
import type { Lease } from "./delivery-store.ts";
import type { Backlog } from "./backlog.ts";
import type { Moment, Outcome, RefusedEntry, SettleEntry, SettleVerb } from "./operation.ts";
import { computeRetryDelay } from "./retry-delay.ts";
import type { DeliverySettings } from "../protocol/settings.ts";

interface Judged {
  readonly entry: SettleEntry;
  readonly lease: Lease;
}

export interface SettlementOptions {
  readonly backlog: Backlog;
  readonly delivery: Delivery;
  readonly deadLetters: DeadLetters;
}

export class Settlement {
  readonly #backlog: Backlog;
  readonly #delivery: Delivery;
  readonly #deadLetters: DeadLetters;

  constructor({ backlog, delivery, deadLetters }: SettlementOptions) {
    this.#backlog = backlog;
    this.#delivery = delivery;
    this.#deadLetters = deadLetters;
  }

  /** Ends leases and delays whose time is over, and buries what was handed out too often. */
  advance(nowMs: number): void {
    this.#delivery.advance(nowMs);
    this.buryExhausted(nowMs);
  }

  /** A reader's connection closed: its leases end at once, or, if it may have been cut off, after a grace in which it can come back. */
  endLeasesOf(connection: number, { isClean, nowMs }: { readonly isClean: boolean; readonly nowMs: number }): void {
    const leases = this.#delivery.leasesOf(connection).sort((a, b) => b.offset - a.offset);
    for (const lease of leases) {
      if (isClean) this.#delivery.giveBack(lease, { end: "disconnected", isCounted: false, dueAtMs: 0 });
      else this.#delivery.detach(lease.offset, Math.min(lease.deadlineMs, nowMs + LIMITS.resumeGraceMs));
    }
  }

  settle(
    entries: readonly SettleEntry[],
    { sealer, settings, moment }: { readonly sealer: LeaseSealer; readonly settings: DeliverySettings; readonly moment: Moment },
  ): Outcome {
    if (entries.length > LIMITS.settleEntriesMax) {
      return { type: "refused", refusal: invalidRequest("", `Expected at most ${LIMITS.settleEntriesMax} leases in all`) };
    }
    const found = this.#findLeases(entries, sealer, moment.nowMs);
    if ("kind" in found) return { type: "refused", refusal: found };
    const { judged, refused } = this.#judgeOrder(found.judged, found.refused);
    this.#carryOut(judged, settings, moment);
    this.buryExhausted(moment.nowMs);
    const counts = { ack: 0, retry: 0, extend: 0, reject: 0, release: 0 } satisfies Record<SettleVerb, number>;
    for (const { entry } of judged) counts[entry.verb] += 1;
    return { type: "settled", counts, refused };
  }

  /** Moves messages that were handed out too often to the dead letters. */
  buryExhausted(nowMs: number): void {
    for (const exhausted of this.#delivery.takeExhausted()) this.bury(exhausted, nowMs);
  }

  /** Moves the message at an offset to the dead letters. */
  bury({ offset, attempts, reason }: Exhausted, nowMs: number): void {
    const message = this.#backlog.read(offset);
    if (message === undefined) return;
    this.#delivery.finish(offset, "dead-lettered");
    this.#deadLetters.add({ message, attempts, reason, diedAtMs: nowMs });
  }

  /** The live lease of each entry. An id that is not ours, or one that comes twice, refuses the whole call. */
  #findLeases(
    entries: readonly SettleEntry[],
    sealer: LeaseSealer,
    nowMs: number,
  ): { judged: Judged[]; refused: RefusedEntry[] } | Refusal {
    const judged: Judged[] = [];
    const refused: RefusedEntry[] = [];
    const seen = new Set<string>();
    for (const entry of entries) {
      const { leaseId, pointer } = entry;
      if (seen.has(leaseId)) return invalidRequest(pointer, "Expected each lease once in a call");
      seen.add(leaseId);
      const ref = sealer.parse(leaseId);
      if (ref === undefined) return { kind: "invalid-lease", pointer };
      const lease = this.#delivery.findLease(ref.offset);
      const isLive = lease?.holder === ref.holder && lease.attempt === ref.attempt && lease.deadlineMs > nowMs;
      if (isLive && lease !== undefined) judged.push({ entry, lease });
      else
        refused.push({
          pointer,
          refusal: { kind: "lease-lost", offset: ref.offset, cause: this.#delivery.explainLost(ref.offset) },
        });
    }
    return { judged, refused };
  }

  /** An ack counts only if every earlier message of its key is acked or rejected in the same call (G5). */
  #judgeOrder(candidates: readonly Judged[], refused: RefusedEntry[]): { judged: Judged[]; refused: RefusedEntry[] } {
    const ending = new Map(
      candidates.filter(({ entry }) => entry.verb === "ack" || entry.verb === "reject").map((one) => [one.lease.offset, one]),
    );
    const judged: Judged[] = [];
    for (const candidate of candidates.toSorted((a, b) => a.lease.offset - b.lease.offset)) {
      const { entry, lease } = candidate;
      const before = entry.verb !== "ack" || lease.key === undefined ? [] : this.#delivery.leasedBefore(lease.key, lease.offset);
      const open = before.find((offset) => !ending.has(offset));
      if (open === undefined) judged.push(candidate);
      else {
        ending.delete(lease.offset);
        refused.push({ pointer: entry.pointer, refusal: { kind: "out-of-order", offset: lease.offset, openOffset: open } });
      }
    }
    return { judged, refused };
  }

  #carryOut(judged: readonly Judged[], settings: DeliverySettings, moment: Moment): void {
    const { nowMs } = moment;
    for (const { entry, lease } of judged) {
      if (entry.verb === "ack") this.#delivery.finish(lease.offset, "acked");
      if (entry.verb === "extend") this.#delivery.extend(lease.offset, nowMs + entry.leaseMs);
      if (entry.verb === "reject") {
        this.bury({ offset: lease.offset, attempts: lease.attempt, reason: entry.reason ?? "rejected" }, nowMs);
      }
    }
    // The last first: what is given back ends the later leases of its key, and each of these has a verdict of its own here.
    for (const { entry, lease } of judged.toReversed()) {
      if (entry.verb === "release") this.#delivery.giveBack(lease, { end: "released", isCounted: false, dueAtMs: 0 });
      if (entry.verb === "retry") {
        const random = moment.draw32() / 2 ** 32;
        const delayMs = entry.delayMs ?? computeRetryDelay(lease.attempt, settings.retryDelaysMs, random);
        const dueAtMs = delayMs === 0 ? 0 : nowMs + delayMs;
        this.#delivery.giveBack(lease, {
          end: "retried",
          isCounted: true,
          dueAtMs,
          ...(entry.reason !== undefined && { reason: entry.reason }),
        });
      }
    }
  }
}
