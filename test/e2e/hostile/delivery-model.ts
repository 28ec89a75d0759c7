// What leases, settle calls, dead letters and quarantine have to make of a channel: written from SPEC sections LS, KO, RT and DL, and
// apart from the code under test. Leases never run out by themselves here: the lane takes care of that, and says when they did.
import { isDeepStrictEqual } from "node:util";
import type { ChannelDescription } from "../../../src/protocol/description.ts";
import type { LeaseLossCause } from "../../../src/protocol/problems.ts";
import type { DeliverySettings } from "../../../src/protocol/settings.ts";
import type {
  DeadJson,
  ExpectedMessage,
  RefusedPartJson,
  SettleJson,
  SettledJson,
  ShownMessage,
  Taking,
  Which,
} from "./delivery-forms.ts";

/** The clocks of this process and of the service tell the same time, but not at the same moment. */
const SLACK_MS = 5000;
const DEFAULT_DELAY_MS_MAX = 300_000;
const DEFAULT_LIMIT = 100;

export interface Totals {
  put: number;
  acked: number;
  removed: number;
  deadLettered: number;
  dropped: number;
  expired: number;
}

interface Lease {
  readonly id: string;
  readonly attempt: number;
  readonly untilMs: number;
  /** Whether it ends with the lane's socket. */
  readonly isBound: boolean;
}

/** What became of a message that was handed out once. */
interface Handling {
  readonly attempts: number;
  readonly lease?: Lease;
  readonly end?: LeaseLossCause;
  readonly isQuarantined?: true;
  /** It is handed out again between these, as far as is known. */
  readonly dueFromMs?: number;
  readonly dueByMs?: number;
}

interface Dead {
  readonly message: ExpectedMessage;
  readonly attempts: number;
  readonly reason: string;
}

interface Entry {
  readonly verb: "acks" | "retries" | "extends" | "rejects" | "releases";
  readonly pointer: string;
  readonly leaseId: string;
  readonly leaseMs?: number;
  readonly delayMs?: number;
  readonly reason?: string;
}

const VERBS = ["acks", "retries", "extends", "rejects", "releases"] as const;
const COUNTS = { acks: "acked", retries: "retried", extends: "extended", rejects: "rejected", releases: "released" } as const;

export class DeliveryModel {
  readonly deadLetters = new Map<number, Dead>();
  /** Every lease id of this life that was shown, with its offset. */
  readonly issued = new Map<string, number>();
  /** Lease ids of earlier lives. */
  foreign: readonly string[] = [];
  readonly #messages: Map<number, ExpectedMessage>;
  readonly #totals: Totals;
  readonly #handled = new Map<number, Handling>();
  #settings: DeliverySettings | undefined;

  constructor(messages: Map<number, ExpectedMessage>, totals: Totals) {
    this.#messages = messages;
    this.#totals = totals;
  }

