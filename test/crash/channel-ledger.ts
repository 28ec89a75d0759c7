// The checker's book of one channel: every message, every lease, and what contradicts the guarantees (G1 to G5, G8).
import type { Answer, Completion, Inspection, Invoke, Leased, Result, Seen, SettleLists } from "./history.ts";
import { checkInspection, type InspectedState, type Sends } from "./inspection.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { findKeyFalls, KeyBook } from "./key-book.ts";
import { keyOf } from "./payload.ts";
import { type Delivery, type End, isUntouched, type Send, type Tracked } from "./tracked.ts";
import type { FaultKind } from "./verdict.ts";

const EXPECTED_REFUSALS: { readonly [F in Invoke["call"]["f"]]: readonly string[] } = {
  // A promise of room ends when the body comes late.
  put: ["channel-full", "promise-lost"],
  get: [],
  pull: [],
  settle: [],
  inspect: [],
};
const EXPECTED_LEASE_REFUSALS: readonly string[] = ["lease-lost", "out-of-order"];

interface LedgerOptions {
  readonly channel: string;
  readonly maxMessages: number;
  readonly report: (kind: FaultKind, text: string) => void;
}

/** What is remembered of an operation from its invocation on. */
interface OpenCall {
  readonly event: number;
  /** For a put. */
  readonly sent: Send;
  /** For a settle call: the highest offset of each of its keys whose ack was answered before. */
  readonly ackedBefore: ReadonlyMap<string, number>;
  /** For a get that removes: the highest offset that was taken before. */
  readonly takenBefore: number;
}

