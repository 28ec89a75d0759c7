// Which messages are handed out, and what becomes of those that were: SPEC sections LS, KO, RT and DL, word by word.
import type { LeaseEnd } from "../../../src/channel/delivery-store.ts";
import type { DeadLetterFilter } from "../../../src/channel/dead-letters.ts";
import type { DeadLetter } from "../../../src/channel/dead-letter-store.ts";
import type { LeaseTerms, RefusedEntry, SettleEntry, SettleVerb, Outcome } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { messageBytes } from "../../../src/protocol/message.ts";
import { type Book, controlOf, invalid, messageOf, type ModelMessage, refused, tooLarge } from "./state.ts";

interface Want {
  readonly min: number;
  readonly max: number;
  readonly nowMs: number;
  readonly lease: LeaseTerms | undefined;
  readonly connection: number | undefined;
}

interface Chosen {
  readonly messages: ModelMessage[];
  readonly controls: number[];
  readonly parked: number[];
  isCut: boolean;
  frontier: number;
  firstFound: number | undefined;
}

/** A settle call that is judged and not carried out. */
interface Verdict {
  readonly judged: readonly { readonly entry: SettleEntry; readonly message: ModelMessage }[];
  readonly refusals: readonly RefusedEntry[];
}

type Refused = Extract<Outcome, { type: "refused" }>;

/** A lease id as it was told: of which life, message and pull. */
interface Issued {
  readonly life: string;
  readonly offset: number;
  readonly holder: number;
}

export class ModelDelivery {
  readonly #book: Book;
  /** Never forgotten, as readers do not forget; ids that nobody was told of do no harm. */
  readonly #issued = new Map<string, Issued>();
  #lastHolder = 0;

  constructor(book: Book) {
    this.#book = book;
  }

  /** The ids that a pull was answered with, for the messages that it was given. */
  issue(offsets: readonly number[], leaseIds: readonly string[]): void {
    const { life } = this.#book.existing;
    for (const [index, leaseId] of leaseIds.entries()) {
      const offset = offsets[index] ?? 0;
      this.#issued.set(leaseId, { life, offset, holder: this.#book.find(offset)?.lease?.holder ?? 0 });
    }
  }

  /** Undefined when fewer than `min` can be had. */
  take(want: Want): Outcome | undefined {
    const { min, nowMs, lease } = want;
    const book = this.#book;
    const inFlight = book.leased.length;
    const max = lease === undefined ? want.max : Math.min(want.max, book.existing.settings.delivery.maxInFlight - inFlight);
    const quarantined = book.messages.filter((message) => message.isQuarantined).length;
    if (max < min || book.depth - inFlight - quarantined < min) return undefined;
    const chosen = this.#choose(max, nowMs);
    const count = chosen.messages.length;
    if (count < min) {
      const frontier = chosen.firstFound ?? chosen.frontier;
      this.#pass(
        frontier,
        chosen.parked.filter((offset) => offset < frontier),
      );
      return chosen.isCut ? tooLarge("messages", min, count) : undefined;
    }
    this.#pass(chosen.frontier, chosen.parked);
    const controls = book.state.records.filter(({ offset }) => chosen.controls.includes(offset)).flatMap(controlOf);
    const got = { type: "got", messages: chosen.messages.map(messageOf), controls } as const;
    book.passControls(chosen.controls, nowMs);
    if (lease === undefined) {
      for (const { offset } of chosen.messages) book.finish(offset, "acked", nowMs);
      return got;
    }
    return { ...got, granted: this.#grant(chosen.messages, { ...want, lease }) };
  }

  /** LS6: ends the leases whose deadline is met. */
  advance(nowMs: number): void {
    const expired = this.#book.leased.filter(({ lease }) => lease !== undefined && lease.deadlineMs <= nowMs);
    for (const message of expired.toReversed()) this.giveBack(message.offset, { end: "expired", isCounted: true, nowMs });
  }