  /** Live leases, in the order of offsets. */
  get leases(): readonly (Lease & { readonly offset: number })[] {
    return this.#offsets().flatMap((offset) => {
      const lease = this.#handled.get(offset)?.lease;
      return lease === undefined ? [] : [{ ...lease, offset }];
    });
  }

  /** Ids of leases that are over, of messages that are still kept and of others. */
  get lost(): { readonly kept: readonly string[]; readonly ended: readonly string[] } {
    const live = new Set(this.leases.map(({ id }) => id));
    const over = [...this.issued].filter(([id]) => !live.has(id));
    const [kept, ended] = [true, false].map((isKept) =>
      over.flatMap(([id, offset]) => (this.#messages.has(offset) === isKept ? [id] : [])),
    );
    return { kept: kept ?? [], ended: ended ?? [] };
  }

  get quarantined(): readonly number[] {
    return this.#offsets().filter((offset) => this.#handled.get(offset)?.isQuarantined);
  }

  /** A new life, or none. */
  reset(): void {
    this.foreign = [...this.issued.keys(), ...this.foreign].slice(0, 100);
    this.issued.clear();
    this.deadLetters.clear();
    this.#handled.clear();
  }

  /** The message ended. */
  forget(offset: number): void {
    this.#handled.delete(offset);
  }

  forgetAll(): void {
    this.#handled.clear();
  }

  /** Applies what was handed out in one step, to whomever; says what should not have been. */
  take(takings: readonly Taking[]): string | undefined {
    const auto = new Set<number>();
    const leased = new Map<number, Taking>();
    for (const taking of takings) {
      for (const { offset, leaseId } of taking.messages) {
        if (auto.has(offset) || leased.has(offset)) return `took ${offset} twice`;
        if (leaseId === undefined) auto.add(offset);
        else leased.set(offset, taking);
      }
    }
    for (const taking of takings) {
      for (const shown of taking.messages) {
        const mistake = this.#checkTaken(shown, { taking, auto, leased }) ?? this.#checkLease(shown, taking);
        if (mistake !== undefined) return mistake;
      }
    }
    for (const offset of auto) {
      this.#end(offset);
      this.#totals.acked += 1;
    }
    for (const taking of takings) for (const shown of taking.messages) this.#lease(shown, taking);
    const maxInFlight = this.#settings?.maxInFlight ?? Number.MAX_SAFE_INTEGER;
    return leased.size > 0 && this.leases.length > maxInFlight ? `leased ${this.leases.length} of ${maxInFlight}` : undefined;
  }

  /** Applies an accepted settle call; says where the reply is not what the rules make of it. */
  settle(call: SettleJson, reply: SettledJson): string | undefined {
    const entries = entriesOf(call);
    const refusal = this.#findRefusal(entries);
    if (refusal !== undefined) return `settled what is ${refusal}`;
    const { accepted, refused } = this.#judge(entries);
    const expected = { acked: 0, retried: 0, extended: 0, rejected: 0, released: 0 };
    for (const { verb } of accepted) expected[COUNTS[verb]] += 1;
    const { acked, retried, extended, rejected, released } = reply;
    const given = { acked, retried, extended, rejected, released };
    if (!isDeepStrictEqual(given, expected)) return `settled ${JSON.stringify(given)} instead of ${JSON.stringify(expected)}`;
    const mistake = compareRefused(reply.refused, refused);
    if (mistake === undefined) this.#carryOut(accepted);
    return mistake;
  }

  /** Judges the leases that a refused settle call names as those at fault. */
  checkSettleRefused(call: SettleJson, parts: readonly RefusedPartJson[]): string | undefined {
    const entries = entriesOf(call);
    const refusal = this.#findRefusal(entries);
    return refusal === undefined
      ? compareRefused(parts, this.#judge(entries).refused)
      : `looked further than at what is ${refusal}`;
  }

  /** Leases that end with a connection that closed cleanly end: those of these ids, or of the lane's socket. */
  disconnect(ids?: ReadonlySet<string>): void {
    for (const { offset, id, isBound } of this.leases.toReversed()) {
      if (ids === undefined ? isBound : ids.has(id)) this.#giveBack(offset, { end: "disconnected", isCounted: false });
    }
  }

  /** The leases whose time is over by now end. */
  expire(nowMs: number): void {
    for (const { offset, untilMs } of this.leases.toReversed()) {
      if (untilMs <= nowMs) this.#giveBack(offset, { end: "expired", isCounted: true });
    }
  }

  /** The dead letters that `which` means, in the order of offsets. */
  findDead(which: Which): number[] {
    return [...this.deadLetters.keys()]
      .sort((a, b) => a - b)
      .filter((offset) => {
        const dead = this.deadLetters.get(offset);
        const isOffset = which.offset === undefined ? offset >= (which.from ?? 1) : which.offset === offset;
        const isKey = which.key === undefined || which.key === dead?.message.key;
        return isOffset && isKey && (which.reason === undefined || which.reason === dead?.reason);
      });
  }

  /** Where the search for more dead letters goes on after the first `limit` that were meant. */
  nextDead(found: readonly number[], which: Which, limit: number): number | null {
    if (which.offset !== undefined || found.length < limit) return null;
    const last = found[limit - 1] ?? 0;
    return this.findDead({}).find((offset) => offset > last) ?? null;
  }

  /** Checks a page of dead letters, contents apart. */
  checkDeadPage(
    which: Which & { from?: number; limit?: number },
    page: { deadLetters: readonly DeadJson[]; next: number | null },
  ) {
    const limit = which.limit ?? DEFAULT_LIMIT;
    const found = this.findDead(which);
    const expected = found.slice(0, limit).map((offset) => {
      const { attempts, reason } = this.deadLetters.get(offset) ?? { attempts: 0, reason: "" };
      return { offset, attempts, reason };
    });
    const shown = page.deadLetters.map(({ offset, attempts, reason }) => ({ offset, attempts, reason }));
    if (!isDeepStrictEqual(shown, expected)) return `shows ${JSON.stringify(shown)} instead of ${JSON.stringify(expected)}`;
    const next = this.nextDead(found, {}, limit);
    return page.next === next ? undefined : `goes on at ${page.next} instead of ${next}`;
  }

  /** Checks the list of quarantined messages, contents apart. */
  checkQuarantine(limit: number | undefined, messages: readonly { offset: number; attempts: number }[]): string | undefined {
    const expected = this.quarantined.slice(0, limit ?? DEFAULT_LIMIT).map((offset) => ({
      offset,
      attempts: this.#handled.get(offset)?.attempts,
    }));
    const shown = messages.map(({ offset, attempts }) => ({ offset, attempts }));
    return isDeepStrictEqual(shown, expected)
      ? undefined
      : `shows ${JSON.stringify(shown)} instead of ${JSON.stringify(expected)}`;
  }

  /** Applies the end of quarantine for what `which` means; returns how many. */
  endQuarantine(which: Which, verb: "release" | "drop"): number {
    const meant = this.quarantined.filter(
      (offset) => offset === (which.offset ?? offset) && (which.key === undefined || which.key === this.#keyOf(offset)),
    );
    for (const offset of meant) {
      const { end } = this.#handled.get(offset) ?? {};
      if (verb === "release") this.#handled.set(offset, { attempts: 0, ...(end !== undefined && { end }) });
      else this.#end(offset);
      if (verb === "drop") this.#totals.removed += 1;
    }
    return meant.length;
  }

  /** Compares what a description says of delivery, and adopts its settings. */
  checkDescription({ depth, delivery, deadLetters, settings }: ChannelDescription): string | undefined {
    const nowMs = Date.now();
    this.#settings = settings.delivery;
    if (delivery === null) return "describes no delivery";
    const { ready, leased, retrying, quarantined, isLookAheadExhausted } = delivery;
    const shown = { leased, quarantined, deadLetters: deadLetters.messages, isLookAheadExhausted };
    const expected = {
      leased: this.leases.length,
      quarantined: this.quarantined.length,
      deadLetters: this.deadLetters.size,
      isLookAheadExhausted: false,
    };
    if (!isDeepStrictEqual(shown, expected)) return `describes ${JSON.stringify(shown)} instead of ${JSON.stringify(expected)}`;
    if (depth !== ready + leased + retrying + quarantined) return "depth is not ready + leased + retrying + quarantined";
    const delayed = [...this.#handled.values()].filter(({ lease, isQuarantined }) => lease === undefined && !isQuarantined);
    const least = delayed.filter(({ dueFromMs = 0 }) => dueFromMs > nowMs).length;
    const most = delayed.filter(({ dueByMs = 0 }) => dueByMs > nowMs).length;
    return retrying >= least && retrying <= most ? undefined : `describes ${retrying} retrying instead of ${least} to ${most}`;
  }

  #offsets(): number[] {
    return [...this.#handled.keys()].sort((a, b) => a - b);
  }

  #keyOf(offset: number): string | undefined {
    return this.#messages.get(offset)?.key;
  }

  #end(offset: number): void {
    this.#messages.delete(offset);
    this.#handled.delete(offset);
  }

  /** Messages that have to come before this one, as far as they are still kept. */
  #before(offset: number, isMeant: (message: ExpectedMessage, earlier: number) => boolean): number[] {
    return [...this.#messages].flatMap(([earlier, message]) => (earlier < offset && isMeant(message, earlier) ? [earlier] : []));
  }

  #checkTaken(
    { offset, key }: ShownMessage,
    step: { readonly taking: Taking; readonly auto: ReadonlySet<number>; readonly leased: ReadonlyMap<number, Taking> },
  ): string | undefined {
    const { taking, auto, leased } = step;
    if (!this.#messages.has(offset)) return `took ${offset}, which is not there`;
    const handling = this.#handled.get(offset);
    if (handling?.lease !== undefined) return `took ${offset}, which is leased`;
    if (handling?.isQuarantined) return `took ${offset}, which is quarantined`;
    if ((handling?.dueFromMs ?? 0) > Date.now()) return `took ${offset} before its time`;
    if (key !== undefined) {
      const ofKey = this.#before(offset, (message) => message.key === key);
      const passed = ofKey.find((earlier) => !auto.has(earlier) && (auto.has(offset) || leased.get(earlier) !== taking));
      if (passed !== undefined) return `took ${offset} before ${passed} of the same key`;
    }
    if (handling !== undefined) return undefined;
    // New messages are passed only for the sake of their keys.
    const fresh = this.#before(offset, (message, earlier) => message.key === undefined && !this.#handled.has(earlier));
    const skipped = fresh.find((earlier) => !auto.has(earlier) && !leased.has(earlier));
    return skipped === undefined ? undefined : `took ${offset} before ${skipped}`;
  }

  #checkLease({ offset, leaseId, attempt, redelivered }: ShownMessage, { leaseUntilMs }: Taking): string | undefined {
    if (leaseId === undefined) return attempt === undefined ? undefined : `took ${offset} with an attempt and no lease`;
    const handling = this.#handled.get(offset);
    const expected = { attempt: (handling?.attempts ?? 0) + 1, redelivered: handling !== undefined };
    if (!isDeepStrictEqual({ attempt, redelivered }, expected)) {
      return `leased ${offset} with ${JSON.stringify({ attempt, redelivered })} instead of ${JSON.stringify(expected)}`;
    }
    if (this.issued.has(leaseId)) return `the lease id of ${offset} was given before`;
    return leaseUntilMs === undefined ? `leased ${offset} for ever` : undefined;
  }

  #lease({ offset, leaseId, attempt = 0 }: ShownMessage, { leaseUntilMs = 0, isBound }: Taking): void {
    if (leaseId === undefined) return;
    this.issued.set(leaseId, offset);
    this.#handled.set(offset, { attempts: attempt - 1, lease: { id: leaseId, attempt, untilMs: leaseUntilMs, isBound } });
  }

  /** Why the whole call has to be refused. */
  #findRefusal(entries: readonly Entry[]): string | undefined {
    const seen = new Set<string>();
    const seals = new Set([...this.issued.keys()].map(sealOf));
    for (const { leaseId } of entries) {
      if (seen.has(leaseId)) return "named twice";
      seen.add(leaseId);
      // Group, offset and attempt are not sealed: what is not live of them is lost, or never was.
      if (!/^(?:0|[1-9]\d{0,3})-[1-9]\d{0,14}-[1-9]\d{0,9}-/.test(leaseId) || !seals.has(sealOf(leaseId)))
        return "no lease of this life";
    }
    return undefined;
  }

  #judge(entries: readonly Entry[]): { accepted: readonly (Entry & { offset: number })[]; refused: readonly string[] } {
    const refused: string[] = [];
    const live: (Entry & { offset: number })[] = [];
    for (const entry of entries) {
      const [group, offset = 0] = entry.leaseId.split("-", 2).map(Number);
      const handling = this.#handled.get(offset);
      if (handling?.lease?.id === entry.leaseId) live.push({ ...entry, offset });
      else refused.push(`${entry.pointer} lease-lost ${group === 0 ? this.#explainLost(offset, handling) : "settled"}`);
    }
    live.sort((a, b) => a.offset - b.offset);
    const ending = new Set(live.filter(({ verb }) => verb === "acks" || verb === "rejects").map(({ offset }) => offset));
    const accepted = live.filter(({ verb, offset, pointer }) => {
      const key = this.#keyOf(offset);
      if (verb !== "acks" || key === undefined) return true;
      const open = this.#before(offset, (message, earlier) => message.key === key && !ending.has(earlier))[0];
      if (open === undefined) return true;
      ending.delete(offset);
      refused.push(`${pointer} out-of-order ${open}`);
      return false;
    });
    return { accepted, refused };
  }

  #explainLost(offset: number, handling: Handling | undefined): LeaseLossCause {
    if (!this.#messages.has(offset)) return "settled";
    return handling?.lease === undefined ? (handling?.end ?? "expired") : "superseded";
  }

  #carryOut(accepted: readonly (Entry & { offset: number })[]): void {
    const nowMs = Date.now();
    for (const { verb, offset, leaseMs = 0, reason } of accepted) {
      const handling = this.#handled.get(offset);
      if (handling?.lease === undefined) continue;
      if (verb === "acks") {
        this.#end(offset);
        this.#totals.acked += 1;
      }
      if (verb === "extends") this.#handled.set(offset, { ...handling, lease: { ...handling.lease, untilMs: nowMs + leaseMs } });
      if (verb === "rejects") this.#bury(offset, handling.lease.attempt, reason ?? "rejected");
    }
    for (const { verb, offset, delayMs, reason } of accepted.toReversed()) {
      if (verb === "releases") this.#giveBack(offset, { end: "released", isCounted: false });
      if (verb === "retries") this.#giveBack(offset, { end: "retried", isCounted: true, reason, ...this.#due(offset, delayMs) });
    }
  }

  #due(offset: number, given: number | undefined): { dueFromMs?: number; dueByMs?: number } {
    const nowMs = Date.now();
    const delays = this.#settings?.retryDelaysMs ?? null;
    const attempt = this.#handled.get(offset)?.lease?.attempt ?? 1;
    const delayMs = given ?? (delays === null ? undefined : delays[Math.min(attempt, delays.length) - 1]);
    if (delayMs === undefined) return { dueByMs: nowMs + DEFAULT_DELAY_MS_MAX + SLACK_MS };
    return delayMs === 0 ? {} : { dueFromMs: nowMs + delayMs - SLACK_MS, dueByMs: nowMs + delayMs + SLACK_MS };
  }

  #giveBack(
    offset: number,
    how: { end: LeaseLossCause; isCounted: boolean; reason?: string | undefined; dueFromMs?: number; dueByMs?: number },
  ): void {
    const { end, isCounted, reason = end, ...due } = how;
    const lease = this.#handled.get(offset)?.lease;
    if (lease === undefined) return;
    const key = this.#keyOf(offset);
    for (const later of this.leases) {
      const isAfter = key !== undefined && later.offset > offset && this.#keyOf(later.offset) === key;
      if (isAfter) this.#handled.set(later.offset, { attempts: later.attempt - 1, end: "predecessor" });
    }
    const attempts = isCounted ? lease.attempt : lease.attempt - 1;
    const { maxAttempts = 10, onExhausted = "dead-letter" } = this.#settings ?? {};
    const isExhausted = isCounted && maxAttempts >= 0 && attempts >= maxAttempts;
    if (isExhausted && onExhausted === "dead-letter") this.#bury(offset, attempts, reason);
    else if (isExhausted) this.#handled.set(offset, { attempts, end, isQuarantined: true });
    else this.#handled.set(offset, { attempts, end, ...due });
  }

  #bury(offset: number, attempts: number, reason: string): void {
    const message = this.#messages.get(offset);
    if (message === undefined) return;
    this.#end(offset);
    this.deadLetters.set(offset, { message, attempts, reason });
    this.#totals.deadLettered += 1;
  }
}

function entriesOf(call: SettleJson): Entry[] {
  return VERBS.flatMap((verb) =>
    (call[verb] ?? []).map((entry, index): Entry => ({ ...entry, verb, pointer: `/${verb}/${index}/leaseId` })),
  );
}

function compareRefused(parts: readonly RefusedPartJson[], expected: readonly string[]): string | undefined {
  const shown = parts.map(({ pointer, problem }) => `${pointer} ${problem.kind} ${problem.cause ?? problem.openOffset}`);
  const isSame = isDeepStrictEqual(shown.sort(), [...expected].sort());
  return isSame ? undefined : `refused ${shown.join()} instead of ${expected.join()}`;
}

/** Holder and seal. */
function sealOf(leaseId: string): string {
  return leaseId.split("-").slice(3).join("-");
}