export class ChannelLedger {
  readonly #options: LedgerOptions;
  readonly #messages = new Map<string, Tracked>();
  readonly #byOffset = new Map<number, Tracked>();
  readonly #unended = new Set<Tracked>();
  readonly #leases = new Map<string, Delivery>();
  readonly #calls = new Map<number, OpenCall>();
  /** Rejected, and not seen among the dead letters yet. */
  readonly #rejected = new Set<Tracked>();
  readonly #keys = new KeyBook();
  readonly #ackedOfKey = new Map<string, number>();
  readonly #ackedOnConnection = new Map<string, number>();
  readonly #takenOnConnection = new Map<string, number>();
  readonly totals = { stored: 0, acked: 0, unseen: 0, taken: 0, dead: 0 };
  #sends: Sends = new Map();
  #event = 0;
  /** When the runtime was killed, until it runs again. */
  #killedAtMs: number | undefined;
  #maxOffset = 0;
  #maxTaken = 0;
  /** Messages that gets without an answer may have taken since the last inspection, at most. */
  #lostGetsMax = 0;
  /** Puts of unknown outcome that such a get may have taken, so that nobody can tell whether they were stored. */
  #unknowable = 0;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  /** Acknowledged messages that have not ended. */
  get unsettled(): number {
    return [...this.#unended].filter((tracked) => tracked.put === "acknowledged").length;
  }

  invoke({ op, connection, call }: Invoke): void {
    this.#event += 1;
    const ackedBefore = new Map<string, number>();
    const sent: Send = { messages: call.f === "put" ? call.messages.map((name) => this.#track(name)) : [], mayBeRefused: false };
    if (call.f === "put") {
      const sends = this.#sends.get(connection);
      if (sends === undefined) this.#sends.set(connection, [sent]);
      else sends.push(sent);
    }
    if (call.f === "settle") {
      for (const leaseId of [...call.acks, ...call.rejects]) this.#leaseOf(leaseId).tracked.endings += 1;
      for (const leaseId of allOf(call)) this.#touch(this.#leaseOf(leaseId));
      for (const leaseId of call.acks) {
        const { key = "" } = this.#leaseOf(leaseId).tracked;
        ackedBefore.set(key, this.#ackedOfKey.get(key) ?? 0);
      }
    }
    this.#calls.set(op, { event: this.#event, sent, ackedBefore, takenBefore: this.#maxTaken });
  }

  /** The leases of a connection end when it closes, or a while later. */
  close(connection: string): void {
    for (const { last } of this.#unended) if (last?.connection === connection) this.#touch(last);
  }

  /** All connections are cut off: their leases are kept for a grace (LS9). */
  kill(atMs: number): void {
    this.#killedAtMs = atMs;
    for (const { last } of this.#unended) if (last !== undefined) this.#cutOff(last);
  }

  start(): void {
    this.#killedAtMs = undefined;
  }

  complete(invoke: Invoke, completion: Completion): void {
    this.#event += 1;
    const open = this.#calls.get(invoke.op);
    this.#calls.delete(invoke.op);
    if (open === undefined) return;
    if (completion.type === "ok") this.#succeed(invoke, open, completion.result, completion.atMs);
    else if (completion.type === "fail") this.#fail(invoke, open, completion.kind);
    else this.#lose(invoke, open, completion.atMs);
  }

  #succeed(invoke: Invoke, open: OpenCall, result: Result, atMs: number): void {
    const { maxMessages } = this.#options;
    if (result.depth > maxMessages) this.#report("overLimit", `operation ${invoke.op} was told of a depth of ${result.depth}`);
    const { call } = invoke;
    if (call.f === "put" && result.f === "put") this.#acknowledgePut(call.messages, result.offset);
    if (call.f === "get" && result.f === "get") this.#take(invoke, open, result.messages);
    if (call.f === "pull" && result.f === "pull") {
      for (const fall of findKeyFalls(result.messages)) this.#report("outOfOrder", fall);
      const connection = call.isDetached ? undefined : invoke.connection;
      for (const leased of result.messages) this.#deliver(leased, open, { atMs, untilMs: result.leaseUntilMs, connection });
    }
    if (call.f === "settle" && result.f === "settle") this.#settle(invoke, open, { lists: call, result, atMs });
    if (result.f === "inspect") this.#inspect(result);
  }

  #fail(invoke: Invoke, { sent }: OpenCall, kind: string): void {
    const { call, op } = invoke;
    if (!EXPECTED_REFUSALS[call.f].includes(kind)) this.#report("refusals", `${call.f} ${op} was refused: ${kind}`);
    for (const { name } of sent.messages) this.#forgetPut(name, "refused");
    sent.mayBeRefused = true;
    if (call.f === "settle") this.#endAttempts(call);
  }

  #lose({ call, atMs: invokedAtMs }: Invoke, { sent }: OpenCall, atMs: number): void {
    for (const tracked of sent.messages) tracked.put = "unknown";
    // One that waits is refused when its time is over.
    if (call.f === "put" && atMs - invokedAtMs >= call.waitMs) sent.mayBeRefused = true;
    if (call.f === "get") this.#lostGetsMax += call.max;
  }

  #acknowledgePut(names: readonly string[], offset: number): void {
    for (const [index, name] of names.entries()) {
      const tracked = this.#trackedOf(name);
      tracked.put = "acknowledged";
      this.#place(tracked, offset + index);
    }
  }

  /** A get that removes: everything in the order of offsets, nothing twice. */
  #take({ connection }: Invoke, { event, takenBefore }: OpenCall, messages: readonly Seen[]): void {
    let last = Math.max(takenBefore, this.#takenOnConnection.get(connection) ?? 0);
    for (const seen of messages) {
      const tracked = this.#identify(seen);
      if (seen.offset <= last) this.#report("outOfOrder", `${seen.name} at ${seen.offset} was taken after ${last}`);
      last = Math.max(last, seen.offset);
      if (tracked?.end !== undefined) this.#report("ackedTwice", `${seen.name} was taken, but had ended: ${tracked.end}`);
      else if (tracked !== undefined) this.#end(tracked, "taken", event);
    }
    this.#takenOnConnection.set(connection, last);
    this.#maxTaken = Math.max(this.#maxTaken, last);
  }

  #deliver(leased: Leased, open: OpenCall, grant: { atMs: number; untilMs: number; connection: string | undefined }): void {
    const { name, leaseId, attempt } = leased;
    const tracked = this.#identify(leased);
    if (tracked === undefined) return;
    const { last, end, endAttempt } = tracked;
    const wasOver = end !== undefined && (tracked.endEvent < open.event || (end === "acked" && attempt > endAttempt));
    if (wasOver) this.#report("ackedTwice", `${name} was delivered again (attempt ${attempt}) after it had ended: ${end}`);
    if (last !== undefined && last.event < open.event) this.#checkRedelivery(leased, last, grant.atMs);
    const first = this.#keys.firstOf(tracked.key);
    if (first?.last !== undefined && first.last.event < open.event && isUntouched(first.last, grant.atMs)) {
      this.#report("leases", `${name} was handed out while ${first.name}, which has the same key, was leased to another reader`);
    }
    const { untilMs, connection } = grant;
    const delivery: Delivery = {
      tracked,
      attempt,
      untilMs,
      connection,
      event: this.#event,
      touches: 0,
      givenBackEvent: undefined,
    };
    if (this.#leases.has(leaseId)) this.#report("leases", `${leaseId} was given twice`);
    this.#leases.set(leaseId, delivery);
    this.#cutOff(delivery);
    if (last === undefined || attempt >= last.attempt) tracked.last = delivery;
  }

  /** The message was delivered before this pull was invoked. */
  #checkRedelivery({ name, attempt, redelivered }: Leased, last: Delivery, atMs: number): void {
    if (attempt < last.attempt) this.#report("leases", `attempt ${attempt} of ${name} came after attempt ${last.attempt}`);
    if (!redelivered) this.#report("leases", `${name} came again and was not marked as redelivered`);
    // One of a key also ends with an earlier one of the key.
    if (last.tracked.key === undefined && isUntouched(last, atMs))
      this.#report("leases", `${name} was leased twice: until ${last.untilMs}, and again by ${atMs}`);
  }

  #settle(
    invoke: Invoke,
    open: OpenCall,
    { lists, result, atMs }: { lists: SettleLists & { readonly extendMs: number }; result: Answer<"settle">; atMs: number },
  ): void {
    this.#endAttempts(lists);
    const refused = new Set(result.refused.map(({ leaseId }) => leaseId));
    for (const { leaseId, kind } of result.refused) this.#checkRefusal(leaseId, kind, atMs);
    const accepted = (ids: readonly string[]): Delivery[] => ids.filter((id) => !refused.has(id)).map((id) => this.#leaseOf(id));
    const acks = accepted(lists.acks).sort((a, b) => offsetOf(a) - offsetOf(b));
    const rejects = accepted(lists.rejects);
    const givenBack = accepted([...lists.retries, ...lists.releases]);
    const extended = accepted(lists.extends);
    if (acks.length !== result.acked) {
      this.#report("counts", `settle ${invoke.op} counts ${result.acked} acks and refuses all but ${acks.length}`);
    }
    for (const lease of [...acks, ...rejects, ...givenBack, ...extended]) this.#checkNotGivenBack(lease, open.event);
    for (const ack of acks) {
      this.#checkAckOrder(ack, invoke.connection, open);
      this.#endBySettle(ack, "acked");
    }
    for (const reject of rejects) this.#endBySettle(reject, "rejected");
    for (const { tracked } of [...givenBack, ...extended]) {
      const { name, end, endEvent } = tracked;
      if (end !== undefined && endEvent < open.event)
        this.#report("leases", `a lease of ${name} counted, but it had ended: ${end}`);
    }
    for (const lease of givenBack) lease.givenBackEvent ??= this.#event;
    for (const lease of extended) {
      lease.touches -= 1;
      lease.untilMs = invoke.atMs + lists.extendMs;
      this.#cutOff(lease);
    }
  }

  #checkRefusal(leaseId: string, kind: string, atMs: number): void {
    const lease = this.#leaseOf(leaseId);
    if (!EXPECTED_LEASE_REFUSALS.includes(kind)) this.#report("refusals", `settling ${leaseId} was refused: ${kind}`);
    // This call is the one touch.
    if (lease.tracked.key === undefined && isUntouched(lease, atMs, 1))
      this.#report("leases", `settling ${lease.tracked.name} was refused before its lease was over: ${kind}`);
  }

