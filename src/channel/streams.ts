// Streams: connections that are sent messages as they come, at the pace of the credit that they give. SPEC section SB.
import { assertNever } from "../base/assert.ts";
import { invalidRequest } from "../protocol/fault.ts";
import { LeaseSealer } from "../protocol/lease-id.ts";
import type { LeaseEntry } from "../protocol/lease-run.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { ControlRecord } from "../protocol/message.ts";
import type { Refusal } from "../protocol/problems.ts";
import { formatResume, parseResume } from "../protocol/stream-frames.ts";
import { capCredit, type Size } from "./admission.ts";
import type { Backlog } from "./backlog.ts";
import type { Group, Groups } from "./groups.ts";
import { refuseGet, refusePut } from "./life-cycle.ts";
import { findStart } from "./log-reading.ts";
import type { MemberRouting } from "./member-routing.ts";
import { findHeld, findSession } from "./member-session.ts";
import type {
  Delivered,
  Effect,
  MemberTarget,
  Moment,
  OperationOf,
  Origin,
  Outcome,
  StreamOperation,
  StreamStart,
} from "./operation.ts";
import { Selection, selectionOf, withMessages } from "./selection.ts";
import type { ChannelRecord } from "./store.ts";
import { describeLevel, isHighAfter } from "./pressure.ts";
import type { Presence } from "./presence.ts";
import { Subscriptions } from "./subscriptions.ts";
import { hasCredit, hasPace, placeOf, spend, type Member, type PlainReader, type Subscription } from "./subscription.ts";
import { drawHolder, takeMessages, tellLeases } from "./taking.ts";
import type { WaitLine } from "./wait-line.ts";
import { refused } from "./refused.ts";
import { PlainReaders } from "./plain-readers.ts";
import { frameOf } from "./shared-pages.ts";

const TOO_MANY_RETRY_AFTER_MS = 1000;

const NOBODY: ReadonlySet<string> = new Set();

interface StreamsParts {
  readonly backlog: Backlog;
  readonly groups: Groups;
  readonly line: WaitLine;
  /** All that counts for admission. */
  readonly held: () => Size;
  /** Whether a connection can still be told something. */
  readonly isConnected: (connection: number) => boolean;
  readonly routing: MemberRouting;
  readonly presence: Presence;
  readonly isRelayAway: () => boolean;
}

export class Streams {
  readonly #parts: StreamsParts;
  readonly #kept = new Subscriptions();
  /** The level that those who watch were told. */
  #isHigh = false;
  #effects: Effect[] = [];
  /** Whether credit and messages may be left that the last turn did not bring together. */
  #hasMore = false;
  readonly #readers: PlainReaders;
  /** When a message that waits for a member may go to another (rule RD3). */
  #nextRouteAtMs: number | undefined;

