// A channel of the harness with a relay before it, and readers of the relay: what goes between them is on its way until it is let through.
import { Relay } from "../../src/channel/relay/relay.ts";
import type { LinkAsk, LinkFrame } from "../../src/channel/relay/link-frames.ts";
import type { Delivered, Effect, StreamStart } from "../../src/channel/operation.ts";
import { selectionOf } from "../../src/channel/selection.ts";
import { isFollowing, type PlainReader } from "../../src/channel/subscription.ts";
import { Block } from "../../src/protocol/block.ts";
import type { ControlRecord, Message } from "../../src/protocol/message.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { parseResume, type MessageFilter } from "../../src/protocol/stream-frames.ts";
import { ChannelHarness } from "./channel-harness.ts";

/** What a reader was sent, checked as it comes. */
export class WorldReader {
  readonly connection: number;
  readonly filter: MessageFilter | undefined;
  readonly isTap: boolean;
  /** Offsets of messages and of control records, in their order. */
  readonly offsets: number[] = [];
  readonly controls: number[] = [];
  readonly gaps: (readonly [from: number, to: number])[] = [];
  /** Frames with messages. */
  frames = 0;
  credit = 0;
  #last = 0;
  /** Whether its last request to subscribe was answered. */
  isAnswered = false;
  begin: number | undefined;
  position: number | undefined;
  resume: string | undefined;
  endedBy: string | undefined;

  constructor(connection: number, { isTap, filter }: { readonly isTap: boolean; readonly filter: MessageFilter | undefined }) {
    this.connection = connection;
    this.isTap = isTap;
    this.filter = filter;
  }

  /** A tap that comes back has no token. */
  beginAnew(): void {
    this.begin = undefined;
    this.offsets.length = this.controls.length = 0;
  }

  /** `stands`: where the relay has it when all of a turn is said; a tap is not told. */
  hear({ outcome }: Effect, stands: number | undefined): void {
    if (outcome.type === "subscribed" || outcome.type === "refused") this.isAnswered = true;
    if (outcome.type === "subscribed") {
      this.#moveTo(outcome.resume, stands);
      this.begin ??= this.position;
    } else if (outcome.type === "ended") this.endedBy = outcome.refusal?.kind ?? "asked for";
    else if (outcome.type === "refused") this.endedBy = outcome.refusal.kind;
    else if (outcome.type === "delivered") this.#take(outcome, stands);
  }

  #take({ messages, controls, gap, resume }: Delivered, stands: number | undefined): void {
    this.frames += 1;
    let from = (this.isTap ? this.#last + 1 : this.position) ?? Infinity;
    const end = this.#readPlace(resume, stands);
    if (gap !== undefined) {
      if (gap.fromOffset !== from) throw new Error(`A gap from ${gap.fromOffset} where ${from} was next`);
      this.gaps.push([gap.fromOffset, gap.toOffset]);
      from = gap.toOffset + 1;
    }
    this.credit -= messages.length;
    if (this.credit < 0) throw new Error("More messages than credit");
    const offsets = [...messages, ...controls].map(({ offset }: Message | ControlRecord) => offset).sort((a, b) => a - b);
    for (const offset of offsets) {
      if (offset < from || offset >= end) throw new Error(`Offset ${offset} in a frame from ${from} to ${end}`);
      from = offset + 1;
    }
    this.#last = from - 1;
    // What came in the same turn: it began before that.
    if (this.isTap) this.begin = Math.min(this.begin ?? 0, offsets[0] ?? Infinity);
    this.offsets.push(...messages.map(({ offset }) => offset));
    this.controls.push(...controls.map(({ offset }) => offset));
    this.#moveTo(resume, stands);
  }

  #moveTo(resume: string | undefined, stands: number | undefined): void {
    const position = this.#readPlace(resume, stands);
    if (position < (this.position ?? 0)) throw new Error(`A position that goes back: ${position}`);
    this.position = position;
    this.resume = resume;
  }

  #readPlace(resume: string | undefined, stands: number | undefined): number {
    const position = this.isTap ? (stands ?? this.position) : parseResume(resume ?? "")?.offset;
    if (position === undefined || this.isTap !== (resume === undefined)) throw new Error(`No place, or a tap's: ${resume}`);
    return position;
  }
}

