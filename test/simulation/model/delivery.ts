// Which messages are handed out, and what becomes of those that were: SPEC sections LS, KO, RT and TL, word by word.
import type { LeaseEnd } from "../../../src/channel/delivery-store.ts";
import type {
  GrantedLeases,
  LeaseTerms,
  Outcome,
  RefusedEntry,
  SettleEntry,
  SettleVerb,
} from "../../../src/channel/operation.ts";
import type { LeaseEntry } from "../../../src/protocol/lease-run.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { ControlRecord } from "../../../src/protocol/message.ts";
import { GroupBook, groupsOf } from "./group-book.ts";
import { addLetter } from "./letters.ts";
import { type Book, controlOf, invalid, messageOf, type ModelMember, type ModelMessage, refused, tooLarge } from "./state.ts";

interface Want {
  readonly min: number;
  readonly max: number;
  readonly nowMs: number;
  readonly lease: LeaseTerms | undefined;
  readonly connection: number | undefined;
  /** Default: those of a reply. */
  readonly bytesMax?: number;
  /** Whose the leases are; somebody new if absent. */
  readonly holder?: number;
}

interface Chosen {
  readonly messages: ModelMessage[];
  readonly controls: number[];
  readonly parked: number[];
  /** Met, and their time is over. */
  readonly expired: number[];
  isCut: boolean;
  frontier: number;
  firstFound: number | undefined;
}

/** A settle call that is judged and not carried out. */
interface Verdict {
  readonly judged: readonly Judged[];
  readonly refusals: readonly RefusedEntry[];
}

type Refused = Extract<Outcome, { type: "refused" }>;

/** A lease as it was made: of which life, group, message and pull. */
interface Issued {
  readonly life: string;
  readonly group: number;
  readonly offset: number;
  readonly holder: number;
  readonly attempt: number;
}

export class ModelDelivery {
  readonly #book: Book;
  /** By an id of the model's own. Never forgotten, as readers do not forget. */
  readonly #made = new Map<string, Issued>();
  /** By the id that readers were told; ids that nobody was told of do no harm. */
  readonly #issued = new Map<string, Issued>();
  #lastHolder = 0;

  constructor(book: Book) {
    this.#book = book;
  }

  /** The ids that a pull was answered with, for those that the model made; returns the number of their group. */
  issue(leaseIds: readonly string[], made: readonly string[]): number | undefined {
    for (const [index, leaseId] of leaseIds.entries()) {
      const issued = this.#made.get(made[index] ?? "");
      if (issued !== undefined) this.#issued.set(leaseId, issued);
    }
    return this.#made.get(made[0] ?? "")?.group;
  }

  /** The message that a lease was of, as its group sees it now. */
  findLeased(leaseId: string): ModelMessage | undefined {
    const issued = this.#issued.get(leaseId);
    return issued?.life === this.#book.state.record?.life ? issued && this.#findMessage(issued) : undefined;
  }

  /** The message that a member of a group holds by a lease. */
  findHeldBy(leaseId: string, { group, holder }: ModelMember): ModelMessage | undefined {
    const issued = this.#issued.get(leaseId);
    const message = issued?.group === group ? this.findLeased(leaseId) : undefined;
    return message?.lease?.holder === holder && message.attempts === issued?.attempt ? message : undefined;
  }

  /** Undefined when fewer than `min` can be had. */
  take(group: GroupBook, want: Want): Outcome | undefined {
    const { min, nowMs, lease } = want;
    // GP5
    if (group.state.isPaused) return min === 0 ? { type: "got", messages: [], controls: [] } : undefined;
    const inFlight = group.leased.length;
    const max = lease === undefined ? want.max : Math.min(want.max, group.settings.maxInFlight - inFlight);
    const quarantined = group.messages.filter((message) => message.isQuarantined).length;
    if (max < min || group.depth - inFlight - quarantined < min) return undefined;
    const chosen = this.#choose(group, { ...want, max });
    const taken = this.#takeChosen(group, chosen, want);
    for (const offset of chosen.expired) this.#expire(group, offset, nowMs);
    return taken;
  }