  /** `life`: of the channel; undefined where there is none. */
  constructor(parts: StreamsParts, subscriptions: Iterable<Subscription>, life: string | undefined) {
    this.#parts = parts;
    const { backlog, isRelayAway } = parts;
    const keep = (reader: PlainReader): void => this.#keep(reader);
    const send = (reader: PlainReader, delivered: Delivered): void => this.#send(reader, delivered);
    const end = (reader: PlainReader, refusal: Refusal): void => this.#end(reader, refusal);
    this.#readers = new PlainReaders({ backlog, kept: this.#kept, isRelayAway, keep, send, end }, life);
    for (const subscription of subscriptions) {
      this.#keep(subscription);
      if (subscription.type === "watch") this.#isHigh ||= subscription.isHigh;
    }
    if (this.#kept.presences > 0) parts.presence.begin(this.#kept);
    this.#kept.takeChangedConnections();
  }

  get counts(): { readonly members: number; readonly readers: number } {
    const { members, readers } = this.#kept;
    return { members, readers };
  }

  get isPresenceWatched(): boolean {
    return this.#kept.presences > 0;
  }

  get size(): number {
    const { members, readers, watches, presences } = this.#kept;
    return members + readers + watches + presences;
  }

  get hasMore(): boolean {
    return this.#hasMore;
  }

  /** When messages have to be routed though nothing happens; the object is awake then, so a timer serves. */
  get nextRouteAtMs(): number | undefined {
    return this.#nextRouteAtMs;
  }

  hasMembers(group: number): boolean {
    return this.#kept.members > 0 && this.#kept.all().some((one) => one.type === "member" && one.group === group);
  }

  find(origin: Origin): Subscription | undefined {
    return this.#kept.find(origin);
  }

  ofConnection(connection: number): readonly Subscription[] {
    return this.#kept.ofConnection(connection);
  }

  all(): Iterable<Subscription> {
    return this.#kept.all();
  }

  /** Whether a subscription ended since effects were taken last. */
  hasUntoldEnd({ connection, request }: Origin): boolean {
    return this.#effects.some((one) => one.connection === connection && one.request === request && one.outcome.type === "ended");
  }

  takeEffects(): readonly Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** Connections whose attachments have to be written. */
  get changedConnections(): ReadonlySet<number> {
    return this.#kept.changedConnections;
  }

  takeChangedConnections(): readonly number[] {
    this.#parts.presence.noteCommit(this.#kept);
    return this.#kept.takeChangedConnections();
  }

  decide(record: ChannelRecord, operation: StreamOperation, moment: Moment, origin: Origin | undefined): Outcome {
    // After a failed commit a frame may be decided again when its connection is gone: nobody would ever end what it subscribes to.
    if (origin === undefined || !this.#parts.isConnected(origin.connection))
      return refused(invalidRequest("", "Expected a WebSocket: only a connection can be sent messages"));
    switch (operation.type) {
      case "subscribe":
        return this.#subscribe(record, operation, moment, origin);
      case "credit":
        return this.#grant({ ...origin, request: operation.request }, operation.credit);
      case "unsubscribe":
        return this.#unsubscribe({ ...origin, request: operation.request }, moment.nowMs);
      case "watch":
        return this.#watch(record, origin);
      case "presence":
        return this.#watchPresence(record, origin);
      default:
        return assertNever(operation);
    }
  }

  /** Forgets the subscriptions of a connection that closed. */
  disconnect(connection: number): void {
    for (const subscription of this.ofConnection(connection)) this.#forget(subscription);
  }

  /** Ends the subscriptions of a group that is not there any more. */
  endGroup(group: number, refusal: Refusal): void {
    for (const subscription of this.#kept.all()) {
      if (subscription.type === "member" && subscription.group === group) this.#end(subscription, refusal);
    }
  }

  /** Ends those who can get nothing any more. Plain readers of a log that is closed are sent what is left. */
  endAll(refusal: Refusal): void {
    for (const subscription of this.#kept.all()) {
      const mayFinish = refusal.kind === "channel-closed" && subscription.type === "reader" && !subscription.isTap;
      if (!mayFinish) this.#end(subscription, refusal);
    }
    this.#readers.noteChange();
  }

  /** Ends all watches where no more can be put. */
  endWatches(refusal: Refusal): void {
    for (const subscription of this.#kept.all()) if (subscription.type === "watch") this.#end(subscription, refusal);
  }

  /** Tells who watches, where the commit changes the level (rule BP3). */
  #tellPressure(record: ChannelRecord): void {
    if (this.#kept.watches === 0) return;
    const held = this.#parts.held();
    const isHigh = isHighAfter(this.#isHigh, held, record);
    if (isHigh === this.#isHigh) return;
    this.#isHigh = isHigh;
    const outcome = describeLevel(isHigh, held, record);
    for (const one of this.#kept.all()) {
      if (one.type !== "watch") continue;
      this.#keep({ ...one, isHigh });
      this.#effects.push({ connection: one.connection, request: one.request, outcome });
    }
  }

  /** Gives the first members in their lines what there is, each one frame at most; false when none of them got anything. */
  serveMembers(record: ChannelRecord, moment: Moment, served: Set<string>): boolean {
    let isServed = false;
    for (const id of this.#parts.line.waitingGroups()) {
      const group = this.#parts.line.hasGet(id) ? undefined : this.#parts.groups.findById(id);
      if (group !== undefined && this.#parts.routing.isRouted(group))
        isServed = this.#serveRouted(record, group, moment, served) || isServed;
      else while (this.#serveFirst(record, id, moment, served)) isServed = true;
    }
    return isServed;
  }

  /** Sends the plain readers what came since their positions, each one frame at most, and tells who watches; to be called last. */
  endTurn(record: ChannelRecord): void {
    if (this.#readers.serve(record)) this.#hasMore = true;
    this.#tellPressure(record);
    this.#effects.push(...this.#parts.presence.look(this.#kept));
  }

  /** Tells the members of a group of control records that its delivery has passed, but for the holders that were handed messages with them. */
  announce(group: number, controls: readonly ControlRecord[], handedTo: ReadonlySet<string> = NOBODY): void {
    if (controls.length === 0 || this.#kept.members === 0) return;
    const delivered = withMessages(new Selection(), { type: "delivered", controls, bytes: 0 } as const);
    for (const one of this.#kept.all()) {
      if (one.type !== "member" || one.group !== group || handedTo.has(one.holder)) continue;
      this.#effects.push({ connection: one.connection, request: one.request, outcome: delivered });
    }
  }

  /** Asks a member for leases. It goes to the end of its line: what it releases is for the others (rule SB13). */
  askBack(member: Member, leases: readonly LeaseEntry[]): void {
    if (member.place !== undefined) {
      this.#parts.line.remove(member.place);
      this.#keep(this.#enter(member));
      // Who stood behind it may be served now: it can take what this one could not, or its time is over.
      this.#hasMore = true;
    }
    const { connection, request } = member;
    this.#effects.push({ connection, request, outcome: { type: "revoke", leases } });
  }

  /** To be called before the turn of a commit. */
  beginTurn(): void {
    this.#hasMore = false;
    this.#nextRouteAtMs = undefined;
  }

  #subscribe(record: ChannelRecord, operation: OperationOf<"subscribe">, moment: Moment, origin: Origin): Outcome {
    const inUse = this.#parts.line.find(origin.connection, origin.request);
    if (inUse !== undefined) return refused({ kind: "request-in-use", id: origin.request });
    const limit = this.#findLimit(origin.connection);
    if (limit !== undefined) {
      return refused({ kind: "too-many-subscriptions", limit, retryAfterMs: TOO_MANY_RETRY_AFTER_MS });
    }
    const { target } = operation;
    const base = { ...origin, credit: capCredit(operation.credit) };
    if (target.type === "member") return this.#subscribeMember(record, { ...target, ...base, type: "member" }, moment);
    const isTap = target.type === "tap";
    const { retention } = record.settings;
    if (isTap === (retention === "log")) {
      return refused({ kind: "wrong-retention", retention, needed: isTap ? ["queue", "interest"] : ["log"] });
    }
    const { from = { at: "last" } as const, filter, isRelay } = target;
    const position = this.#findPosition(record, from);
    if (typeof position !== "number") return refused(position);
    this.#keep({
      ...base,
      type: "reader",
      isTap,
      position,
      ...(filter !== undefined && { filter }),
      ...(isRelay && { isRelay }),
    });
    this.#readers.noteChange();
    return { type: "subscribed", ...((!isTap || isRelay) && { resume: formatResume(record.life, position) }) };
  }

  #subscribeMember(
    record: ChannelRecord,
    { group: name, resume, held, ...member }: Omit<Member, "group" | "holder" | "place"> & Omit<MemberTarget, "type">,
    moment: Moment,
  ): Outcome {
    if (record.state === "closed") return refused({ kind: "channel-closed" });
    const found = this.#parts.groups.find(name);
    if (!found.ok) return refused(found.refusal);
    const { id: group, delivery, settlement } = found.value;
    const sealer = LeaseSealer.of(record.leaseSecret);
    const holder = resume === undefined ? drawHolder(moment) : findSession(resume, { record, sealer, group });
    if (typeof holder !== "string") return refused(holder);
    const known = held && findHeld(held, sealer, { group, holder });
    if (known !== undefined && "kind" in known) return refused(known);
    if (resume !== undefined) {
      for (const one of this.#kept.all())
        if (one.type === "member" && one.holder === holder) this.#end(one, { kind: "taken-over" });
      delivery.takeOver(holder, member.connection);
      if (known !== undefined) settlement.releaseOf(member.connection, holder, moment.nowMs, known);
    }
    this.#keep(this.#enter({ ...member, group, holder, place: undefined }));
    return { type: "subscribed", resume: formatResume(record.life, sealer.formatSession({ group, holder })) };
  }

  /** Why a connection can have no more subscriptions: the limit that it meets. */
  #findLimit(connection: number): number | undefined {
    const { subscriptionsPerSocketMax, subscriptionsMax } = LIMITS;
    const ofConnection = this.ofConnection(connection).filter(hasPace).length;
    if (ofConnection >= subscriptionsPerSocketMax) return subscriptionsPerSocketMax;
    return this.#kept.members + this.#kept.readers >= subscriptionsMax ? subscriptionsMax : undefined;
  }

  #watch(record: ChannelRecord, origin: Origin): Outcome {
    const refusal = refusePut(record) ?? this.#refuseSecondUse(origin, "watch");
    if (refusal !== undefined) return refused(refusal);
    const held = this.#parts.held();
    // Between the marks it is what the others were told.
    if (this.#kept.watches === 0) this.#isHigh = isHighAfter(false, held, record);
    this.#keep({ ...origin, type: "watch", isHigh: this.#isHigh });
    return describeLevel(this.#isHigh, held, record);
  }

  #watchPresence(record: ChannelRecord, origin: Origin): Outcome {
    const refusal = refuseGet(record) ?? this.#refuseSecondUse(origin, "presence");
    return refusal === undefined ? this.#parts.presence.watch(origin, this.#kept) : refused(refusal);
  }

  /** A request that waits keeps its id, and a connection watches once. */
  #refuseSecondUse({ connection, request }: Origin, kind: "watch" | "presence"): Refusal | undefined {
    const isWaiting = this.#parts.line.find(connection, request) !== undefined;
    const watch = this.ofConnection(connection).find(({ type }) => type === kind);
    return isWaiting || watch !== undefined ? { kind: "request-in-use", id: watch?.request ?? request } : undefined;
  }

  #findPosition(record: ChannelRecord, from: StreamStart): number | Refusal {
    const { headOffset, nextOffset } = this.#parts.backlog;
    if (!("resume" in from)) {
      return findStart(this.#parts.backlog, from) ?? { kind: "seek-out-of-range", firstOffset: headOffset, nextOffset };
    }
    const place = parseResume(from.resume);
    if (place === undefined) return invalidRequest("/from/resume", "Expected what a subscription was told as `resume`");
    const isOurs = place.life === record.life && place.offset <= nextOffset;
    return isOurs ? place.offset : { kind: "resume-lost", resume: from.resume };
  }

  #grant(origin: Origin, { messages, bytes }: Size): Outcome {
    const subscription = this.find(origin);
    if (subscription === undefined || !hasPace(subscription))
      return refused({ kind: "unknown-subscription", id: origin.request });
    const { credit } = subscription;
    const granted = { ...subscription, credit: capCredit({ messages: credit.messages + messages, bytes: credit.bytes + bytes }) };
    // Who stands in a line keeps the place.
    this.#keep(granted.type === "member" && granted.place === undefined ? this.#enter(granted) : granted);
    if (granted.type === "reader") this.#readers.noteChange();
    return { type: "credited" };
  }

  #unsubscribe(origin: Origin, nowMs: number): Outcome {
    const subscription = this.find(origin);
    if (subscription === undefined) return refused({ kind: "unknown-subscription", id: origin.request });
    this.#forget(subscription);
    if (subscription.type === "member") {
      const { connection, holder } = subscription;
      this.#parts.groups.findById(subscription.group)?.settlement.releaseOf(connection, holder, nowMs);
    }
    return { type: "ended" };
  }

  #serveFirst(record: ChannelRecord, group: number, moment: Moment, served: Set<string>): boolean {
    const first = this.#parts.line.firstGet(group);
    if (first?.holder === undefined) return false;
    const member = this.find(first);
    if (member?.type !== "member" || !this.#parts.isConnected(first.connection)) {
      this.#parts.line.remove(first);
      return true;
    }
    // Each has one frame in a turn: the others of its group come first, and what is left follows with the next commit.
    if (served.has(first.holder)) return false;
    const delivered = this.#takeFor(record, member, moment);
    if (delivered === undefined) return false;
    served.add(first.holder);
    this.#send(member, delivered);
    this.#hasMore ||= this.#hasOpen(group);
    return true;
  }

  /** Sends the members of a group what is routed to each of them; false when nobody gets anything (SPEC section RD). */
  #serveRouted(record: ChannelRecord, group: Group, moment: Moment, served: Set<string>): boolean {
    if (group.isPaused) return false;
    const { nowMs } = moment;
    const { readers, frames, controls } = group.delivery.route(nowMs, this.#parts.routing.begin(group, moment, served));
    group.settlement.buryExhausted(nowMs);
    const { nextAtMs = Infinity } = readers;
    if (nextAtMs < (this.#nextRouteAtMs ?? Infinity)) this.#nextRouteAtMs = nextAtMs;
    this.#hasMore ||= readers.isCut;
    this.announce(group.id, controls, new Set(frames.map(({ member }) => member.holder)));
    for (const { member, selection, leases, redelivered } of frames) {
      served.add(member.holder);
      const granted = tellLeases(record, group, { leases, redelivered, leaseUntilMs: nowMs + member.leaseMs });
      const delivered = { type: "delivered", controls, bytes: selection.bytes, granted } as const;
      this.#send(member, withMessages(selection, delivered));
    }
    return frames.length > 0;
  }

  /** Whether a group has messages that nobody holds. */
  #hasOpen(id: number): boolean {
    const group = this.#parts.groups.findById(id);
    return group !== undefined && this.#parts.groups.depthOf(group) > group.delivery.leased;
  }

  #takeFor(record: ChannelRecord, member: Member, moment: Moment): Delivered | undefined {
    const group = this.#parts.groups.findById(member.group);
    if (group === undefined) return undefined;
    const { connection, credit, holder, leaseMs, reader } = member;
    const lease = { leaseMs, isDetached: false, ...(reader !== undefined && { reader }) };
    const request = { min: 1, ...frameOf(credit), lease, connection, holder, isAttached: true };
    const taken = takeMessages(group, { record, request, moment });
    if (taken?.type !== "got") return undefined;
    this.announce(group.id, taken.controls, new Set([holder]));
    const { controls, granted } = taken;
    const selection = selectionOf(taken);
    return withMessages(selection, { type: "delivered", controls, bytes: selection.bytes, ...(granted && { granted }) } as const);
  }

  #send(subscription: Member | PlainReader, delivered: Delivered): void {
    const { connection, request } = subscription;
    const sent = { ...subscription, credit: spend(subscription.credit, delivered) };
    if (sent.type === "member" && sent.place !== undefined) this.#parts.line.remove(sent.place);
    this.#keep(sent.type === "member" ? this.#enter(sent) : sent);
    this.#effects.push({ connection, request, outcome: delivered });
  }

  #end(subscription: Subscription, refusal: Refusal): void {
    this.#forget(subscription);
    const { connection, request } = subscription;
    this.#effects.push({ connection, request, outcome: { type: "ended", refusal } });
  }

  /** With credit a member stands in the line of its group, at the end. */
  #enter(member: Member): Member {
    if (!hasCredit(member)) return { ...member, place: undefined };
    return { ...member, place: this.#parts.line.addMember((ticket) => placeOf(member, ticket)) };
  }

  #keep(subscription: Subscription): void {
    this.#kept.set(subscription);
    if (subscription.type === "member") this.#parts.routing.keep(subscription);
  }

  #forget(subscription: Subscription): void {
    if (!this.#kept.delete(subscription) || subscription.type !== "member") return;
    this.#parts.routing.forget(subscription);
    if (subscription.place !== undefined) this.#parts.line.remove(subscription.place);
  }
}