  /** LS9. */
  endLeasesOf(connection: number, isClean: boolean, nowMs: number): void {
    const held = this.#book.leased.filter(({ lease }) => lease?.connection === connection);
    for (const { offset, lease } of held.toReversed()) {
      if (lease === undefined) continue;
      const deadlineMs = Math.min(lease.deadlineMs, nowMs + LIMITS.resumeGraceMs);
      if (isClean) this.giveBack(offset, { end: "disconnected", isCounted: false, nowMs });
      else this.#book.update(offset, { lease: { ...lease, deadlineMs, connection: undefined } });
    }
  }

  giveBack(
    offset: number,
    how: { end: LeaseEnd; isCounted: boolean; nowMs: number; due?: readonly [number, number]; reason?: string | undefined },
  ): void {
    const message = this.#book.find(offset);
    if (message?.state !== "leased") return;
    // KO3: later messages of its key lose their leases, not counted.
    for (const later of this.#book.leased) {
      const isLater = message.message.key !== undefined && later.message.key === message.message.key && later.offset > offset;
      if (isLater) this.#back(later, { end: "predecessor", attempts: later.attempts - 1 });
    }
    const attempts = message.attempts - (how.isCounted ? 0 : 1);
    const { maxAttempts, onExhausted } = this.#book.existing.settings.delivery;
    const isExhausted = how.isCounted && maxAttempts >= 0 && attempts >= maxAttempts;
    const [from, to] = how.due ?? [0, 0];
    const isQuarantined = isExhausted && onExhausted === "quarantine";
    this.#back(message, { end: how.end, attempts, dueAtMs: to, dueFromMs: from === to ? undefined : from, isQuarantined });
    if (isExhausted && !isQuarantined) this.bury(offset, { attempts, reason: how.reason ?? how.end, nowMs: how.nowMs });
  }

