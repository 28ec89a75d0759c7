// Drives a Channel over a MemoryStore as the object around it does: applies, commits, hands out answers, keeps the waiters of each
// connection, and can be evicted or fail to write at any commit. The clock is set by hand.
import { Channel } from "../../src/channel/channel.ts";
import type { CheckpointStore } from "../../src/channel/checkpoint-store.ts";
import type { ChannelFacts, Effect, Moment, Operation, Origin, Outcome } from "../../src/channel/operation.ts";
import type { Changes, ChannelStore, Position, Segment, StoredSegment } from "../../src/channel/store.ts";
import type { Subscription } from "../../src/channel/subscription.ts";
import type { Waiter } from "../../src/channel/wait-line.ts";
import { listSettleEntries, type SettleLists } from "../../src/channel/settle-entries.ts";
import type { PutConditions } from "../../src/protocol/dedup.ts";
import { decodeUtf8, encodeUtf8 } from "../../src/protocol/bytes.ts";
import type { Place } from "../../src/protocol/place.ts";
import type { PutMessage } from "../../src/protocol/message.ts";
import type { GroupDescription } from "../../src/protocol/description.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import type { MessageDelay } from "../../src/protocol/schedule.ts";
import type { ChannelPatch, GivenSettings } from "../../src/protocol/settings.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";

export const START_MS = 1_800_000_000_000;

/** A memory store that counts the rows of the backlog that are read, and can list its segments. */
export class CountingStore implements ChannelStore {
  readonly #store = new MemoryStore();
  readonly delivery = this.#store.delivery;
  readonly deadLetters = this.#store.deadLetters;
  readonly groups = this.#store.groups;
  readonly schedule = this.#store.schedule;
  readonly producers = this.#store.producers;
  readonly idempotency = this.#store.idempotency;
  readonly snapshots = this.#store.snapshots;
  rowsRead = 0;

  get checkpoints(): CheckpointStore {
    return this.#store.checkpoints;
  }

  readChannel(): ReturnType<ChannelStore["readChannel"]> {
    return this.#store.readChannel();
  }

  readPosition(): Position | undefined {
    this.rowsRead += 1;
    return this.#store.readPosition();
  }

  readLastSegment(): Segment | undefined {
    this.rowsRead += 1;
    return this.#store.readLastSegment();
  }

  readSegmentFrom(offset: number): StoredSegment | undefined {
    this.rowsRead += 1;
    return this.#store.readSegmentFrom(offset);
  }

  readSegmentUpTo(offset: number): StoredSegment | undefined {
    this.rowsRead += 1;
    return this.#store.readSegmentUpTo(offset);
  }

  readGoneFrom(offset: number, limit: number): readonly number[] {
    const offsets = this.#store.readGoneFrom(offset, limit);
    this.rowsRead += offsets.length;
    return offsets;
  }

  findMessageId(messageId: string, fromOffset: number): number | undefined {
    this.rowsRead += 1;
    return this.#store.findMessageId(messageId, fromOffset);
  }

  commit(changes: Changes): void {
    this.#store.commit(changes);
  }

  /** All stored segments, in order; not counted. */
  listSegments(): StoredSegment[] {
    const segments: StoredSegment[] = [];
    for (let from = this.#store.readSegmentFrom(0); from !== undefined;) {
      segments.push(from);
      from = this.#store.readSegmentFrom(from.firstOffset + from.count);
    }
    return segments;
  }
}

export interface HarnessOptions {
  readonly mayCreate?: boolean;
  /** Settings to create the channel with; without them it is not created. */
  readonly settings?: GivenSettings;
}

export interface PutOptions extends PutConditions {
  readonly waitMs?: number;
  readonly isPromised?: boolean;
  readonly origin?: Origin;
  /** Where the messages come from (protocol/source.ts). */
  readonly source?: string;
  /** Delays of the messages, by their places; the others enter at once. */
  readonly delays?: readonly (MessageDelay["delay"] | undefined)[];
}

export interface PullOptions extends GetOptions {
  readonly leaseMs?: number;
  readonly isDetached?: boolean;
}

export interface GetOptions {
  readonly max?: number;
  readonly min?: number;
  readonly waitMs?: number;
  readonly group?: string;
}

export class ChannelHarness {
  readonly store = new CountingStore();
  channel: Channel;
  nowMs = START_MS;
  mayCreate: boolean;
  /** Where the channel is; undefined where that is not known. */
  ownPlace: Place | undefined;
  /** Whether a relay is not subscribed that may have readers. */
  isRelayAway = (): boolean => false;
  /** What the last commit wrote. */
  changes: Changes | undefined;
  /** Where the clients of connections are. */
  readonly places = new Map<number, Place>();
  readonly #open = new Set<number>();
  /** What the sockets carry through an eviction. */
  readonly #attachments = new Map<number, readonly Waiter[]>();
  readonly #subscriptions = new Map<number, readonly Subscription[]>();
  readonly #leases = new Map<number, Uint8Array>();
  readonly #answers: Effect[] = [];
  #lastConnection = 0;
  #lives = 0;
  #isTogether = false;
  #seed = 1;

