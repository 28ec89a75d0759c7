// Delivery: which messages are handed out, to whom, and what becomes of them (SPEC sections LS, KO and RT).
// Knows leases, keys and retries; the order of records is the log's, limits and waiting are the traffic's.
import { MinHeap } from "../base/min-heap.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { LeaseLossCause } from "../protocol/problems.ts";
import type { DeliverySettings } from "../protocol/settings.ts";
import type { Backlog } from "./backlog.ts";
import type { GroupLog } from "./group-log.ts";
import { endAttempt } from "./attempt-history.ts";
import { Choice, type ParkedPlace, type Recipients } from "./choice.ts";
import type { Exhausted, ExpirySettings, GivenBack, Routed, Taken, TakeRequest } from "./delivery-terms.ts";
import type { DeliveryOptions } from "./delivery-options.ts";
import { DeferredBook } from "./deferred-book.ts";
import type { AttachedLeases, CarriedFrame, LeaseFrame } from "./attached-leases.ts";
import { endOf, type Deferred, type GroupDeliveryChanges, type Lease } from "./delivery-store.ts";
import { KeyLines } from "./key-lines.ts";
import { LeaseBook } from "./lease-book.ts";
import { LoadWatch } from "./load-watch.ts";
import { type GivenLeases, LeaseGiver } from "./lease-giver.ts";
import { LeaseMark } from "./lease-mark.ts";
import { findBeforeKnown } from "./lost-leases.ts";
import { OneReader } from "./one-reader.ts";
import type { RoutedReaders } from "./routed-readers.ts";
import { takeFromHead } from "./taking-head.ts";
import { endOffset, type Run } from "./run.ts";
import type { Fate } from "./fates.ts";

const NO_HOLDER = "";
const NO_LEASES: GivenLeases = { leases: [], redelivered: [] };

export class Delivery {
  readonly #log: GroupLog;
  /** The log itself, where this is its only group and may take whole stretches from it. */
  readonly #backlog: Backlog | undefined;
  readonly #settings: () => DeliverySettings;
  readonly #expiry: () => ExpirySettings;
  readonly #attached: AttachedLeases;
  /** What changes of its readers' loads. */
  readonly loads = new LoadWatch();
  readonly #leases: LeaseBook;
  readonly #mark: LeaseMark;
  readonly #deferred: DeferredBook;
  readonly #keys = new KeyLines();
  readonly #giver: LeaseGiver;
  readonly #ready = new MinHeap<number>((a, b) => a < b);
  /** Where the scan for messages that were never handed out goes on. */
  #scanned: number;
  /** The group has done with every message before this offset; control records may be left. */
  #firstAtLeast = 0;
  #isCleared = false;
  #exhausted: Exhausted[] = [];