  bury(offset: number, { attempts, reason, nowMs }: { attempts: number; reason: string; nowMs: number }): void {
    const message = this.#book.find(offset);
    if (message === undefined) return;
    this.#book.finish(offset, "deadLettered", nowMs);
    const place = { group: "default", offset, groupId: 0 };
    const letter: DeadLetter = { ...place, message: messageOf(message), attempts, reason, diedAtMs: nowMs };
    let letters = [...this.#book.state.deadLetters, letter].sort((a, b) => a.message.offset - b.message.offset);
    // DL2: the least offsets are dropped.
    while (letters.length > LIMITS.deadLettersMax || bytesOf(letters) > LIMITS.deadLetterBytesMax) letters = letters.slice(1);
    this.#book.change({ deadLetters: letters });
  }

  /** Judges a call entry by entry; an id that is not ours, or that comes twice, refuses all of it. */
  judge(entries: readonly SettleEntry[]): Verdict | Refused {
    const seen = new Set<string>();
    const live: { entry: SettleEntry; message: ModelMessage }[] = [];
    const refusals: RefusedEntry[] = [];
    for (const entry of entries) {
      const { leaseId, pointer } = entry;
      if (seen.has(leaseId)) return invalid(pointer);
      seen.add(leaseId);
      const issued = this.#issued.get(leaseId);
      if (issued?.life !== this.#book.existing.life) return refused({ kind: "invalid-lease", pointer });
      const { offset, holder } = issued;
      const message = this.#book.find(offset);
      if (message?.lease?.holder === holder) live.push({ entry, message });
      else {
        const cause = message === undefined ? "settled" : message.state === "leased" ? "superseded" : (message.end ?? "expired");
        refusals.push({ pointer, refusal: { kind: "lease-lost", offset, cause } });
      }
    }
    return { judged: this.#judgeOrder(live, refusals), refusals };
  }

  carryOut({ judged, refusals }: Verdict, nowMs: number): Extract<Outcome, { type: "settled" }> {
    this.#carryOut(judged, nowMs);
    const counts = { ack: 0, retry: 0, extend: 0, reject: 0, release: 0 } satisfies Record<SettleVerb, number>;
    for (const { entry } of judged) counts[entry.verb] += 1;
    return { type: "settled", counts, refused: refusals };
  }

  quarantined(offset?: number, key?: string): ModelMessage[] {
    return this.#book.messages.filter(
      (message) =>
        message.isQuarantined &&
        message.offset === (offset ?? message.offset) &&
        message.message.key === (key ?? message.message.key),
    );
  }

  /** A page of dead letters: how many the filter lets pass, and where to go on. */
  page(
    fromOffset: number,
    limit: number,
    filter: DeadLetterFilter,
    nowMs: number,
  ): { letters: DeadLetter[]; nextOffset?: number } {
    const letters: DeadLetter[] = [];
    const { deadLetters } = this.#book.state;
    const looked =
      filter.offset === undefined
        ? deadLetters.filter(({ message }) => message.offset >= fromOffset)
        : deadLetters.filter(({ message }) => message.offset === filter.offset);
    for (const letter of looked) {
      const isTooMuch = letters.length > 0 && bytesOf([...letters, letter]) > LIMITS.replyBytesMax;
      if (letters.length === limit || isTooMuch) return { letters, nextOffset: letter.message.offset };
      const isMeant =
        letter.message.key === (filter.key ?? letter.message.key) &&
        letter.reason === (filter.reason ?? letter.reason) &&
        (filter.olderThanMs === undefined || letter.diedAtMs <= nowMs - filter.olderThanMs);
      if (isMeant) letters.push(letter);
    }
    return { letters };
  }

  dropLetters(letters: readonly DeadLetter[]): void {
    if (letters.length === 0) return;
    this.#book.change({ deadLetters: this.#book.state.deadLetters.filter((letter) => !letters.includes(letter)) });
  }

  #grant(messages: readonly ModelMessage[], { lease, connection, nowMs }: Want & { lease: LeaseTerms }): GrantedWithoutIds {
    this.#lastHolder += 1;
    const leaseUntilMs = nowMs + lease.leaseMs;
    const held = { holder: this.#lastHolder, deadlineMs: leaseUntilMs, connection: lease.isDetached ? undefined : connection };
    for (const { offset, attempts } of messages) {
      this.#book.update(offset, { state: "leased", attempts: attempts + 1, lease: held, end: undefined, dueFromMs: undefined });
    }
    return {
      leaseIds: [],
      attempts: messages.map(({ attempts }) => attempts + 1),
      redelivered: messages.map(({ state }) => state === "back"),
      leaseUntilMs,
    };
  }

  /** First what delivery has passed and may be had now, then what it has not looked at yet; each in the order of offsets. */
  #choose(max: number, nowMs: number): Chosen {
    const { records, frontier } = this.#book.state;
    const chosen: Chosen = { messages: [], controls: [], parked: [], isCut: false, frontier, firstFound: undefined };
    const known = this.#book.messages.filter(({ state }) => state === "parked" || state === "back");
    for (const message of known) {
      if (chosen.messages.length === max || chosen.isCut) break;
      const isDue = !message.isQuarantined && message.dueAtMs <= nowMs;
      if (isDue && !this.#isBlocked(message, chosen)) take(message, chosen);
    }
    if (chosen.isCut) return chosen;
    chosen.frontier = Math.max(frontier, this.#book.headOffset);
    for (const record of records.filter(({ offset }) => offset >= chosen.frontier)) {
      chosen.frontier = record.offset;
      const isFull = chosen.messages.length === max || chosen.isCut;
      if (isFull && chosen.messages.length === 0) return chosen;
      if (record.message === undefined) {
        chosen.firstFound ??= record.offset;
        chosen.controls.push(record.offset);
      } else if (record.state !== "fresh") continue;
      else if (isFull) return chosen;
      else if (this.#isBlocked(record, chosen)) {
        // KO4
        const waiting = known.filter((message) => !chosen.messages.includes(message)).length + chosen.parked.length;
        if (waiting >= LIMITS.lookAheadMax) return chosen;
        chosen.parked.push(record.offset);
      } else {
        if (!take(record, chosen)) return chosen;
        chosen.firstFound ??= record.offset;
      }
    }
    chosen.frontier = this.#book.state.nextOffset;
    return chosen;
  }

  /** KO1: whether an earlier message of its key is neither ended nor given in the same reply. */
  #isBlocked({ message, offset }: ModelMessage, chosen: Chosen): boolean {
    const isEarlier = (other: ModelMessage): boolean => other.message.key === message.key && other.offset < offset;
    return message.key !== undefined && this.#book.messages.some((other) => isEarlier(other) && !chosen.messages.includes(other));
  }

  #pass(frontier: number, parked: readonly number[]): void {
    this.#book.note({ frontier });
    for (const offset of parked) this.#book.park(offset);
  }

  #back(message: ModelMessage, change: Partial<ModelMessage>): void {
    const anew = { lease: undefined, dueAtMs: 0, dueFromMs: undefined, isQuarantined: false } as const;
    this.#book.update(message.offset, { state: "back", ...anew, ...change });
  }