  #takeChosen(group: GroupBook, chosen: Chosen, want: Want): Outcome | undefined {
    const { min, nowMs, lease } = want;
    const count = chosen.messages.length;
    if (count < min) {
      const frontier = chosen.firstFound ?? chosen.frontier;
      const parked = chosen.parked.filter((offset) => offset < frontier);
      pass(group, frontier, parked);
      return chosen.isCut ? tooLarge("messages", min, count) : undefined;
    }
    pass(group, chosen.frontier, chosen.parked);
    const controls = group.state.records.filter(({ offset }) => chosen.controls.includes(offset)).flatMap(controlOf);
    const got = { type: "got", messages: chosen.messages.map(messageOf), controls } as const;
    group.passControls(chosen.controls, nowMs);
    this.#announce(group, controls, want.holder);
    if (lease === undefined) {
      for (const { offset } of chosen.messages) group.finish(offset, "acked", nowMs);
      return got;
    }
    return { ...got, granted: this.#grant(group, chosen.messages, { ...want, lease }) };
  }

  /** SB10: each member but the one that is handed messages with them. */
  #announce(group: GroupBook, controls: readonly ControlRecord[], holder: number | undefined): void {
    if (controls.length === 0) return;
    for (const one of this.#book.state.subscriptions) {
      const isTold = one.type === "member" && one.group === group.id && one.holder !== holder;
      if (isTold) this.#book.send(one, { type: "delivered", messages: [], controls, bytes: 0 });
    }
  }

  /** Ends the leases whose deadline is met (LS6), and first messages whose time is over (TL3). */
  advance(nowMs: number): void {
    for (const group of groupsOf(this.#book)) {
      const expired = group.leased.filter(({ lease }) => lease !== undefined && lease.deadlineMs <= nowMs);
      for (const message of expired.toReversed())
        this.giveBack(group, message.offset, { end: "expired", isCounted: true, nowMs });
      for (let count = 0; count < LIMITS.expiredPerSweepMax; count++) {
        // Whatever control records stand before it.
        const [first] = group.messages;
        if (first === undefined || (this.expiresAtMs(first) ?? Infinity) > nowMs) break;
        this.#expire(group, first.offset, nowMs);
      }
    }
  }

  /** When the time of a message is over (TL1); undefined for one that has none, or that stays nevertheless (TL2). */
  expiresAtMs({ putAtMs, message, state, isQuarantined }: ModelMessage): number | undefined {
    const ttlMs = message.ttlMs ?? this.#book.existing.settings.messageTtlMs;
    return ttlMs === null || state === "leased" || isQuarantined ? undefined : putAtMs + ttlMs;
  }

  /** LS9. */
  endLeasesOf(connection: number, isClean: boolean, nowMs: number): void {
    for (const group of groupsOf(this.#book)) {
      const held = group.leased.filter(({ lease }) => lease?.connection === connection);
      for (const { offset, lease } of held.toReversed()) {
        if (lease === undefined) continue;
        const deadlineMs = Math.min(lease.deadlineMs, nowMs + LIMITS.resumeGraceMs);
        if (isClean) this.giveBack(group, offset, { end: "disconnected", isCounted: false, nowMs });
        else group.update(offset, { lease: { ...lease, deadlineMs, connection: undefined } });
      }
    }
  }

  /** LS8 and KO3: leases of these connections were lost. What is left of them may come after one of its key that was. */
  doubt(group: GroupBook, connections: readonly number[], nowMs: number): void {
    group.doubt();
    for (const { offset, message, state } of group.messages) {
      const isKnownLater = (other: ModelMessage): boolean =>
        other.offset > offset && other.message.key === message.key && (other.state === "leased" || other.state === "back");
      if (state === "fresh" && message.key !== undefined && group.messages.some(isKnownLater))
        group.update(offset, { state: "back", end: "expired" });
    }
    for (const { offset, message, lease } of group.leased.toReversed()) {
      const isHeld = lease?.connection !== undefined && connections.includes(lease.connection);
      if (isHeld && message.key !== undefined) this.giveBack(group, offset, { end: "predecessor", isCounted: false, nowMs });
    }
  }

  giveBack(
    group: GroupBook,
    offset: number,
    how: { end: LeaseEnd; isCounted: boolean; nowMs: number; due?: readonly [number, number]; reason?: string | undefined },
  ): void {
    const message = group.find(offset);
    if (message?.state !== "leased") return;
    // KO3: later messages of its key lose their leases, not counted.
    for (const later of group.leased) {
      const isLater = message.message.key !== undefined && later.message.key === message.message.key && later.offset > offset;
      if (isLater) back(group, later, { end: "predecessor", attempts: later.attempts - 1 });
    }
    const attempts = message.attempts - (how.isCounted ? 0 : 1);
    const { maxAttempts, onExhausted } = group.settings;
    const isExhausted = how.isCounted && maxAttempts >= 0 && attempts >= maxAttempts;
    const [from, to] = how.due ?? [0, 0];
    const isQuarantined = isExhausted && onExhausted === "quarantine";
    back(group, message, { end: how.end, attempts, dueAtMs: to, dueFromMs: from === to ? undefined : from, isQuarantined });
    if (isExhausted && !isQuarantined) this.bury(group, offset, { attempts, reason: how.reason ?? how.end, nowMs: how.nowMs });
  }

  bury(group: GroupBook, offset: number, { attempts, reason, nowMs }: { attempts: number; reason: string; nowMs: number }): void {
    const message = group.find(offset);
    if (message === undefined) return;
    const { id: groupId, name } = group.state;
    group.finish(offset, "deadLettered", nowMs);
    const letter = {
      group: name,
      groupId,
      offset,
      message: messageOf(message),
      attempts,
      reason,
      diedAtMs: nowMs,
      history: undefined,
    };
    addLetter(this.#book, letter);
  }

  /** Somebody who may hold leases. */
  newHolder(): number {
    this.#lastHolder += 1;
    return this.#lastHolder;
  }

  /** SB11: what a holder has belongs to another connection. */
  takeOver(group: GroupBook, holder: number, connection: number): void {
    for (const { offset, lease } of group.leased) {
      if (lease?.holder !== holder) continue;
      group.update(offset, { lease: { ...lease, connection, deadlineMs: lease.wholeDeadlineMs } });
    }
  }

  /** SB8: what a holder has is released. */
  releaseOf(group: GroupBook, holder: number, nowMs: number, isKept = (_: ModelMessage): boolean => false): void {
    for (const message of group.leased.filter(({ lease }) => lease?.holder === holder).toReversed())
      if (!isKept(message)) this.giveBack(group, message.offset, { end: "released", isCounted: false, nowMs });
  }

  /** SB12: a lease that was not made in this life refuses the call. */
  findStrange(held: readonly LeaseEntry[]): Refused | undefined {
    const index = held.findIndex(({ leaseId }) => this.#issued.get(leaseId)?.life !== this.#book.existing.life);
    return index < 0 ? undefined : refused({ kind: "invalid-lease", pointer: `/held/${index}/leaseId` });
  }

  /** SB12: of what a holder has that is released which it does not name. */
  releaseUnknown(group: GroupBook, holder: number, held: readonly LeaseEntry[], nowMs: number): void {
    const named = held.flatMap(({ leaseId }) => this.#issued.get(leaseId) ?? []);
    this.releaseOf(group, holder, nowMs, ({ offset, attempts }) =>
      named.some((one) => one.holder === holder && one.group === group.id && one.offset === offset && one.attempt === attempts),
    );
  }

  /** Judges a call entry by entry; an id that is not ours, or that comes twice, refuses all of it. */
  judge(entries: readonly SettleEntry[]): Verdict | Refused {
    const seen = new Set<string>();
    const live: Judged[] = [];
    const refusals: RefusedEntry[] = [];
    for (const entry of entries) {
      const { leaseId, pointer } = entry;
      if (seen.has(leaseId)) return invalid(pointer);
      seen.add(leaseId);
      const issued = this.#issued.get(leaseId);
      if (issued?.life !== this.#book.existing.life) return refused({ kind: "invalid-lease", pointer });
      const { offset, holder, attempt } = issued;
      const message = this.#findMessage(issued);
      const group = new GroupBook(this.#book, issued.group);
      if (message?.lease?.holder === holder && message.attempts === attempt) live.push({ entry, message, group });
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

  #findMessage({ group, offset }: Issued): ModelMessage | undefined {
    return groupsOf(this.#book)
      .find(({ id }) => id === group)
      ?.find(offset);
  }

  /** TL4 */
  #expire(group: GroupBook, offset: number, nowMs: number): void {
    const attempts = group.find(offset)?.attempts ?? 0;
    if (this.#book.existing.settings.onExpired === "drop") group.finish(offset, "expired", nowMs);
    else this.bury(group, offset, { attempts, reason: "ttl", nowMs });
  }

  #grant(
    group: GroupBook,
    messages: readonly ModelMessage[],
    { lease, connection, nowMs, holder = this.newHolder() }: Want & { lease: LeaseTerms },
  ): GrantedLeases {
    const leaseUntilMs = nowMs + lease.leaseMs;
    const deadlines = { deadlineMs: leaseUntilMs, wholeDeadlineMs: leaseUntilMs };
    const held = { holder, leasedAtMs: nowMs, ...deadlines, connection: lease.isDetached ? undefined : connection };
    const leaseIds: string[] = [];
    for (const { offset, attempts } of messages) {
      group.update(offset, { state: "leased", attempts: attempts + 1, lease: held, end: undefined, dueFromMs: undefined });
      const attempt = attempts + 1;
      const leaseId = `${holder}/${group.id}/${offset}/${attempt}`;
      this.#made.set(leaseId, { life: this.#book.existing.life, group: group.id, offset, holder, attempt });
      leaseIds.push(leaseId);
    }
    return {
      leaseIds,
      session: `${group.id}/${holder}`,
      attempts: messages.map(({ attempts }) => attempts + 1),
      redelivered: messages.map(({ state, offset }) => state === "back" || offset < group.state.doubtBefore),
      leaseUntilMs,
    };
  }

  /** First what delivery has passed and may be had now, then what it has not looked at yet; each in the order of offsets. */
  #choose(group: GroupBook, { max, nowMs, bytesMax = LIMITS.replyBytesMax, holder }: Want): Chosen {
    const { records, frontier } = group.state;
    const chosen: Chosen = { messages: [], controls: [], parked: [], expired: [], isCut: false, frontier, firstFound: undefined };
    const isOver = (message: ModelMessage): boolean => (this.expiresAtMs(message) ?? Infinity) <= nowMs;
    const known = group.messages.filter(({ state }) => state === "parked" || state === "back");
    for (const message of known) {
      if (chosen.messages.length === max || chosen.isCut) break;
      const isDue = !message.isQuarantined && message.dueAtMs <= nowMs;
      if (!isDue || isBlocked(group, message, { chosen, holder })) continue;
      if (isOver(message)) chosen.expired.push(message.offset);
      else take(message, { chosen, bytesMax });
    }
    if (chosen.isCut) return chosen;
    chosen.frontier = Math.max(frontier, group.headOffset);
    for (const record of records.filter(({ offset }) => offset >= chosen.frontier)) {
      chosen.frontier = record.offset;
      const isFull = chosen.messages.length === max || chosen.isCut;
      if (isFull && chosen.messages.length === 0) return chosen;
      if (record.message === undefined) {
        chosen.firstFound ??= record.offset;
        chosen.controls.push(record.offset);
      } else if (record.state !== "fresh") continue;
      else if (isFull) return chosen;
      else if (isOver(record)) chosen.expired.push(record.offset);
      else if (isBlocked(group, record, { chosen, holder })) {
        // KO4
        const waiting = known.filter((message) => !chosen.messages.includes(message)).length + chosen.parked.length;
        if (waiting >= LIMITS.lookAheadMax) return chosen;
        chosen.parked.push(record.offset);
      } else {
        if (!take(record, { chosen, bytesMax })) return chosen;
        chosen.firstFound ??= record.offset;
      }
    }
    chosen.frontier = this.#book.state.nextOffset;
    return chosen;
  }

  /** KO2: an ack counts only when every earlier message of its key ended or ends in the same call. */
  #judgeOrder(live: readonly Judged[], refusals: RefusedEntry[]): readonly Judged[] {
    const inOrder = [...live].sort((a, b) => a.message.offset - b.message.offset);
    const ending = new Set(
      inOrder.filter(({ entry }) => entry.verb === "ack" || entry.verb === "reject").map(({ message }) => message),
    );
    return inOrder.filter(({ entry, group, message }) => {
      const { offset } = message;
      const { key } = message.message;
      if (entry.verb !== "ack" || key === undefined) return true;
      const open = group.messages.find((other) => other.message.key === key && other.offset < offset && !ending.has(other));
      if (open === undefined) return true;
      ending.delete(message);
      refusals.push({ pointer: entry.pointer, refusal: { kind: "out-of-order", offset, openOffset: open.offset } });
      return false;
    });
  }

  #carryOut(judged: readonly Judged[], nowMs: number): void {
    for (const { entry, message, group } of judged) {
      const { offset, attempts, lease } = message;
      if (entry.verb === "ack") group.finish(offset, "acked", nowMs);
      if (entry.verb === "reject") this.bury(group, offset, { attempts, reason: entry.reason ?? "rejected", nowMs });
      if (entry.verb === "extend" && lease !== undefined)
        group.update(offset, { lease: { ...lease, deadlineMs: nowMs + entry.leaseMs, wholeDeadlineMs: nowMs + entry.leaseMs } });
    }
    // One group after the other: which dead letters are dropped may depend on who comes first (DL2).
    const ids = [...new Set(judged.map(({ group }) => group.id))];
    const ofGroup = (id: number): Judged[] => judged.filter(({ group }) => group.id === id);
    for (const { entry, message, group } of ids.flatMap((id) => ofGroup(id).toReversed())) {
      const { offset, attempts } = message;
      if (entry.verb === "release") this.giveBack(group, offset, { end: "released", isCounted: false, nowMs });
      if (entry.verb === "retry") {
        const [from, to] = pauseOf(group, attempts, entry.delayMs);
        const due = to === 0 ? ([0, 0] as const) : ([nowMs + from, nowMs + to] as const);
        this.giveBack(group, offset, { end: "retried", isCounted: true, nowMs, due, reason: entry.reason });
      }
    }
  }
}

interface Judged {
  readonly entry: SettleEntry;
  readonly message: ModelMessage;
  readonly group: GroupBook;
}

/** KO1: whether an earlier message of its key is neither ended nor given in the same reply, nor held by whoever asks (SB3). */
function isBlocked(
  group: GroupBook,
  { message, offset }: ModelMessage,
  { chosen: { messages, expired }, holder }: { readonly chosen: Chosen; readonly holder: number | undefined },
): boolean {
  if (message.key === undefined) return false;
  const isOwn = (other: ModelMessage): boolean => other.lease !== undefined && other.lease.holder === holder;
  const isOpen = (other: ModelMessage): boolean => !messages.includes(other) && !expired.includes(other.offset) && !isOwn(other);
  return group.messages.some((other) => other.message.key === message.key && other.offset < offset && isOpen(other));
}

function pass(group: GroupBook, frontier: number, parked: readonly number[]): void {
  group.lookUpTo(frontier);
  for (const offset of parked) group.note(offset, { state: "parked" });
}

function back(group: GroupBook, message: ModelMessage, change: Partial<ModelMessage>): void {
  const anew = { lease: undefined, dueAtMs: 0, dueFromMs: undefined, isQuarantined: false } as const;
  group.update(message.offset, { state: "back", ...anew, ...change });
}

/** RT1: the shortest and the longest pause. */
function pauseOf(group: GroupBook, attempt: number, delayMs: number | undefined): readonly [number, number] {
  const { retryDelaysMs } = group.settings;
  const given = delayMs ?? retryDelaysMs?.[attempt - 1] ?? retryDelaysMs?.at(-1);
  return given === undefined ? [1000, Math.min(300_000, 1000 * 2 ** attempt)] : [given, given];
}

/** Adds a message unless the reply has no room for it; the first always has. */
function take(message: ModelMessage, { chosen, bytesMax }: { readonly chosen: Chosen; readonly bytesMax: number }): boolean {
  const bytes = chosen.messages.reduce((total, one) => total + one.bytes, 0);
  chosen.isCut = chosen.messages.length > 0 && bytes + message.bytes > bytesMax;
  if (!chosen.isCut) chosen.messages.push(message);
  return !chosen.isCut;
}
