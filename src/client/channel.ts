// One channel, as programs use it.
import type { CheckpointEntry } from "../protocol/checkpoint.ts";
import type { ChannelDescription } from "../protocol/description.ts";
import type { MessageHistory } from "../protocol/history.ts";
import type { ControlRecord } from "../protocol/message.ts";
import type { PlacementGiven } from "../protocol/placement.ts";
import type { ReaderDescription } from "../protocol/reader-routes.ts";
import type { ChannelPatch, GivenSettings } from "../protocol/settings.ts";
import { getAcknowledged } from "./acknowledged-get.ts";
import { checkOptions, expectType, signalOf, type CallOptions } from "./call-options.ts";
import type { ChannelCalls } from "./channel-calls.ts";
import type { ListCheckpointsOptions } from "./checkpoint-options.ts";
import { Checkpoints, type Checkpoint } from "./checkpoints.ts";
import { consumeWith, MessageStream } from "./consume.ts";
import type { ConsumeBatchesOptions, ConsumeOptions, ConsumeWithOptions } from "./consume-options.ts";
import type { Consumed, Consumer } from "./consumer.ts";
import { DeadLetters, Quarantine } from "./dead-letters.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { Groups } from "./groups.ts";
import type { BatchHandler, MessageHandler } from "./handlers.ts";
import { LeasedMessage } from "./leased-message.ts";
import { parseMessage, type MessageJson, type PutGiven, type ReceivedMessage } from "./message-json.ts";
import { Presence } from "./presence.ts";
import type { PresenceOptions } from "./presence-options.ts";
import { Producer } from "./producer.ts";
import type { ProducerOptions } from "./producer-options.ts";
import type { Retries } from "./retries.ts";
import { ScheduledMessages } from "./scheduled-messages.ts";
import { Subscription, type SubscribeOptions } from "./subscription.ts";
import type {
  GetResult,
  PullOptions,
  PullResult,
  PutOptions,
  PutReceipt,
  SettleReport,
  SettleRequest,
  Transport,
} from "./transport.ts";

export interface GetMessageOptions extends Omit<PullOptions, "min" | "max"> {
  /**
   * `"client"`: messages are leased, and removed when they have arrived here: a reply that is lost loses nothing, and a message may come
   * twice. `"server"`: they are removed at once, in one round trip, and lost with a lost reply; `leaseMs`, `reader` and `detached` have no
   * meaning then. Default: `"client"`.
   */
  readonly ack?: "client" | "server" | undefined;
}

export interface GetBatchOptions extends GetMessageOptions {
  /** The fewest messages to take: with fewer, none is taken. Default: 1. */
  readonly min?: number | undefined;
  /** The most messages to take, at most 10,000. Default: 1, or `min`. */
  readonly max?: number | undefined;
}

export interface PulledMessages extends PullResult {
  readonly messages: readonly LeasedMessage[];
}

export interface BrowseOptions extends CallOptions {
  /** The offset to begin at. Default: the first that is kept. */
  readonly from?: number | undefined;
  /** Messages of one request, at most 1,000. Default: 100. */
  readonly pageSize?: number | undefined;
}

/** A part of the channel, as it lay when it was read. */
export interface BrowsedPage {
  readonly messages: readonly ReceivedMessage[];
  /** Records of the channel itself, such as a change of its limits. */
  readonly controls: readonly ControlRecord[];
  /** The offset to go on at; null at the end. A page may be empty before it. */
  readonly next: number | null;
}

export interface ListReadersOptions extends CallOptions {
  /** Only those of a colo, by its code, such as `FRA`. Default: all. */
  readonly colo?: string | undefined;
  /** Only those that read a group. Default: all, and who reads no group. */
  readonly group?: string | undefined;
  /** Default: both. */
  readonly role?: ReaderDescription["role"] | undefined;
  /** Entries of one request, at most 1,000. Default: 100. */
  readonly pageSize?: number | undefined;
}

export interface DeleteOptions extends CallOptions {
  /** How long readers may go on, in milliseconds, at most a day. Default: 5,000. */
  readonly graceMs?: number | undefined;
  /** Deletes at once, with what is left; not together with `graceMs`. Default: false. */
  readonly force?: boolean | undefined;
}

/** Either it is deleted, and so many messages with it, or it drains until then. */
export type DeleteReport =
  | { readonly state: "deleted"; readonly droppedMessages: number }
  | (ChannelDescription & { readonly state: "draining" });