  /** Replies that left before the kill are read after it: their leases are cut off like all others of connections. */
  #cutOff(lease: Delivery): void {
    if (this.#killedAtMs === undefined || lease.connection === undefined) return;
    lease.untilMs = Math.min(lease.untilMs, this.#killedAtMs + LIMITS.resumeGraceMs);
  }

  /** A settle call may end a lease before its time, and with it those of the later messages of its key. */
  #touch(lease: Delivery): void {
    lease.touches += 1;
    for (const { last } of this.#keys.openOf(lease.tracked.key)) if (last !== undefined && last !== lease) last.touches += 1;
  }

  #checkNotGivenBack({ tracked, attempt, givenBackEvent = Infinity }: Delivery, invokedEvent: number): void {
    if (givenBackEvent >= invokedEvent) return;
    this.#report("leases", `attempt ${attempt} of ${tracked.name} counted after it was given back`);
  }

  #endBySettle({ tracked, attempt }: Delivery, end: "acked" | "rejected"): void {
    const { name, last } = tracked;
    if (tracked.end !== undefined) {
      this.#report("ackedTwice", `${name} was ${end} (attempt ${attempt}), but had ended: ${tracked.end}`);
      return;
    }
    if (last !== undefined && last.attempt > attempt) {
      this.#report("leases", `${name} was ${end} by attempt ${attempt}, but attempt ${last.attempt} had been handed out`);
    }
    this.#end(tracked, end, this.#event, attempt);
  }

  /** Acks that count come in the order of offsets, for each key: after those answered before, and those of the same connection. */
  #checkAckOrder({ tracked }: Delivery, connection: string, { ackedBefore }: OpenCall): void {
    const { key, name, offset = 0 } = tracked;
    if (key === undefined) return;
    const line = `${connection} ${key}`;
    const before = Math.max(ackedBefore.get(key) ?? 0, this.#ackedOnConnection.get(line) ?? 0);
    if (offset < before) this.#report("outOfOrder", `${name} at ${offset} was acked after ${before} of its key`);
    this.#ackedOnConnection.set(line, Math.max(before, offset));
    this.#ackedOfKey.set(key, Math.max(this.#ackedOfKey.get(key) ?? 0, offset));
  }

  #endAttempts({ acks, rejects }: SettleLists): void {
    for (const leaseId of [...acks, ...rejects]) this.#leaseOf(leaseId).tracked.endings -= 1;
  }

  #inspect(inspection: Inspection): void {
    const state: InspectedState = {
      maxMessages: this.#options.maxMessages,
      totals: this.totals,
      unended: this.#unended,
      rejected: this.#rejected,
      sends: this.#sends,
      lostGetsMax: this.#lostGetsMax,
      // Those that the inspection itself finds among them.
      unknowable: () => this.#unknowable,
      identify: (seen) => this.#identify(seen),
      end: (tracked, end) => this.#end(tracked, end, this.#event),
      forgetPut: ({ name }) => {
        if (this.#lostGetsMax > 0) this.#unknowable += 1;
        this.#forgetPut(name, "absent");
      },
      report: (kind, text) => this.#report(kind, text),
    };
    checkInspection(inspection, state);
    this.#sends = new Map();
    this.#ackedOnConnection.clear();
    this.#takenOnConnection.clear();
    this.#lostGetsMax = 0;
  }

  #track(name: string): Tracked {
    if (this.#messages.has(name)) throw new Error(`The history puts ${name} twice`);
    const tracked: Tracked = {
      name,
      key: keyOf(name),
      put: "sent",
      offset: undefined,
      floor: this.#maxOffset,
      end: undefined,
      endEvent: 0,
      endAttempt: 0,
      endings: 0,
      last: undefined,
    };
    this.#messages.set(name, tracked);
    this.#unended.add(tracked);
    return tracked;
  }

  #trackedOf(name: string): Tracked {
    const tracked = this.#messages.get(name);
    if (tracked === undefined) throw new Error(`The history does not put ${name}`);
    return tracked;
  }

  #leaseOf(leaseId: string): Delivery {
    const lease = this.#leases.get(leaseId);
    if (lease === undefined) throw new Error(`The history settles ${leaseId}, which nobody was given`);
    return lease;
  }

  /** The message that was seen somewhere; undefined for one that must not exist. */
  #identify({ name, offset }: Seen): Tracked | undefined {
    const tracked = this.#messages.get(name);
    if (tracked === undefined || tracked.put === "refused" || tracked.put === "absent") {
      this.#report(
        "foreign",
        `${name} is at ${offset}, but its put ${tracked === undefined ? "never was" : `is ${tracked.put}`}`,
      );
      return undefined;
    }
    this.#place(tracked, offset);
    return tracked;
  }

  #place(tracked: Tracked, offset: number): void {
    if (tracked.offset === offset) return;
    const { name, floor } = tracked;
    if (tracked.offset !== undefined) {
      this.#report("misplaced", `${name} was at ${tracked.offset} and is at ${offset}`);
      return;
    }
    const other = this.#byOffset.get(offset);
    if (other !== undefined) this.#report("misplaced", `${name} is at ${offset}, where ${other.name} was`);
    if (offset <= floor) this.#report("outOfOrder", `${name} was sent after ${floor} was known and is at ${offset}`);
    tracked.offset = offset;
    this.#byOffset.set(offset, tracked);
    this.#maxOffset = Math.max(this.#maxOffset, offset);
    this.totals.stored += 1;
    if (tracked.end === undefined) this.#keys.add(tracked);
  }

  #forgetPut(name: string, put: "refused" | "absent"): void {
    const tracked = this.#trackedOf(name);
    tracked.put = put;
    this.#unended.delete(tracked);
    if (tracked.offset !== undefined) this.#report("foreign", `${name} was seen at ${tracked.offset}, but its put is ${put}`);
  }

  #end(tracked: Tracked, end: End, event: number, attempt = 0): void {
    if (end === "rejected") this.#rejected.add(tracked);
    else this.totals[end] += 1;
    if (end === "dead") this.#rejected.delete(tracked);
    tracked.end = end;
    tracked.endEvent = event;
    tracked.endAttempt = attempt;
    this.#keys.remove(tracked);
    this.#unended.delete(tracked);
  }

  #report(kind: FaultKind, text: string): void {
    this.#options.report(kind, `${this.#options.channel}: ${text}`);
  }
}

function offsetOf({ tracked }: Delivery): number {
  return tracked.offset ?? 0;
}

function allOf({ acks, rejects, retries, extends: extended, releases }: SettleLists): readonly string[] {
  return [...acks, ...rejects, ...retries, ...extended, ...releases];
}
