// Who is sent messages as they come, which ones and when: SPEC section SB, word by word.
import { assert } from "../../../src/base/assert.ts";
import type { Delivered, OperationOf, Origin, Outcome, StreamOperation, StreamStart } from "../../../src/channel/operation.ts";
import type { ChannelRecord } from "../../../src/channel/store.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { Refusal } from "../../../src/protocol/problems.ts";
import type { ModelDelivery } from "./delivery.ts";
import { GroupBook } from "./group-book.ts";
import { findGroup, type ModelGroups } from "./groups.ts";
import { findPage } from "./page.ts";
import {
  type Book,
  controlOf,
  invalid,
  type KeptMessage,
  messageOf,
  type ModelMember,
  type ModelReader,
  type ModelSubscription,
  type ModelWaiter,
  refused,
  type Size,
  sum,
} from "./state.ts";
import { linesAfter, type ModelTraffic } from "./traffic.ts";
import type { ModelWatches } from "./watches.ts";

/** Where a plain reader of the channel stands; undefined where it is not subscribed any more. */
export type FindPosition = (origin: Origin) => number | undefined;

/** Of a member: whose leases a token names. */
interface Session {
  readonly life: string;
  readonly group: number;
  readonly holder: number;
}

export class ModelStreams {
  /** By the token. Never forgotten, as readers do not forget. */
  readonly #sessions = new Map<string, Session>();
  readonly #book: Book;
  readonly #delivery: ModelDelivery;
  readonly #groups: ModelGroups;
  readonly #traffic: ModelTraffic;
  readonly #watches: ModelWatches;
  readonly #isConnected: (connection: number) => boolean;

  constructor(parts: {
    readonly book: Book;
    readonly delivery: ModelDelivery;
    readonly groups: ModelGroups;
    readonly traffic: ModelTraffic;
    readonly watches: ModelWatches;
    readonly isConnected: (connection: number) => boolean;
  }) {
    this.#book = parts.book;
    this.#delivery = parts.delivery;
    this.#groups = parts.groups;
    this.#traffic = parts.traffic;
    this.#watches = parts.watches;
    this.#isConnected = parts.isConnected;
  }