/**
 * A channel by its name. Made by `EdgeChannel.channel`; nothing is sent before the first call. Every call rejects with an EdgeChannelError.
 *
 * Reads, and puts that carry a producer's number or an idempotency key, are repeated when they fail (`retries`); nothing else is.
 *
 * @example
 * const jobs = EdgeChannel.connect("http://127.0.0.1:8787").channel("jobs");
 * await jobs.put({ json: { job: 7 } });
 * const { body } = await jobs.get({ waitMs: 30_000 });
 */
export class Channel {
  readonly name: string;
  readonly groups: Groups;
  readonly deadLetters: DeadLetters;
  readonly quarantine: Quarantine;
  /** Delayed messages that have not entered yet. */
  readonly scheduled: ScheduledMessages;
  /** What carries puts, gets and settles. It repeats nothing. */
  readonly transport: Transport;
  readonly #calls: ChannelCalls;
  readonly #retries: Retries;
  readonly #checkpoints: Checkpoints;

  constructor(name: string, transport: Transport, calls: ChannelCalls, retries: Retries) {
    this.name = name;
    this.transport = transport;
    this.#calls = calls;
    this.#retries = retries;
    this.#checkpoints = new Checkpoints({ transport, calls, retries });
    this.groups = new Groups(calls);
    this.deadLetters = new DeadLetters(calls);
    this.quarantine = new Quarantine(calls);
    this.scheduled = new ScheduledMessages(calls);
  }

  /**
   * Stores one message: text, bytes, `{ json: value }`, or a body with key, id, headers and the rest. Rejects with kind `channel-full`
   * when there was no room within `waitMs`.
   *
   * @example
   * await channel.put("hello");
   * await channel.put({ body: { json: [1, 2] }, key: "k", delayMs: 60_000 }, { waitMs: 5_000, idempotencyKey: "order-7" });
   */
  put(message: PutGiven, options: PutOptions = {}): Promise<PutReceipt> {
    return this.#put(() => this.transport.put(message, options), options);
  }

  /** Stores messages at consecutive offsets, all or none; at most 10,000 and 16 MiB together. */
  putBatch(messages: readonly PutGiven[], options: PutOptions = {}): Promise<PutReceipt> {
    return this.#put(() => this.transport.putBatch(messages, options), options);
  }

  /**
   * Takes the next message. Rejects with kind `empty` when none came within `waitMs`.
   *
   * @example
   * const message = await channel.get({ waitMs: 30_000, signal });
   */
  async get(options: GetMessageOptions = {}): Promise<ReceivedMessage> {
    const message = await this.tryGet(options);
    if (message !== undefined) return message;
    const facts = { kind: "empty", origin: "server", retry: "after", outcome: "not-applied" } as const;
    throw new EdgeChannelError(`Cannot get a message of ${this.name}: none came within ${options.waitMs ?? 0} ms`, facts);
  }

  /** Takes the next message; undefined when none came within `waitMs`. */
  async tryGet(options: GetMessageOptions = {}): Promise<ReceivedMessage | undefined> {
    const [message] = await this.getBatch({ ...checkOptions(options), min: 1, max: 1 });
    return message;
  }

  /**
   * Takes `min` to `max` messages; none when fewer than `min` came within `waitMs`. With `ack: "client"` there may be fewer than `min`
   * where leases were over before their acks arrived.
   */
  async getBatch(options: GetBatchOptions = {}): Promise<readonly ReceivedMessage[]> {
    const { messages } = await this.#take(options);
    if (messages.length === 0 && options.signal?.aborted === true) {
      throw EdgeChannelError.aborted(`Cannot get messages of ${this.name}`, options.signal);
    }
    return messages;
  }

  /**
   * Takes messages by lease, to be settled one by one or with `settle`. Without one within `waitMs` the list is empty.
   *
   * @example
   * const { messages } = await channel.pull({ max: 10, waitMs: 30_000, leaseMs: 60_000 });
   * for (const message of messages) await work(message).then(() => message.ack(), () => message.retry({ delayMs: 5_000 }));
   */
  async pull(options: PullOptions = {}): Promise<PulledMessages> {
    const pulled = await this.transport.pull(checkOptions(options));
    return { ...pulled, messages: pulled.messages.map((message) => new LeasedMessage(message, this.transport)) };
  }

  /**
   * Settles many leases at once. Refused entries do not reject: the report lists them. With `checkpoint` or `puts` all of it happens or
   * nothing, and then it rejects with kind `settle-refused`.
   *
   * @example
   * await channel.settle({ acks: messages, checkpoint: { name: "done", value: { json: messages.at(-1)?.offset } }, puts: ["next"] });
   */
  async settle(request: SettleRequest, options: CallOptions = {}): Promise<SettleReport> {
    return this.transport.settle(request, { signal: signalOf(options) });
  }