  /** KO2: an ack counts only when every earlier message of its key ended or ends in the same call. */
  #judgeOrder(live: readonly { entry: SettleEntry; message: ModelMessage }[], refusals: RefusedEntry[]): typeof live {
    const inOrder = [...live].sort((a, b) => a.message.offset - b.message.offset);
    const ending = new Set(
      inOrder.filter(({ entry }) => entry.verb === "ack" || entry.verb === "reject").map(({ message }) => message.offset),
    );
    return inOrder.filter(({ entry, message: { message, offset } }) => {
      if (entry.verb !== "ack" || message.key === undefined) return true;
      const open = this.#book.messages.find(
        (other) => other.message.key === message.key && other.offset < offset && !ending.has(other.offset),
      );
      if (open === undefined) return true;
      ending.delete(offset);
      refusals.push({ pointer: entry.pointer, refusal: { kind: "out-of-order", offset, openOffset: open.offset } });
      return false;
    });
  }

  #carryOut(judged: readonly { entry: SettleEntry; message: ModelMessage }[], nowMs: number): void {
    for (const { entry, message } of judged) {
      const { offset, attempts, lease } = message;
      if (entry.verb === "ack") this.#book.finish(offset, "acked", nowMs);
      if (entry.verb === "reject") this.bury(offset, { attempts, reason: entry.reason ?? "rejected", nowMs });
      if (entry.verb === "extend" && lease !== undefined)
        this.#book.update(offset, { lease: { ...lease, deadlineMs: nowMs + entry.leaseMs } });
    }
    for (const { entry, message } of judged.toReversed()) {
      const { offset, attempts } = message;
      if (entry.verb === "release") this.giveBack(offset, { end: "released", isCounted: false, nowMs });
      if (entry.verb === "retry") {
        const [from, to] = this.#pause(attempts, entry.delayMs);
        const due = to === 0 ? ([0, 0] as const) : ([nowMs + from, nowMs + to] as const);
        this.giveBack(offset, { end: "retried", isCounted: true, nowMs, due, reason: entry.reason });
      }
    }
  }

  /** RT1: the shortest and the longest pause. */
  #pause(attempt: number, delayMs: number | undefined): readonly [number, number] {
    const { retryDelaysMs } = this.#book.existing.settings.delivery;
    const given = delayMs ?? retryDelaysMs?.[attempt - 1] ?? retryDelaysMs?.at(-1);
    return given === undefined ? [1000, Math.min(300_000, 1000 * 2 ** attempt)] : [given, given];
  }
}

type GrantedWithoutIds = NonNullable<Extract<Outcome, { type: "got" }>["granted"]>;

/** Adds a message unless the reply has no room for it; the first always has. */
function take(message: ModelMessage, chosen: Chosen): boolean {
  const bytes = chosen.messages.reduce((total, one) => total + one.bytes, 0);
  chosen.isCut = chosen.messages.length > 0 && bytes + message.bytes > LIMITS.replyBytesMax;
  if (!chosen.isCut) chosen.messages.push(message);
  return !chosen.isCut;
}

function bytesOf(letters: readonly DeadLetter[]): number {
  return letters.reduce((total, { message }) => total + messageBytes(message), 0);
}