  decide(record: ChannelRecord, operation: StreamOperation, nowMs: number, origin: Origin | undefined): Outcome {
    if (origin === undefined || !this.#isConnected(origin.connection)) return invalid("");
    if (operation.type === "subscribe") return this.#subscribe(record, operation, origin, nowMs);
    if (operation.type === "watch") return this.#watches.begin(record, origin);
    assert(operation.type !== "presence", "the model knows no presence");
    const watch = this.#watches.find({ ...origin, request: operation.request });
    if (watch !== undefined && operation.type === "unsubscribe") {
      this.#watches.end(watch);
      return { type: "ended" };
    }
    const subscription = this.find({ ...origin, request: operation.request });
    if (subscription === undefined) return refused({ kind: "unknown-subscription", id: operation.request });
    return operation.type === "credit" ? this.#grant(subscription, operation.credit) : this.#unsubscribe(subscription, nowMs);
  }

  find(origin: Origin | undefined): ModelSubscription | undefined {
    return this.#book.state.subscriptions.find((one) => origin !== undefined && isSame(one, origin));
  }

  /** SB8: with its connection. */
  disconnect(connection: number): void {
    for (const one of this.#book.state.subscriptions) if (one.connection === connection) this.#forget(one);
  }

  /** SB8: with its group. */
  endGroup(group: number, refusal: Refusal): void {
    for (const one of this.#book.state.subscriptions) if (one.type === "member" && one.group === group) this.#end(one, refusal);
  }

  /** SB8: with the channel; plain readers of a log that was closed are sent what is left first. */
  endAll(refusal: Refusal): void {
    for (const one of this.#book.state.subscriptions) {
      const isSentTheRest = refusal.kind === "channel-closed" && one.type === "reader" && !one.isTap;
      if (!isSentTheRest) this.#end(one, refusal);
    }
  }

  /** SB3 and SB4: the first members in their lines have their turns, each of them one; false when nobody had any. */
  serveMembers(nowMs: number, served: Set<number>): boolean {
    let isServed = false;
    for (const group of this.#book.state.lines) while (this.#serveFirst(group, nowMs, served)) isServed = true;
    return isServed;
  }

  /** SB13: a member that is asked for leases goes to the end of its line. */
  moveBack(member: ModelMember): void {
    for (const place of this.#book.state.gets) if (isSame(place, member)) this.#traffic.forget(place);
    this.#takePlace(member);
  }

  /** SB4 to SB8: plain readers are sent what came, each one frame. */
  serveReaders(record: ChannelRecord, findPosition: FindPosition): void {
    for (const one of this.#book.state.subscriptions) {
      if (one.type !== "reader") continue;
      const isOwed = one.position < this.#book.state.nextOffset && hasCredit(one);
      const position = isOwed ? this.#sendPage(record, one, findPosition(one)) : one.position;
      if (record.state === "closed" && position >= this.#book.state.nextOffset) this.#end(one, { kind: "channel-closed" });
    }
  }

  #subscribe(record: ChannelRecord, { target, credit: given }: OperationOf<"subscribe">, origin: Origin, nowMs: number): Outcome {
    const { subscriptions } = this.#book.state;
    if (this.#book.waiters.some((waiter) => isSame(waiter, origin)))
      return refused({ kind: "request-in-use", id: origin.request });
    const ofConnection = subscriptions.filter(({ connection }) => connection === origin.connection).length;
    const isTooMany = ofConnection >= LIMITS.subscriptionsPerSocketMax;
    if (isTooMany || subscriptions.length >= LIMITS.subscriptionsMax) {
      const limit = isTooMany ? LIMITS.subscriptionsPerSocketMax : LIMITS.subscriptionsMax;
      return refused({ kind: "too-many-subscriptions", limit, retryAfterMs: 0 });
    }
    const base = { ...origin, credit: capCredit(given) };
    if (target.type === "member") {
      if (record.state === "closed") return refused({ kind: "channel-closed" });
      const group = findGroup(this.#book, target.group);
      if (!(group instanceof GroupBook)) return refused(group);
      const session = target.resume === undefined ? undefined : this.#findSession(record, target.resume, group.id);
      if (session !== undefined && "type" in session) return session;
      const { leaseMs, held } = target;
      const strange = held && this.#delivery.findStrange(held);
      if (strange !== undefined) return strange;
      const holder = session?.holder ?? this.#delivery.newHolder();
      if (session !== undefined) this.#takeOver(group, holder, origin.connection);
      if (held !== undefined) this.#delivery.releaseUnknown(group, holder, held, nowMs);
      this.#add({ ...base, type: "member", group: group.id, holder, leaseMs });
      return { type: "subscribed", resume: target.resume ?? this.#nameSession(record, { group: group.id, holder }) };
    }
    const isTap = target.type === "tap";
    const { retention } = record.settings;
    if (isTap === (retention === "log"))
      return refused({ kind: "wrong-retention", retention, needed: isTap ? ["queue", "interest"] : ["log"] });
    const position = this.#findPosition(record, target.type === "tap" ? { at: "last" } : target.from);
    if (typeof position !== "number") return position;
    this.#add({ ...base, type: "reader", isTap, position, filter: target.filter });
    return { type: "subscribed", ...(!isTap && { resume: resumeAt(record, position) }) };
  }

  /** What a member is told is the channel's choice, but for the life and that no two have the same. */
  #nameSession({ life }: ChannelRecord, { group, holder }: Pick<Session, "group" | "holder">): string {
    const { told } = this.#book;
    const resume = told?.type === "subscribed" ? (told.resume ?? "") : "";
    if (!resume.startsWith(`${life}.`) || this.#sessions.has(resume)) return "a token of this life that nobody has";
    this.#sessions.set(resume, { life, group, holder });
    return resume;
  }

  /** SB11 */
  #findSession({ life }: ChannelRecord, resume: string, group: number): Session | Outcome {
    const [ofLife, rest = ""] = resume.split(".");
    const session = this.#sessions.get(resume);
    if (!rest.includes("-")) return invalid("/resume");
    if (ofLife !== life) return refused({ kind: "resume-lost", resume });
    if (session === undefined) return invalid("/resume");
    return session.group === group ? session : refused({ kind: "resume-lost", resume });
  }

  #takeOver(group: GroupBook, holder: number, connection: number): void {
    for (const one of this.#book.state.subscriptions)
      if (one.type === "member" && one.holder === holder) this.#end(one, { kind: "taken-over" });
    this.#delivery.takeOver(group, holder, connection);
  }

  /** SB1 and SB7. */
  #findPosition(record: ChannelRecord, from: StreamStart): number | Outcome {
    if (!("resume" in from)) return this.#groups.resolve(from) ?? this.#groups.outOfRange();
    const [life, offset, ...rest] = from.resume.split(".");
    const place = Number(offset);
    if (life === "" || rest.length > 0 || !(place >= 1) || offset !== String(place)) return invalid("/from/resume");
    if (life !== record.life || place > this.#book.state.nextOffset) return refused({ kind: "resume-lost", resume: from.resume });
    return place;
  }

  #grant(subscription: ModelSubscription, { messages, bytes }: Size): Outcome {
    const { credit } = subscription;
    this.#keep({ ...subscription, credit: capCredit({ messages: credit.messages + messages, bytes: credit.bytes + bytes }) });
    return { type: "credited" };
  }

  /** SB8: what it holds is released. */
  #unsubscribe(subscription: ModelSubscription, nowMs: number): Outcome {
    this.#forget(subscription);
    if (subscription.type === "member")
      this.#delivery.releaseOf(new GroupBook(this.#book, subscription.group), subscription.holder, nowMs);
    return { type: "ended" };
  }

  #serveFirst(group: number, nowMs: number, served: Set<number>): boolean {
    const place = this.#book.state.gets.find((get) => get.group === group);
    const member = place?.isMember === true ? this.find(place) : undefined;
    if (place === undefined || member?.type !== "member") return false;
    if (!this.#isConnected(place.connection)) return this.#traffic.forget(place);
    if (served.has(member.holder)) return false;
    const { credit, connection, holder, leaseMs } = member;
    const want = { min: 1, ...frameOf(credit), nowMs, connection, holder, lease: { leaseMs, isDetached: false } };
    const taken = this.#delivery.take(new GroupBook(this.#book, group), want);
    if (taken?.type !== "got") return false;
    served.add(holder);
    this.#traffic.forget(place);
    this.#send(member, {
      ...taken,
      type: "delivered",
      bytes: sum(taken.messages.map((message) => this.#bytesAt(message.offset))),
    });
    return true;
  }

  /** Returns where the reader stands then. */
  #sendPage(record: ChannelRecord, reader: ModelReader, toldPosition: number | undefined): number {
    const { headOffset, state } = this.#book;
    const asked = { fromOffset: reader.position, ...frameOf(reader.credit), told: toldPosition };
    const isWantedHere = (message: KeptMessage): boolean => isWanted(reader, message);
    // SB2 and SB6
    const { messages, controls, next } = findPage(this.#book, { ...asked, isWanted: isWantedHere });
    const position = next ?? state.nextOffset;
    // Of what lies before the first record that is kept nobody can say any more whether it was given up or removed.
    const isGap = !reader.isTap && reader.position < headOffset;
    const moved: ModelReader = { ...reader, position };
    if (messages.length === 0 && controls.length === 0 && !isGap && next === undefined) {
      this.#keep(moved);
      return position;
    }
    this.#send(moved, {
      type: "delivered",
      messages: messages.map(messageOf),
      controls: controls.flatMap(controlOf),
      bytes: sum(messages.map(({ bytes }) => bytes)),
      ...(!reader.isTap && { resume: resumeAt(record, position) }),
      ...(isGap && { gap: { fromOffset: reader.position, toOffset: headOffset - 1 } }),
    });
    return position;
  }

  /** SB2: what is sent is taken off. */
  #send(subscription: ModelSubscription, delivered: Delivered): void {
    const { credit } = subscription;
    const { messages, bytes } = delivered;
    this.#keep({ ...subscription, credit: { messages: credit.messages - messages.length, bytes: credit.bytes - bytes } });
    this.#book.send(subscription, delivered);
  }

  #end(subscription: ModelSubscription, refusal: Refusal): void {
    this.#forget(subscription);
    this.#book.send(subscription, { type: "ended", refusal });
  }

  #add(subscription: ModelSubscription): void {
    this.#book.change({ subscriptions: [...this.#book.state.subscriptions, subscription] });
    this.#takePlace(subscription);
  }