  /** The first message that is kept, without taking it; undefined where there is none. */
  async peek(options: CallOptions = {}): Promise<ReceivedMessage | undefined> {
    for await (const message of this.browse({ ...checkOptions(options), pageSize: 1 })) return message;
    return undefined;
  }

  /** Looks at all messages from an offset on without taking them, whether they are leased or not, page by page. */
  async *browse(options: BrowseOptions = {}): AsyncGenerator<ReceivedMessage, void, undefined> {
    for await (const page of this.#calls.pages<BrowsedPageReply>(["messages"], options, "from"))
      yield* page.messages.map(parseMessage);
  }

  /** One page of it, with the records of the channel itself. */
  async browsePage(options: BrowseOptions = {}): Promise<BrowsedPage> {
    const { signal, pageSize, ...query } = checkOptions(options);
    const page = await this.#calls.read<BrowsedPageReply>(["messages"], { signal }, { ...query, limit: pageSize });
    return { messages: page.messages.map(parseMessage), controls: page.controls ?? [], next: page.next };
  }

  /** One message without taking it; undefined where none is kept at this offset. */
  async read(offset: number, options: CallOptions = {}): Promise<ReceivedMessage | undefined> {
    // Browsed, since a message read alone does not tell whether it was put as bytes, text or JSON.
    const { messages } = await this.browsePage({ ...checkOptions(options), from: offset, pageSize: 1 });
    return messages.find((message) => message.offset === offset);
  }

  /** Who put a message, and each attempt to deliver it. Rejects with kind `unknown-message` when neither it nor its dead letter is kept. */
  history(offset: number, options: CallOptions = {}): Promise<MessageHistory> {
    return this.#calls.read(["messages", offset, "history"], options);
  }

  /** Removes one message. Rejects with kind `unknown-message` where there is none. */
  async remove(offset: number, options: CallOptions = {}): Promise<void> {
    await this.#calls.change("DELETE", ["messages", offset], options);
  }

  /** Removes the first message that was put with this `messageId`, and returns its offset. Rejects with kind `unknown-message` without one. */
  async removeById(messageId: string, options: CallOptions = {}): Promise<number> {
    const path = ["messages", "by-id", messageId];
    return (await this.#calls.change<{ readonly offset: number }>("DELETE", path, options)).offset;
  }

  /** Removes all messages but delayed ones, and returns how many. */
  async purge(options: CallOptions = {}): Promise<number> {
    const changing = this.#calls.change<{ readonly removedMessages: number }>("DELETE", ["messages"], options);
    return (await changing).removedMessages;
  }

  /**
   * Messages as they come, in order and each once, without taking them: a log from any place, or as a tap what passes through another
   * channel. Needs `transport: "socket"`.
   *
   * @example
   * for await (const message of channel.subscribe({ from: { at: "first" }, signal })) show(message);
   */
  subscribe(options: SubscribeOptions = {}): Subscription {
    return new Subscription({ transport: this.transport, retries: this.#retries }, checkOptions(options));
  }

  /**
   * Takes messages by lease ahead of the work on them, for a loop, or for a handler of one message, or with `batchSize` of many. Over
   * sockets they are sent as they come; over HTTP they are pulled.
   *
   * @example
   * for await (const message of channel.consume({ signal })) await work(message);
   * @example
   * await using consumer = channel.consume((message) => work(message), { concurrency: 8 });
   * await consumer.done;
   */
  consume(options?: ConsumeOptions): MessageStream;
  consume(handler: BatchHandler, options: ConsumeBatchesOptions): Consumer;
  consume(handler: MessageHandler, options?: ConsumeWithOptions): Consumer;
  consume(
    given: ConsumeOptions | MessageHandler | BatchHandler = {},
    options: ConsumeWithOptions | ConsumeBatchesOptions = {},
  ): MessageStream | Consumer {
    if (typeof given !== "function") return new MessageStream(this.#consumed, checkOptions(given));
    return consumeWith(this.#consumed, given, options);
  }

  /** Puts messages in batches, each once and in order, also over connections that are lost. */
  producer(options: ProducerOptions = {}): Producer {
    return new Producer(this.transport, this.#retries, checkOptions(options));
  }

  /** Describes the channel: settings, limits, state, counts. */
  async stats(options: CallOptions = {}): Promise<ChannelDescription> {
    const signal = signalOf(options);
    return this.#retries.run(() => this.transport.stats({ signal }), signal);
  }

  /** Who reads and who puts, and from where, in the order of their ids, as each page finds them. */
  async *readers(options: ListReadersOptions = {}): AsyncGenerator<ReaderDescription, void, undefined> {
    for await (const { readers } of this.#calls.pages<ReadersReply>(["readers"], options)) yield* readers;
  }

  /**
   * How many readers there are at each colo, then who joins, leaves and expires, by each commit that changes it. Needs `transport: "socket"`.
   *
   * @example
   * for await (const event of channel.presence({ signal })) if (event.type === "join") console.log(event.reader, event.colo);
   */
  presence(options: PresenceOptions = {}): Presence {
    return new Presence({ transport: this.transport, retries: this.#retries }, checkOptions(options));
  }

  /**
   * Creates the channel, or confirms that it exists with these settings: with others it rejects with kind `settings-conflict`. A place counts at
   * creation alone: `move` takes it elsewhere.
   */
  create(settings: GivenSettings & PlacementGiven = {}, options: CallOptions = {}): Promise<ChannelDescription> {
    return this.#calls.change("PUT", [], options, { json: settings });
  }

  /** Changes settings; what is absent stays. */
  configure(patch: ChannelPatch, options: CallOptions = {}): Promise<ChannelDescription> {
    return this.#calls.change("PATCH", [], options, { json: patch });
  }

  /** Takes the channel to another place, with all that it has; resolves when it is there. Who puts and reads goes on by itself. */
  move(to: PlacementGiven, options: CallOptions = {}): Promise<ChannelDescription> {
    return this.#calls.change("POST", ["move"], options, { json: to });
  }

  /** Takes no more messages and lets readers go on. `configure({ state: "open" })` opens it again. */
  drain(options: CallOptions = {}): Promise<ChannelDescription> {
    return this.configure({ state: "draining" }, options);
  }

  /** Closes the channel itself, for everybody; for the connection of this program there is `disconnect`. */
  close(options: CallOptions = {}): Promise<ChannelDescription> {
    return this.configure({ state: "closed" }, options);
  }

  /** Deletes the channel with all that is in it, when its readers are done or the grace is over. */
  async delete(options: DeleteOptions = {}): Promise<DeleteReport> {
    // With what is no option, which the server refuses.
    const { signal, ...query } = checkOptions(options);
    return this.#calls.change("DELETE", [], { signal }, { query });
  }

  /** A checkpoint by its name; nothing is sent yet. */
  checkpoint(name: string): Checkpoint {
    expectType("string", name, "the name of a checkpoint");
    return this.#checkpoints.named(name);
  }

  /** All checkpoints in the order of their names, without their values. */
  checkpoints(options: ListCheckpointsOptions = {}): AsyncGenerator<CheckpointEntry, void, undefined> {
    return this.#checkpoints.list(options);
  }

  /** Ends this program's connection to the channel; what is unanswered rejects with kind `connection-closed`. The channel goes on. */
  disconnect(): Promise<void> {
    return this.transport.close();
  }

  get #consumed(): Consumed {
    const retries = this.#retries;
    return { channels: [{ channel: this.name, transport: this.transport, retries }], retries };
  }

  #take(options: GetBatchOptions): Promise<GetResult> {
    const { ack, leaseMs, reader, detached, ...take } = checkOptions(options);
    if (ack === "server") return this.transport.get(take);
    if (ack !== undefined && ack !== "client")
      throw EdgeChannelError.refused('Cannot take the ack: expected "client" or "server"');
    return getAcknowledged(this.transport, this.#retries, { ...take, leaseMs, reader, detached });
  }

  /** Repeats the put if the channel can tell it from another one. */
  async #put(attempt: () => Promise<PutReceipt>, options: PutOptions): Promise<PutReceipt> {
    const { producer, idempotencyKey, signal } = checkOptions(options);
    const isKnown = producer !== undefined || idempotencyKey !== undefined;
    try {
      return await (isKnown ? this.#retries.run(attempt, signal) : attempt());
    } catch (error) {
      // Over a socket the end of a wait that was cancelled.
      const isCancelled = signal?.aborted === true && error instanceof EdgeChannelError && error.kind === "channel-full";
      throw isCancelled ? EdgeChannelError.aborted(`Cannot put into ${this.name}`, signal, error.outcome) : error;
    }
  }
}

interface BrowsedPageReply {
  readonly messages: readonly MessageJson<ReceivedMessage>[];
  readonly controls?: readonly ControlRecord[];
  readonly next: number | null;
}

interface ReadersReply {
  readonly readers: readonly ReaderDescription[];
  readonly next: string | null;
}
