// A channel of the harness with a relay before it, and readers of the relay: what goes between them is on its way until it is let through.
import { Relay } from "../../src/channel/relay/relay.ts";
import type { LinkAsk, LinkFrame } from "../../src/channel/relay/link-frames.ts";
import type { Delivered, Effect, StreamStart } from "../../src/channel/operation.ts";
import { selectionOf } from "../../src/channel/selection.ts";
import type { PlainReader } from "../../src/channel/subscription.ts";
import { Block } from "../../src/protocol/block.ts";
import type { ControlRecord, Message } from "../../src/protocol/message.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { parseResume, type MessageFilter } from "../../src/protocol/stream-frames.ts";
import { ChannelHarness } from "./channel-harness.ts";

/** What a reader was sent, checked as it comes. */
export class WorldReader {
  readonly connection: number;
  readonly filter: MessageFilter | undefined;
  /** Offsets of messages and of control records, in their order. */
  readonly offsets: number[] = [];
  readonly controls: number[] = [];
  readonly gaps: (readonly [from: number, to: number])[] = [];
  credit = 0;
  /** Whether its last request to subscribe was answered. */
  isAnswered = false;
  begin: number | undefined;
  position: number | undefined;
  resume: string | undefined;
  endedBy: string | undefined;

  constructor(connection: number, filter: MessageFilter | undefined) {
    this.connection = connection;
    this.filter = filter;
  }

  hear({ outcome }: Effect): void {
    if (outcome.type === "subscribed" || outcome.type === "refused") this.isAnswered = true;
    if (outcome.type === "subscribed") {
      this.begin ??= parseResume(outcome.resume ?? "")?.offset;
      this.#moveTo(outcome.resume);
    } else if (outcome.type === "ended") this.endedBy = outcome.refusal?.kind ?? "asked for";
    else if (outcome.type === "refused") this.endedBy = outcome.refusal.kind;
    else if (outcome.type === "delivered") this.#take(outcome);
  }

  #take({ messages, controls, gap, resume }: Delivered): void {
    let from = this.position ?? Infinity;
    if (gap !== undefined) {
      if (gap.fromOffset !== from) throw new Error(`A gap from ${gap.fromOffset} where ${from} was next`);
      this.gaps.push([gap.fromOffset, gap.toOffset]);
      from = gap.toOffset + 1;
    }
    this.credit -= messages.length;
    if (this.credit < 0) throw new Error("More messages than credit");
    const offsets = [...messages, ...controls].map(({ offset }: Message | ControlRecord) => offset).sort((a, b) => a - b);
    const end = parseResume(resume ?? "")?.offset ?? 0;
    for (const offset of offsets) {
      if (offset < from || offset >= end) throw new Error(`Offset ${offset} in a frame from ${from} to ${end}`);
      from = offset + 1;
    }
    this.offsets.push(...messages.map(({ offset }) => offset));
    this.controls.push(...controls.map(({ offset }) => offset));
    this.#moveTo(resume);
  }

  #moveTo(resume: string | undefined): void {
    const position = parseResume(resume ?? "")?.offset;
    if (position === undefined || position < (this.position ?? 0)) throw new Error(`A position that goes back: ${resume}`);
    this.position = position;
    this.resume = resume;
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
  #lastConnection = 0;

  constructor(settings: GivenSettings = {}) {
    this.channel = new ChannelHarness({ settings: { retention: "log", ...settings } });
  }

  get isLinked(): boolean {
    return this.#link !== undefined;
  }

  get nowMs(): number {
    return this.channel.nowMs;
  }

  subscribe(from: StreamStart, { credit = 100, filter }: { credit?: number; filter?: MessageFilter } = {}): WorldReader {
    const reader = new WorldReader((this.#lastConnection += 1), filter);
    this.readers.push(reader);
    this.#ask(reader, from, credit);
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
    if (resume === undefined) this.#ask(reader, { at: "first" }, credit);
    else this.#ask(reader, { resume }, credit);
  }

  /** Puts, and does what the channel does for its relay: calls it where it is not subscribed. */
  put(work: () => unknown): void {
    work();
    this.#collect();
    if (this.#link === undefined || this.channel.channel.subscriptionsOf(this.#link).length === 0) this.relay.wake();
    this.#settle();
  }

  /** Lets one thing through to the channel. */
  passAsk(): void {
    const ask = this.asks.shift();
    if (ask === undefined || this.#link === undefined) return;
    const origin = { connection: this.#link, request: ask.id };
    if (ask.type === "subscribe") {
      const { credit, from } = ask;
      this.#answer(ask.id, this.channel.apply({ type: "subscribe", credit, target: { type: "reader", from } }, origin));
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
    const target = { type: "reader", from, ...(filter !== undefined && { filter }) } as const;
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
    for (const effect of this.relay.takeEffects())
      this.readers.find(({ connection }) => connection === effect.connection)?.hear(effect);
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