export class RelayWorld {
  readonly channel: ChannelHarness;
  relay = new Relay([]);
  readonly readers: WorldReader[] = [];
  /** What is on its way to the channel, and from it. */
  readonly asks: LinkAsk[] = [];
  readonly frames: LinkFrame[] = [];
  /** Frames of messages that the channel sent. */
  sent = 0;
  /** What the sockets of readers carry. */
  readonly #attachments = new Map<number, readonly PlainReader[]>();
  #link: number | undefined;
  #direct: number | undefined;
  readonly #seen: number[] = [];
  #lastConnection = 0;

  constructor(settings: GivenSettings = {}) {
    this.channel = new ChannelHarness({ settings: { retention: "log", ...settings } });
    this.channel.isRelayAway = () => !this.#isSubscribed;
  }

  /** Whether the channel has a subscription of the relay. */
  get #isSubscribed(): boolean {
    return this.#link !== undefined && this.channel.channel.subscriptionsOf(this.#link).some(isFollowing);
  }

  /** Whether the channel is no log. */
  get isTapped(): boolean {
    return this.channel.channel.record?.settings.retention !== "log";
  }

  /** Subscribes a tap at the channel itself, and returns what tells the offsets of all that it was sent so far. */
  tapDirectly(): () => readonly number[] {
    const credit = { messages: 10_000, bytes: 10_000_000 };
    this.#direct = this.channel.connect();
    this.channel.apply({ type: "subscribe", credit, target: { type: "tap" } }, { connection: this.#direct, request: 1 });
    return () => this.#seen.toSorted((a, b) => a - b);
  }

  get isLinked(): boolean {
    return this.#link !== undefined;
  }

  get nowMs(): number {
    return this.channel.nowMs;
  }

  subscribe(from: StreamStart, { credit = 100, filter }: { credit?: number; filter?: MessageFilter } = {}): WorldReader {
    const reader = new WorldReader((this.#lastConnection += 1), { isTap: false, filter });
    this.readers.push(reader);
    this.#ask(reader, from, credit);
    return reader;
  }

  tap({ credit = 100, filter }: { credit?: number; filter?: MessageFilter } = {}): WorldReader {
    const reader = new WorldReader((this.#lastConnection += 1), { isTap: true, filter });
    this.readers.push(reader);
    this.#ask(reader, { at: "last" }, credit);
    return reader;
  }

  grant(reader: WorldReader, messages: number): void {
    reader.credit += messages;
    const operation = { type: "credit", request: 1, credit: { messages, bytes: 1_000_000 } } as const;
    this.relay.grant(operation, { connection: reader.connection, request: 1 });
    this.#settle();
  }

  /** The reader's connection breaks, and it comes back on another. */
  reconnect(reader: WorldReader, credit: number): void {
    this.relay.disconnect(reader.connection);
    this.#attachments.delete(reader.connection);
    const { resume } = reader;
    Object.assign(reader, { connection: (this.#lastConnection += 1), credit: 0 });
    if (reader.isTap) {
      reader.beginAnew();
      this.#ask(reader, { at: "last" }, credit);
    } else if (resume === undefined) this.#ask(reader, { at: "first" }, credit);
    else this.#ask(reader, { resume }, credit);
  }

  /** Puts, and does what the channel does for its relay: calls it where it is not subscribed. */
  put(work: () => unknown): void {
    work();
    this.#collect();
    if (!this.#isSubscribed) this.relay.wake();
    this.#settle();
  }

  /** Lets one thing through to the channel. */
  passAsk(): void {
    const ask = this.asks.shift();
    if (ask === undefined || this.#link === undefined) return;
    const origin = { connection: this.#link, request: ask.id };
    if (ask.type === "subscribe") {
      const { credit, from, tap = false } = ask;
      const target = { type: tap ? "tap" : "reader", from, isRelay: true } as const;
      this.#answer(ask.id, this.channel.apply({ type: "subscribe", credit, target }, origin));
    } else if (ask.type === "credit") {
      const { messages, bytes } = ask;
      this.#answer(ask.id, this.channel.apply({ type: "credit", request: ask.id, credit: { messages, bytes } }, origin));
    } else this.#answer(ask.id, this.channel.apply({ type: "unsubscribe", request: ask.id }, origin));
    this.#collect();
  }

  /** Lets one frame through to the relay. */
  passFrame(): void {
    const frame = this.frames.shift();
    if (frame === undefined) return;
    this.relay.receive(frame, this.nowMs);
    this.#settle();
  }

  /** The link breaks; what is on its way is lost. The channel calls its relay then. */
  cutLink(): void {
    if (this.#link === undefined) return;
    this.#closeLink();
    this.relay.linkDown();
    this.relay.wake();
    this.#settle();
  }

  /**
   * The relay ends: another one is built of what the sockets carry. It does not sleep while somebody waits for an answer: those were cut off,
   * and come back.
   */
  killRelay(): void {
    if (this.#link !== undefined) this.#closeLink();
    this.relay = new Relay([...this.#attachments.values()].flat());
    this.relay.wake();
    this.#settle();
    for (const reader of this.readers) if (!reader.isAnswered) this.reconnect(reader, reader.credit);
  }

  /** Time passes until the link is idle. */
  idle(ms: number): void {
    this.channel.tick(ms);
    this.#collect();
    this.relay.look(this.nowMs);
    this.#settle();
  }

  /** Lets everything through until nothing is on its way. */
  run(): void {
    for (let turns = 0; this.#isBusy; turns++) {
      if (turns > 10_000) throw new Error("It does not come to rest");
      this.passAsk();
      this.passFrame();
      this.turn();
    }
  }

  get #isBusy(): boolean {
    return this.asks.length + this.frames.length > 0 || this.relay.hasMore || this.channel.channel.hasMoreToDeliver;
  }

  /** A turn of the relay and one of the channel, where they have more to send. */
  turn(): void {
    if (this.channel.channel.hasMoreToDeliver) this.channel.tick();
    this.#collect();
    if (this.relay.hasMore) this.relay.serve();
    this.#settle();
  }

  #ask(reader: WorldReader, from: StreamStart, credit: number): void {
    const { connection, filter } = reader;
    Object.assign(reader, { credit, isAnswered: false });
    const wanted = filter !== undefined && { filter };
    const target = reader.isTap ? ({ type: "tap", ...wanted } as const) : ({ type: "reader", from, ...wanted } as const);
    const operation = { type: "subscribe", credit: { messages: credit, bytes: 1_000_000 }, target } as const;
    this.relay.subscribe(operation, { connection, request: 1 });
    this.#settle();
  }

  #closeLink(): void {
    if (this.#link !== undefined) this.channel.close(this.#link);
    this.#link = undefined;
    this.asks.length = 0;
    this.frames.length = 0;
  }

  #settle(): void {
    for (const connection of this.relay.takeChangedConnections())
      this.#attachments.set(connection, this.relay.subscriptionsOf(connection));
    for (const effect of this.relay.takeEffects()) {
      const reader = this.readers.find(({ connection }) => connection === effect.connection);
      reader?.hear(effect, this.relay.subscriptionsOf(effect.connection)[0]?.position);
    }
    this.asks.push(...this.relay.takeAsks());
    if (this.relay.isDoneWithLink) {
      this.#closeLink();
      this.relay.linkDown();
    }
    if (!this.relay.wantsLink) return;
    this.#link = this.channel.connect();
    this.relay.linkUp(this.nowMs);
    this.#settle();
  }

  /** What the channel has to say to its relay. */
  #collect(): void {
    for (const { connection, request, outcome } of this.channel.takeAnswers()) {
      if (connection === this.#link) this.#answer(request, outcome);
      if (connection === this.#direct && outcome.type === "delivered")
        this.#seen.push(...[...outcome.messages, ...outcome.controls].map(({ offset }) => offset));
    }
  }

  #answer(id: number, outcome: Effect["outcome"]): void {
    if (outcome.type === "subscribed") {
      const { life = "", offset = 0 } = parseResume(outcome.resume ?? "") ?? {};
      this.frames.push({ type: "subscribed", id, life, position: offset });
    } else if (outcome.type === "ended") this.frames.push({ type: "ended", id, refusal: outcome.refusal });
    else if (outcome.type === "refused") this.frames.push({ type: "refused", id, refusal: outcome.refusal });
    else if (outcome.type === "delivered") {
      this.sent += 1;
      const { controls, gap, bytes, resume } = outcome;
      const selection = selectionOf(outcome);
      const page = { blocks: selection.blocks.map(parseBlock), controls, gap, position: parseResume(resume ?? "")?.offset ?? 0 };
      this.frames.push({ type: "deliver", id, page, size: { messages: selection.count, bytes }, state: "{}" });
    }
  }
}

function parseBlock(bytes: Uint8Array): Block {
  const block = Block.parse(bytes);
  if (!block.ok) throw new Error(block.refusal.detail);
  return block.value;
}