  constructor(options: HarnessOptions = {}) {
    this.mayCreate = options.mayCreate ?? false;
    this.channel = this.#build();
    if (options.settings !== undefined) this.apply({ type: "create", settings: options.settings });
  }

  get moment(): Moment {
    const life = `life-${this.#lives}`;
    return { nowMs: this.nowMs, drawLife: () => life, mayCreate: this.mayCreate, draw32: () => this.#draw() };
  }

  get waiters(): readonly Waiter[] {
    return [...this.#open].flatMap((connection) => this.#attachments.get(connection) ?? []);
  }

  apply(operation: Operation, origin?: Origin): Outcome {
    this.#lives += 1;
    const outcome = this.channel.apply(operation, this.moment, origin);
    this.#settle();
    return outcome;
  }

  /** Everything that `work` applies is one commit. */
  together<Value>(work: () => Value): Value {
    this.#isTogether = true;
    const value = work();
    this.#isTogether = false;
    this.commit();
    return value;
  }

  commit(): void {
    this.channel.deliver(this.moment);
    this.#answers.push(...this.channel.takeEffects());
    this.changes = this.channel.takeChanges(this.nowMs);
    // As the object does: the next deadline is looked for before anything is written.
    void this.channel.nextDueAtMs;
    if (this.changes !== undefined) this.store.commit(this.changes);
    if (this.channel.snapshots.isInstalled) this.evict();
    for (const connection of this.channel.takeChangedConnections()) {
      if (!this.#open.has(connection)) continue;
      this.#attachments.set(connection, this.channel.waitersOf(connection));
      this.#subscriptions.set(connection, this.channel.subscriptionsOf(connection));
      this.#leases.set(connection, this.channel.leasesOf(connection) ?? new Uint8Array());
    }
  }

  /** Applies what `work` says, then storage refuses the write: all of it is dropped. */
  failToCommit(work: () => void): void {
    this.#isTogether = true;
    work();
    this.#isTogether = false;
    this.channel.takeChanges(this.nowMs);
    this.#answers.length = 0;
    this.evict();
  }

  /** Forgets everything in memory and wakes from the store and the sockets, `without` one that has closed and is not heard of yet. */
  evict({ without }: { readonly without?: number } = {}): void {
    this.channel = this.#build(without);
  }

  /** The process ends and starts again: connections are gone, and their numbers begin anew. */
  crash(): void {
    for (const connection of this.#open) this.cut(connection);
    this.#lastConnection = 0;
    this.evict();
  }

  /** A second look at what is stored, beside the channel in use. */
  reopen(): Channel {
    return this.#build();
  }

  /** `place`: where its client is. */
  connect(place?: Place): number {
    this.#lastConnection += 1;
    this.#open.add(this.#lastConnection);
    if (place !== undefined) this.places.set(this.#lastConnection, place);
    return this.#lastConnection;
  }

  /** The socket closes; the channel has not heard of it yet. */
  cut(connection: number): void {
    this.#open.delete(connection);
    this.#attachments.delete(connection);
    this.#subscriptions.delete(connection);
    this.#leases.delete(connection);
  }

  close(connection: number, isClean = true): void {
    this.cut(connection);
    this.channel.disconnect(connection, this.moment, isClean);
    this.#settle();
  }

  tick(afterMs = 0): void {
    this.nowMs += afterMs;
    this.channel.tick(this.moment);
    this.#settle();
  }

  /** The answers to requests that waited, since the last call. */
  takeAnswers(): Effect[] {
    return this.#answers.splice(0);
  }

  put(texts: readonly string[], more: PutOptions = {}): Outcome {
    return this.putMessages(texts.map(textMessage), more);
  }

  putMessages(messages: readonly PutMessage[], { origin, delays = [], ...more }: PutOptions = {}): Outcome {
    const given = delays.flatMap((delay, index) => (delay === undefined ? [] : [{ index, pointer: `/${index}`, delay }]));
    return this.apply({ type: "put", messages, ...(given.length > 0 && { delays: given }), ...more }, origin);
  }

  /** Puts one message that enters `afterMs` later, and returns its `scheduledId`. */
  schedule(text: string, afterMs: number): string {
    const { scheduled } = expectType(this.put([text], { delays: [{ afterMs }] }), "put");
    return scheduled?.[0]?.scheduledId ?? "";
  }

  listScheduled(limit = 1000, after?: string): Extract<Outcome, { type: "scheduled-page" }> {
    const page = this.apply({ type: "list-scheduled", limit, ...(after !== undefined && { after }) });
    return expectType(page, "scheduled-page");
  }

  /** The texts of all messages that are scheduled. */
  scheduledTexts(): string[] {
    return this.listScheduled().messages.map((message) => decodeUtf8(message.body) ?? "");
  }

  cancelScheduled(scheduledId: string): Outcome {
    return this.apply({ type: "cancel-scheduled", scheduledId });
  }

  get(options: GetOptions = {}, origin?: Origin): Outcome {
    return this.apply({ type: "get", ...options }, origin);
  }

  /** Leases messages, for 30 s unless told otherwise. */
  pull({ leaseMs = 30_000, isDetached = true, ...options }: PullOptions = {}, origin?: Origin): Outcome {
    return this.apply({ type: "get", ...options, lease: { leaseMs, isDetached } }, origin);
  }

  settle(lists: SettleLists): Outcome {
    return this.apply({ type: "settle", entries: listSettleEntries(lists) });
  }

  /** Takes up to `max` messages and returns their texts. */
  getTexts(max = 1): string[] {
    return textsOf(this.get({ max }));
  }

  reserve(messages: number, bytes: number, origin: Origin, waitMs = 0): Outcome {
    return this.apply({ type: "reserve", messages, bytes, waitMs }, origin);
  }

  patch(patch: ChannelPatch): Outcome {
    return this.apply({ type: "patch", patch });
  }

  delete(graceMs = 0): Outcome {
    return this.apply({ type: "delete", graceMs });
  }

  browse(fromOffset = 1, limit = 1000): Extract<Outcome, { type: "page" }> {
    return expectType(this.apply({ type: "browse", fromOffset, limit }), "page");
  }

  /** The texts of all messages that are kept. */
  browseTexts(): string[] {
    return textsOf(this.browse());
  }

  describe(): ChannelFacts {
    return expectType(this.apply({ type: "describe" }), "described").facts;
  }

  /** Numbers that look random and are the same in each run (mulberry32). */
  #draw(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  #build(without?: number): Channel {
    return new Channel({
      name: "orders",
      store: this.store,
      waiters: this.waiters,
      subscriptions: [...this.#open].flatMap((connection) => this.#subscriptions.get(connection) ?? []),
      leases: [...this.#leases].flatMap(([connection, bytes]) => (connection === without ? [] : [{ connection, bytes }])),
      measureLeaseRoom: ({ waiters }) => LIMITS.attachedLeasesBytesMax - 100 * waiters.length,
      isConnected: (connection) => connection !== without && this.#open.has(connection),
      ownPlace: () => this.ownPlace,
      isRelayAway: () => this.isRelayAway(),
      placeOf: (connection) => this.places.get(connection),
    });
  }

  #settle(): void {
    this.#answers.push(...this.channel.takeEffects());
    if (!this.#isTogether) this.commit();
  }
}

export function textMessage(text: string): PutMessage {
  return { body: encodeUtf8(text), presentation: "text", contentType: "text/plain; charset=utf-8" };
}

/** A message with an id and this many bytes of body. */
export function sizedMessage(bytes: number, more: Partial<PutMessage> = {}): PutMessage {
  return { body: new Uint8Array(bytes), presentation: "bytes", contentType: "application/octet-stream", ...more };
}

export function expectType<Type extends Outcome["type"]>(outcome: Outcome, type: Type): Extract<Outcome, { type: Type }> {
  if (outcome.type !== type) throw new Error(`Expected the outcome ${type} but got ${JSON.stringify(outcome)}`);
  return outcome as Extract<Outcome, { type: Type }>;
}

export function describeGroup(channel: ChannelHarness, group: string): GroupDescription {
  return expectType(channel.apply({ type: "describe-group", group }), "group").description;
}

/** The texts of the messages that an outcome carries. */
export function textsOf(outcome: Outcome): string[] {
  if (outcome.type !== "got" && outcome.type !== "page") throw new Error(`Expected messages but got ${JSON.stringify(outcome)}`);
  return outcome.messages.map((message) => decodeUtf8(message.body) ?? "");
}

export function refusalOf(outcome: Outcome | undefined): Refusal {
  if (outcome?.type !== "refused") throw new Error(`Expected a refusal but got ${JSON.stringify(outcome)}`);
  return outcome.refusal;
}

export function kindOf(outcome: Outcome | undefined): string {
  return outcome?.type === "refused" ? outcome.refusal.kind : (outcome?.type ?? "none");
}