  #keep(subscription: ModelSubscription): void {
    const { subscriptions } = this.#book.state;
    this.#book.change({ subscriptions: subscriptions.map((one) => (isSame(one, subscription) ? subscription : one)) });
    this.#takePlace(subscription);
  }

  #forget(subscription: ModelSubscription): void {
    const { gets, subscriptions } = this.#book.state;
    this.#book.change({ subscriptions: subscriptions.filter((one) => !isSame(one, subscription)) });
    for (const place of gets) if (place.isMember === true && isSame(place, subscription)) this.#traffic.forget(place);
  }

  /** SB3: with credit a member stands in the line of its group, at the end. Who stands there keeps the place. */
  #takePlace(subscription: ModelSubscription): void {
    const { gets, lines } = this.#book.state;
    if (subscription.type !== "member" || !hasCredit(subscription)) return;
    if (gets.some((get) => isSame(get, subscription))) return;
    const { connection, request, group } = subscription;
    const counts = { kind: "get", min: 1, max: 1, bytes: 0 } as const;
    const place: ModelWaiter = { connection, request, ...counts, deadlineMs: Infinity, group, isMember: true };
    this.#book.change({ gets: [...gets, place], lines: linesAfter(lines, [place]) });
  }

  #bytesAt(offset: number): number {
    return this.#book.find(offset)?.bytes ?? 0;
  }
}

function isSame(a: Origin, b: Origin): boolean {
  return a.connection === b.connection && a.request === b.request;
}

function hasCredit({ credit }: ModelSubscription): boolean {
  return credit.messages > 0 && credit.bytes > 0;
}

function capCredit({ messages, bytes }: Size): Size {
  return { messages: Math.min(messages, LIMITS.creditMessagesMax), bytes: Math.min(bytes, LIMITS.creditBytesMax) };
}

function frameOf({ messages, bytes }: Size): { max: number; bytesMax: number } {
  return { max: Math.min(messages, LIMITS.streamFrameMessagesMax), bytesMax: Math.min(bytes, LIMITS.replyBytesMax) };
}

function resumeAt({ life }: ChannelRecord, position: number): string {
  return `${life}.${position}`;
}

function isWanted({ filter }: ModelReader, { message: { key, headers } }: KeptMessage): boolean {
  const hasKey = filter?.keys === undefined || filter.keys.some((wanted) => wanted === key);
  return hasKey && Object.entries(filter?.headers ?? {}).every(([name, value]) => headers?.[name] === value);
}