  /** All leases and deferred messages are in memory: their number is bounded, whatever the backlog (SPEC RC1). */
  constructor(options: DeliveryOptions) {
    const { log, stored } = options;
    this.#log = log;
    this.#backlog = options.backlog;
    this.#settings = options.settings;
    this.#expiry = options.expiry;
    this.#deferred = new DeferredBook(log.scanMark);
    this.#scanned = Math.max(log.scanMark, log.headOffset);
    this.#attached = options.attached;
    this.#leases = new LeaseBook(options, this.loads);
    this.#mark = new LeaseMark(stored.mark);
    this.#giver = new LeaseGiver({ leases: this.#leases, mark: this.#mark, deferred: this.#deferred, keys: this.#keys });
    const isOpen = (offset: number): boolean => offset >= log.headOffset;
    for (const lease of this.#leases.restore(stored.leases, isOpen)) this.#holdKey(lease);
    for (const { key, offset } of this.#deferred.restore(stored.deferred, isOpen)) {
      if (key !== undefined) this.#keys.defer(key, offset);
    }
    for (const frame of options.carried) this.#adopt(frame);
    for (const message of this.#deferred.all()) this.#offer(message);
  }

  /** As they are now: the group's own, or those of its channel. */
  get settings(): DeliverySettings {
    return this.#settings();
  }

  get leased(): number {
    return this.#leases.size;
  }

  get quarantined(): number {
    return this.#deferred.quarantined;
  }

  /** Messages that wait for a delay to end. */
  countRetrying(nowMs: number): number {
    let retrying = 0;
    for (const { dueAtMs, isQuarantined } of this.#deferred.all()) if (dueAtMs > nowMs && !isQuarantined) retrying += 1;
    return retrying;
  }

  /** Whether so many messages came back or wait for their keys that the scan goes no further. */
  get isLookAheadExhausted(): boolean {
    return this.#deferred.size >= LIMITS.lookAheadMax;
  }

  /** When the next lease ends or the next delay is over. */
  get nextDueAtMs(): number | undefined {
    const times = [this.#leases.firstDeadlineMs, this.#deferred.firstDueAtMs].filter((atMs) => atMs !== undefined);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Ends the leases whose time is over, and offers what has waited long enough. */
  advance(nowMs: number): void {
    for (const lease of this.#leases.takeExpired(nowMs)) {
      // An earlier message of its key may have ended it just now.
      if (this.#leases.find(lease.offset) !== lease) continue;
      this.loads.noteExpired(lease.holder);
      this.giveBack(lease, { end: "expired", endedAtMs: endOf(lease), isCounted: true, dueAtMs: 0 });
    }
    for (const message of this.#deferred.takeDue(nowMs)) this.#offer(message);
  }

  /** The first message that the group has not done with; undefined where none is left. */
  get firstOffset(): number | undefined {
    return this.#findFirst() && this.#firstAtLeast;
  }

  /** When that message expires; undefined where it does not, is leased or quarantined. */
  get firstExpiresAtMs(): number | undefined {
    const found = this.#mayExpire ? this.#findFirst() : undefined;
    if (found === undefined) return undefined;
    const offset = this.#firstAtLeast;
    const isHeld = this.#leases.find(offset) !== undefined || this.#deferred.find(offset)?.isQuarantined === true;
    return isHeld ? undefined : this.#expiryOf(found.run, found.place);
  }

  /** Ends the first message if its time is over, also where nobody takes anything (rule TL3); false when it is not. */
  expireFirst(nowMs: number): boolean {
    const isOver = (this.firstExpiresAtMs ?? Infinity) <= nowMs;
    if (isOver) this.#expire(this.#firstAtLeast);
    return isOver;
  }

  /** Hands out `min` to `max` messages, or none. */
  take(request: TakeRequest): Taken {
    const { lease, bytesMax, nowMs } = request;
    const room = lease === undefined ? request.max : this.#settings().maxInFlight - this.#leases.size;
    const max = Math.min(request.max, room);
    if (max < request.min || this.#countAvailableAtMost() < request.min) return { type: "too-few" };
    const isNothingOpen = this.#leases.size === 0 && this.#deferred.size === 0 && this.#cursor === this.#log.headOffset;
    const isPlain = lease === undefined && isNothingOpen && !this.#mayExpire;
    if (isPlain && this.#backlog !== undefined) return takeFromHead(this.#backlog, { min: request.min, max, bytesMax });
    const holder = lease?.holder ?? NO_HOLDER;
    const reader = new OneReader(this.#keys, { holder, max, bytesMax });
    const choice = this.#choose(reader, nowMs);
    const { selection } = reader;
    const { count } = selection;
    if (count < request.min) {
      this.#abandon(choice);
      return reader.isCutByBytes ? { type: "too-large", count } : { type: "too-few" };
    }
    this.#park(choice);
    const given = lease === undefined ? NO_LEASES : this.#giver.give(selection, nowMs, lease);
    if (lease === undefined) this.finishAll(selection.offsets, "acked");
    this.#passChosen(choice);
    return { type: "taken", selection, controls: choice.controls, ...given };
  }

  /** Hands out what is routed to the members of the group, each what one frame takes (SPEC section RD). */
  route(nowMs: number, readersOf: (keys: KeyLines, room: number) => RoutedReaders): Routed {
    const readers = readersOf(this.#keys, this.#settings().maxInFlight - this.#leases.size);
    const nothing: Routed = { readers, frames: [], controls: [] };
    if (readers.isFull || this.#countAvailableAtMost() < 1) return nothing;
    const choice = this.#choose(readers, nowMs);
    if (readers.count === 0) {
      this.#abandon(choice);
      return nothing;
    }
    this.#park(choice);
    const frames = readers.frames.map(({ member, selection, routes }) => {
      const { holder, leaseMs, connection, reader } = member;
      const terms = { holder, leaseMs, connection, reader, isAttached: true };
      return { member, selection, ...this.#giver.give(selection, nowMs, terms, routes) };
    });
    this.#passChosen(choice);
    return { readers, frames, controls: choice.controls };
  }

  leases(): Iterable<Lease> {
    return this.#leases.all();
  }

  findLease(offset: number): Lease | undefined {
    return this.#leases.find(offset);
  }

  /** A message that the scan has passed and that is neither leased nor ended. */
  findDeferred(offset: number): Deferred | undefined {
    return this.#deferred.find(offset);
  }

  /** Leased messages of a key, in their order. */
  leasedOf(key: string): readonly number[] {
    return this.#keys.leasedOf(key);
  }

  /** Why there is no lease of the message at `offset`: how the last one ended, or "settled" when the message is not kept. */
  explainLost(offset: number): LeaseLossCause {
    if (this.#leases.find(offset) !== undefined) return "superseded";
    return this.#deferred.find(offset)?.end ?? (this.#log.isKept(offset) ? "expired" : "settled");
  }

  /** Connections that leases end with, or ended with unheard. */
  get connections(): readonly number[] {
    return [...this.#leases.connections, ...this.#mark.connections];
  }

  /** How many leases end with a connection. */
  countOf(connection: number): number {
    return this.#leases.countOf(connection);
  }

  /** How many leases end with each connection. */
  countByConnection(): Iterable<readonly [connection: number, leases: number]> {
    return this.#leases.countByConnection();
  }

  leasesOf(connection: number): Lease[] {
    return this.#leases.ofConnection(connection);
  }

  extend(offset: number, deadlineMs: number): void {
    this.#leases.extend(offset, deadlineMs);
  }

  /** From now on the lease ends with no connection, but at `graceUntilMs` if that is before its deadline. */
  detach(offset: number, graceUntilMs: number): void {
    this.#leases.detach(offset, graceUntilMs);
  }

  /** From now on the leases of a holder end with `connection`, wherever it was before. */
  takeOver(holder: string, connection: number): void {
    for (const { offset } of this.#leases.ofHolder(holder)) this.#leases.takeOver(offset, connection);
    if (this.#attached.framesOf(connection).length > 0) this.#mark.add(connection);
  }

  /** Notes that a connection has ended. Returns whether leases that lay with its socket may have been lost with it: nobody knows which. */
  forgetConnection(connection: number, { isLost }: { readonly isLost: boolean }): boolean {
    if (!this.#mark.remove(connection) || !isLost || this.#attached.isCarried(connection)) return false;
    const { headOffset, nextOffset } = this.#log;
    // What a stream was sent lies before the place at which the scan stood, and that at most so far behind what is stored of it.
    const scannedMax = Math.max(this.#deferred.scanMark, headOffset) + LIMITS.scanMarkLagMax;
    this.#mark.doubtBefore(Math.min(scannedMax, nextOffset));
    this.#deferLost();
    return true;
  }

  /** Stores leases that lie with their socket, which has no room for them. */
  store(frame: LeaseFrame): void {
    this.#leases.store(frame);
  }

  /** Stores all leases that lie with sockets. */
  storeAttached(): void {
    this.#leases.storeBefore(Infinity);
    this.#mark.removeAll();
  }

  /**
   * Ends a lease without ending its message. Later leases of its key end too, and are not counted (G5). With its last attempt counted,
   * the message is quarantined or left to `takeExhausted`, as the settings say.
   */
  giveBack(lease: Lease, how: GivenBack): void {
    const { key, offset } = lease;
    const { endedAtMs } = how;
    const later = key === undefined ? [] : this.#keys.leasedAfter(key, offset);
    for (const laterOffset of later.reverse()) {
      const laterLease = this.#leases.find(laterOffset);
      if (laterLease === undefined) continue;
      this.#defer(laterLease, { end: "predecessor", endedAtMs, attempts: laterLease.attempt - 1, dueAtMs: 0 });
    }
    const attempts = how.isCounted ? lease.attempt : lease.attempt - 1;
    const { maxAttempts, onExhausted } = this.#settings();
    const isExhausted = how.isCounted && maxAttempts >= 0 && attempts >= maxAttempts;
    this.#defer(lease, { ...how, attempts, isQuarantined: isExhausted && onExhausted === "quarantine" });
    if (isExhausted && onExhausted === "dead-letter") {
      this.#exhausted.push({ offset, attempts, reason: how.reason ?? how.end });
      return;
    }
    this.#offerFirstOf(key);
  }

  /** Ends all leases as if their time were over. */
  endLeases(endedAtMs: number): void {
    // The last first: each attempt counts, also those behind others of their key.
    for (const lease of [...this.#leases.all()].sort((a, b) => b.offset - a.offset)) {
      this.giveBack(lease, { end: "expired", endedAtMs, isCounted: true, dueAtMs: 0 });
    }
    this.#mark.removeAll();
  }

  /** Ends the message at `offset` in whatever state it is; false when none is kept there. */
  finish(offset: number, fate: Fate): boolean {
    return this.finishAll([offset], fate) > 0;
  }

  /** Ends the messages at these offsets, and returns how many of them were kept. */
  finishAll(offsets: readonly number[], fate: Fate): number {
    const finished = this.#log.finishAll(offsets, fate);
    for (const offset of finished) this.#forget(offset);
    return finished.length;
  }

  /** The quarantined messages that are meant, in the order of offsets. */
  findQuarantined({ offset, key }: { readonly offset?: number | undefined; readonly key?: string | undefined }): Deferred[] {
    const isMeant = (message: Deferred): boolean =>
      message.isQuarantined && message.offset === (offset ?? message.offset) && message.key === (key ?? message.key);
    return this.#deferred.quarantined === 0 ? [] : [...this.#deferred.all()].filter(isMeant).sort((a, b) => a.offset - b.offset);
  }

  /** Hands a quarantined message out again, its attempts counted anew. */
  releaseQuarantined(message: Deferred): void {
    const released: Deferred = { ...message, attempts: 0, dueAtMs: 0, isQuarantined: false };
    this.#deferred.set(released);
    this.#offer(released);
  }

  /** Messages that were handed out too often since the last call: the caller moves each to the dead letters. */
  takeExhausted(): readonly Exhausted[] {
    const exhausted = this.#exhausted;
    this.#exhausted = [];
    return exhausted;
  }

  /** Forgets the messages before `offset`: the log's head has passed them. */
  forgetBefore(offset: number): void {
    for (const open of [...this.#leases.offsets(), ...this.#deferred.offsets()]) if (open < offset) this.#forget(open);
  }

  /** Forgets everything, as when all messages are removed. */
  clear(): void {
    this.#leases.clear();
    this.#mark.clear();
    this.#deferred.clear();
    this.#keys.clear();
    this.#ready.clear();
    this.#exhausted = [];
    this.#scanned = 0;
    this.#firstAtLeast = 0;
    this.#isCleared = true;
  }

  /** Hands over what the commit has to write; has to be called before the backlog's. */
  takeChanges(): GroupDeliveryChanges | undefined {
    const { headOffset } = this.#log;
    this.#storeScanMark();
    const leases = this.#leases.takeChanges(headOffset);
    const deferred = this.#deferred.takeChanges(headOffset);
    const isCleared = this.#isCleared;
    this.#isCleared = false;
    const mark = this.#mark.takeChange(headOffset);
    const lists = [leases.write, leases.deleteSlots, deferred.write, deferred.deleteBuckets];
    if (!isCleared && mark === undefined && lists.every((list) => list.length === 0)) return undefined;
    return {
      isCleared,
      mark,
      writeLeases: leases.write,
      deleteLeaseSlots: leases.deleteSlots,
      writeDeferred: deferred.write,
      deleteDeferredBuckets: deferred.deleteBuckets,
    };
  }

  /**
   * Takes the leases that a socket carries; what ended before it could be told so is none of them. Where they counted as lost before, what has
   * a key is none of them either: earlier messages of it were given back (G5).
   */
  #adopt({ offsets, group: _, ...terms }: CarriedFrame): void {
    const isLate = !this.#mark.has(terms.connection);
    for (const offset of offsets) {
      const isKnown = this.#leases.find(offset) !== undefined || this.#deferred.find(offset) !== undefined;
      const run = isKnown || !this.#log.isKept(offset) ? undefined : this.#log.runFrom(offset);
      const key = run?.key(offset - run.firstOffset);
      if (run === undefined || (isLate && key !== undefined)) continue;
      const lease: Lease = { ...terms, offset, attempt: 1, key, history: undefined };
      this.#leases.attach([lease], terms.connection);
      this.#holdKey(lease);
    }
  }

  /** Leases were lost: what they may have been of is given back before later messages of its key. */
  #deferLost(): void {
    for (const { offset, key } of findBeforeKnown(this.#open, this.#cursor)) {
      this.#deferred.set({ offset, key, attempts: 0, dueAtMs: 0, end: "expired", isQuarantined: false, history: undefined });
      this.#keys.defer(key, offset);
      this.#offerFirstOf(key);
    }
  }

  #forget(offset: number): void {
    const key = this.#leases.find(offset)?.key ?? this.#deferred.find(offset)?.key;
    this.#leases.remove(offset);
    this.#deferred.remove(offset);
    if (key === undefined) return;
    this.#keys.finish(key, offset);
    this.#offerFirstOf(key);
  }

  /** Where the first message lies that the group has not done with. What was looked at before is not looked at again. */
  #findFirst(): { readonly run: Run; readonly place: number } | undefined {
    const log = this.#log;
    if (log.depth === 0) return undefined;
    let offset = Math.max(this.#firstAtLeast, log.headOffset);
    for (let run = log.runFrom(offset); run !== undefined; run = log.runFrom(offset)) {
      for (let place = Math.max(0, offset - run.firstOffset); place < run.count; place++) {
        if (log.isGone(run, place) || run.isControl(place)) continue;
        this.#firstAtLeast = run.firstOffset + place;
        return { run, place };
      }
      offset = endOffset(run);
    }
    return undefined;
  }

  get #mayExpire(): boolean {
    return this.#expiry().messageTtlMs !== null || this.#log.mayHoldTtl;
  }

  /** When the time of a message is over. */
  #expiryOf(run: Run, place: number): number | undefined {
    const { putAtMs, ttlMs = this.#expiry().messageTtlMs } = run.times(place);
    return ttlMs === null ? undefined : putAtMs + ttlMs;
  }

  #expire(offset: number): void {
    if (this.#expiry().onExpired === "drop") this.finish(offset, "expired");
    else this.#exhausted.push({ offset, attempts: this.#deferred.find(offset)?.attempts ?? 0, reason: "ttl" });
  }

  get #cursor(): number {
    return Math.max(this.#scanned, this.#log.headOffset);
  }

  get #open(): ConstructorParameters<typeof Choice>[0] {
    const [log, leases, deferred] = [this.#log, this.#leases, this.#deferred];
    return { log, leases, deferred, keys: this.#keys, ready: this.#ready };
  }

  #countAvailableAtMost(): number {
    return this.#log.depth - this.#leases.size - this.#deferred.quarantined;
  }

  #passChosen({ controls, expired }: Choice): void {
    for (const { offset } of controls) this.#log.passControl(offset);
    for (const offset of expired) this.#expire(offset);
  }

  #choose(recipients: Recipients, nowMs: number): Choice {
    const isExpired = (run: Run, place: number): boolean => (this.#expiryOf(run, place) ?? Infinity) <= nowMs;
    const terms = { cursor: this.#cursor, recipients, nowMs, isExpired: this.#mayExpire ? isExpired : undefined };
    return new Choice(this.#open, terms);
  }

  /** Nothing is handed out: what was found out stays. */
  #abandon(choice: Choice): void {
    this.#park(choice.abandon());
    for (const offset of choice.expired) this.#expire(offset);
  }

  #park({ cursor, parked }: { readonly cursor: number; readonly parked: readonly ParkedPlace[] }): void {
    this.#scanned = cursor;
    for (const { offset, key } of parked) {
      const parkedMessage = { offset, key, attempts: 0, dueAtMs: 0, end: undefined, isQuarantined: false, history: undefined };
      this.#deferred.set(parkedMessage);
      if (key !== undefined) this.#keys.defer(key, offset);
      // One that waits for a reader may be handed out at any time.
      this.#offer(parkedMessage);
    }
  }

  #holdKey({ key, offset, holder }: Lease): void {
    if (key !== undefined) this.#keys.lease(key, offset, holder);
  }

  #defer(
    lease: Lease,
    how: Omit<GivenBack, "isCounted"> & { readonly attempts: number; readonly isQuarantined?: boolean },
  ): void {
    const { offset, key } = lease;
    const { end, endedAtMs, attempts, dueAtMs, reason, isQuarantined = false } = how;
    this.#leases.remove(offset);
    const history = endAttempt(lease, { verdict: end, endedAtMs, reason });
    const message: Deferred = { offset, key, attempts, dueAtMs, end, isQuarantined, history };
    this.#deferred.set(message);
    if (key === undefined) this.#offer(message);
    else this.#keys.defer(key, offset);
  }

  /** Notes that a message may be handed out again; whether it may at that moment is looked at when it is chosen. */
  #offer({ offset, key }: Deferred): void {
    if (key === undefined || this.#keys.firstFree(key) === offset) this.#ready.push(offset);
  }

  #offerFirstOf(key: string | undefined): void {
    const first = key === undefined ? undefined : this.#keys.firstFree(key);
    if (first !== undefined) this.#ready.push(first);
  }

  /** While the head is stuck, what the scan passed is stored now and then, so that waking does not scan it again (rule RC1). */
  #storeScanMark(): void {
    const mark = Math.max(this.#deferred.scanMark, this.#log.headOffset);
    if (this.#cursor - mark <= LIMITS.scanMarkLagMax) return;
    // Not all the way: what was handed out lately is likely to be settled soon, and need not be stored.
    const moved = this.#cursor - Math.floor(LIMITS.scanMarkLagMax / 2);
    this.#deferred.moveScanMark(moved);
    this.#leases.storeBefore(moved);
    this.#log.scanMark = moved;
  }
}
