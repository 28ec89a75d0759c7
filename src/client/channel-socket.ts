// A client of the subprotocols channel.v1.bin and channel.v1.json over the standard WebSocket, for browsers, Workers and Node.
// No reconnecting and no retries: every failure reaches the caller, with what is known about its outcome.
import { isLongerThan } from "../protocol/bytes.ts";
import type { CheckpointFrame } from "../protocol/checkpoint-frames.ts";
import type { ChannelDescription } from "../protocol/description.ts";
import type { ServerFrame } from "../protocol/frames.ts";
import { FRAME_BYTES_MAX, WAIT_MS_MAX } from "../protocol/client-limits.ts";
import { MOVED_CLOSE_CODE, PROTOCOL_VERSIONS, SUBPROTOCOL_BIN } from "../protocol/version.ts";
import type { CallOptions } from "./call-options.ts";
import { EdgeChannelError, type EdgeChannelErrorOptions } from "./edge-channel-error.ts";
import { formatJson } from "./json-text.ts";
import { KeepAlive } from "./keep-alive.ts";
import { loadBlockCodec, type BlockCodec } from "./load-block-codec.ts";
import { formatPutMessage, formatPuts, putBytes, type PutGiven } from "./message-json.ts";
import { openChannelSocket, protocolOf, type SocketOptions, type WebSocketLike } from "./open-socket.ts";
import {
  SocketStreams,
  type Pressure,
  type PresenceRequest,
  type PressureListener,
  type StreamedFrame,
  type StreamHandle,
  type StreamListener,
  type SubscribeRequest,
} from "./socket-streams.ts";
import { startPlatformTimer, type StartTimer } from "./timers.ts";
import type {
  GetOptions,
  GetResult,
  PullOptions,
  PullResult,
  PutOptions,
  PutReceipt,
  SettleReport,
  SettleRequest,
  StreamingTransport,
  WaitOptions,
} from "./transport.ts";
import { formatSettle, parseGetResult, parsePullResult, parsePutReceipt, parseReply } from "./transport-json.ts";

export interface ConnectOptions extends SocketOptions {
  /** Aborting it before the connection is made rejects `connect`. Default: none. */
  readonly signal?: AbortSignal | undefined;
  /** Called each time the server tells a put to wait for room: this is where a producer feels back-pressure. */
  readonly onWait?: (() => void) | undefined;
  /** Default: the platform's timers. */
  readonly startTimer?: StartTimer | undefined;
}

/** What answers a request for good. */
type FinalFrame = Extract<ServerFrame, { type: "put-ok" | "got" | "settled" | "stats" }> | CheckpointFrame;

/** What is sent: a frame in JSON, or with a block the head of a binary one. */
interface Request {
  readonly text: string;
  readonly block?: Uint8Array<ArrayBuffer> | undefined;
}

interface Pending {
  readonly finalType: FinalFrame["type"];
  /** Kept until the answer: a put that waited, or asked for room first, is sent when there is room. */
  readonly request: Request;
  readonly resolve: (frame: FinalFrame) => void;
  readonly reject: (error: EdgeChannelError) => void;
  /** Stops the deadline and no longer listens to the signal. */
  readonly release: () => void;
  isCancelled: boolean;
  /** Whether the server may act without hearing from us again. Not so for a put that waits: its body is here. */
  mayApply: boolean;
}

interface Beginning<Type extends FinalFrame["type"]> {
  readonly finalType: Type;
  readonly request: Request;
  /** What is sent in its place: what asks for room for it. */
  readonly first?: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
  /** Starts what keeps the deadline, if there is one. */
  readonly startTimer: () => (() => void) | undefined;
  readonly mayApply: boolean;
}

/** What may have to wait, and is answered when its wait is cancelled. */
type Waitable = "put-ok" | "got";

/** Answers to what changes nothing. */
const READING: readonly FinalFrame["type"][] = ["stats", "checkpoint", "checkpoints"];
/** Requests count from 1. */
const WATCH_ID = 0;
const NORMAL_CLOSURE = 1000;
const READY_STATE_OPEN = 1;
const READY_STATE_CLOSING = 2;

/**
 * One connection to one channel. Calls may be made without awaiting the ones before (pipelining): puts keep the order of the calls, and
 * each call gets its own answer. When the connection ends, all that is unanswered rejects, and so does every later call.
 *
 * @example
 * const channel = await ChannelSocket.connect("http://127.0.0.1:8787/v1/channels/jobs/socket");
 * await channel.put({ body: "hello" }, { waitMs: 5_000 });
 * const { messages } = await channel.get({ max: 10, waitMs: 5_000 });
 * await channel.close();
 */
export class ChannelSocket implements StreamingTransport {
  readonly keepsOrder = true;
  readonly #socket: WebSocketLike;
  readonly #startTimer: StartTimer;
  readonly #onWait: (() => void) | undefined;
  readonly #pending = new Map<number, Pending>();
  readonly #streams = new SocketStreams((text) => this.#send({ text }));
  readonly #pressureListeners = new Set<PressureListener>();
  /** What the server said last of the pressure. */
  #pressure: Pressure | undefined;
  /** Where the server speaks binary, from before the first call. */
  #codec: BlockCodec | undefined;
  #codecLoading: Promise<void> | undefined;
  readonly #greeted = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #failure: { readonly how: string; readonly options: EdgeChannelErrorOptions } | undefined;
  /** From the greeting to the end. */
  #keepAlive: KeepAlive | undefined;
  #nextId = 1;

  private constructor(socket: WebSocketLike, options: ConnectOptions) {
    this.#socket = socket;
    this.#startTimer = options.startTimer ?? startPlatformTimer;
    this.#onWait = options.onWait;
    const greet = (): void => {
      if (protocolOf(socket) === SUBPROTOCOL_BIN) this.#codecLoading = this.#loadCodec();
      this.#send({ text: JSON.stringify({ type: "hello", versions: PROTOCOL_VERSIONS, joined: true, pings: true }) });
    };
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", greet);
    socket.addEventListener("message", ({ data }) => this.#receive(data));
    socket.addEventListener("error", (event) => this.#lose("the connection broke", "error" in event ? event.error : event));
    socket.addEventListener("close", ({ code, reason }) => {
      if (code === MOVED_CLOSE_CODE) for (const pending of this.#pending.values()) pending.mayApply = false;
      this.#lose(`the connection closed with code ${code}${reason === "" ? "" : `, ${reason}`}`, undefined);
      this.#ended.resolve();
    });
    if (socket.readyState === READY_STATE_OPEN) greet();
  }

  /**
   * Opens a connection and agrees on the version of the protocol.
   *
   * @param url The address of the channel's socket, `http(s)://HOST/v1/channels/CHANNEL/socket` or the same with `ws(s)`.
   */
  static async connect(url: string | URL, options: ConnectOptions = {}): Promise<ChannelSocket> {
    const { signal } = options;
    const isAborted = (): boolean => signal?.aborted === true;
    if (isAborted()) throw EdgeChannelError.aborted("Cannot connect", signal);
    const opening = openChannelSocket(String(url).replace(/^http/, "ws"), options, signal);
    const channel = new ChannelSocket(opening instanceof Promise ? await opening : opening, options);
    const onAbort = (): void => {
      channel.#greeted.reject(EdgeChannelError.aborted("Cannot connect", signal));
      void channel.close();
    };
    signal?.addEventListener("abort", onAbort);
    // It may have been aborted while the socket opened.
    if (isAborted()) onAbort();
    try {
      await channel.#greeted.promise;
      return channel;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Whether calls are sent; not so once it was closed or lost. */
  get isOpen(): boolean {
    return this.#failure === undefined;
  }

  /** Stores one message. Rejects with kind `channel-full` when there was no room within `waitMs`. */
  async put(message: PutGiven, options: PutOptions = {}): Promise<PutReceipt> {
    return this.#put({ type: "put", ...formatPutMessage(message) }, undefined, [message], options);
  }

  /** Stores messages at consecutive offsets, all or none; at most 10,000 and 16 MiB together. */
  async putBatch(messages: readonly PutGiven[], options: PutOptions = {}): Promise<PutReceipt> {
    const block = this.#codec?.packPuts(messages);
    const frame = block === undefined ? { type: "put-batch", messages: formatPuts(messages) } : {};
    return this.#put(frame, block, messages, options);
  }

  /**
   * Takes messages from the head of the channel. They are removed at once (at-most-once): if the connection breaks before the reply
   * arrives, they are lost, and the error's `outcome` is `"unknown"`.
   */
  async get({ waitMs, signal, ...take }: GetOptions = {}): Promise<GetResult> {
    return parseGetResult(await this.#requestWaiting("got", { type: "get", ...take }, { waitMs, signal }));
  }

  /** Takes messages by lease (at-least-once). The leases end with the connection, unless they are `detached`. */
  async pull({ waitMs, signal, detached, ...take }: PullOptions = {}): Promise<PullResult> {
    const frame = { type: "pull", ...take, ...(detached === true && { detached }) };
    return parsePullResult(await this.#requestWaiting("got", frame, { waitMs, signal }));
  }

  /** Ends or extends leases. Refused entries do not reject: the report lists them. */
  async settle(request: SettleRequest, { signal }: CallOptions = {}): Promise<SettleReport> {
    return parseReply<SettleReport>(await this.#request("settled", { type: "settle", ...formatSettle(request) }, signal));
  }

  /** Describes the channel: settings, state, counts. */
  async stats({ signal }: CallOptions = {}): Promise<ChannelDescription> {
    return (await this.#request("stats", { type: "stats" }, signal)).stats as ChannelDescription;
  }

  /** Asks to be sent messages as they come, at most 4 times, or once who reads the channel: each until its `onEnd`. */
  async subscribe(
    request: SubscribeRequest | PresenceRequest,
    listener: StreamListener<StreamedFrame>,
    { signal }: CallOptions = {},
  ): Promise<StreamHandle> {
    const id = this.#nextId++;
    const text = formatRequest(id, { type: "subscribe", ...request });
    const refusal = this.#refuseRequest({ text }, signal);
    if (refusal !== undefined) throw refusal;
    return this.#streams.begin(id, text, listener);
  }

  /** Sends a frame of a checkpoint, without its `id`; resolves with the answer of the type. */
  ask<Type extends CheckpointFrame["type"]>(
    type: Type,
    frame: object,
    { signal }: CallOptions = {},
  ): Promise<Extract<CheckpointFrame, { type: Type }>> {
    return this.#request(type, frame, signal);
  }

  /** Tells the listener how much the channel has to do, now and when that changes, if the server does so; once, however often it is asked for. */
  async watch(listener: PressureListener): Promise<void> {
    if (this.#pressureListeners.has(listener)) return;
    const isFirst = this.#pressureListeners.size === 0;
    this.#pressureListeners.add(listener);
    if (isFirst) this.#send({ text: JSON.stringify({ type: "watch", id: WATCH_ID }) });
    else if (this.#pressure !== undefined) listener(this.#pressure);
  }

  /** Closes the connection and resolves when it is closed. What is unanswered rejects with kind `connection-closed`. */
  close(): Promise<void> {
    this.#fail("the connection was closed by this program", EdgeChannelError.closed());
    return this.#ended.promise;
  }

  async #put(
    frame: object,
    block: Uint8Array<ArrayBuffer> | undefined,
    messages: readonly PutGiven[],
    { reserve, ...options }: PutOptions,
  ): Promise<PutReceipt> {
    const { waitMs, signal, ...conditions } = options;
    const bytes = reserve === true ? messages.reduce((sum, message) => sum + putBytes(message), 0) : 0;
    const first = reserve === true ? { type: "reserve", messages: messages.length, bytes } : undefined;
    return parsePutReceipt(
      await this.#requestWaiting("put-ok", { ...frame, ...conditions }, { waitMs, signal }, { block, first }),
    );
  }

  /** Sends at once, in the order of the calls; where `first` is given, that frame before the other, which follows on `room`. */
  #requestWaiting<Type extends Waitable>(
    finalType: Type,
    frame: object,
    { waitMs, signal }: WaitOptions,
    { block, first }: { readonly block?: Uint8Array<ArrayBuffer> | undefined; readonly first?: object | undefined } = {},
  ): Promise<Extract<FinalFrame, { type: Type }>> {
    const id = this.#nextId++;
    const request = { text: formatRequest(id, { ...frame, waitMs }), block };
    const cancel = (): void => this.#cancel(id);
    const startTimer = (): (() => void) | undefined =>
      waitMs !== undefined && waitMs > 0 ? this.#startTimer(cancel, Math.min(waitMs, WAIT_MS_MAX)) : undefined;
    const asking = first && JSON.stringify({ ...first, id, waitMs });
    const mayApply = first === undefined;
    return this.#begin(id, { finalType, request, first: asking, signal, onAbort: cancel, startTimer, mayApply });
  }

  /** Sends what is answered without a wait; aborted, it is not waited for any more. */
  #request<Type extends Exclude<FinalFrame["type"], Waitable>>(
    finalType: Type,
    frame: object,
    signal: AbortSignal | undefined,
  ): Promise<Extract<FinalFrame, { type: Type }>> {
    const id = this.#nextId++;
    const request = { text: formatRequest(id, frame) };
    const mayApply = !READING.includes(finalType);
    const onAbort = (): void => {
      this.#take(id)?.reject(EdgeChannelError.aborted("No answer came", signal, mayApply ? "unknown" : "not-applied"));
    };
    return this.#begin(id, { finalType, request, signal, onAbort, startTimer: () => undefined, mayApply });
  }

  #begin<Type extends FinalFrame["type"]>(
    id: number,
    { finalType, request, first, signal, onAbort, startTimer, mayApply }: Beginning<Type>,
  ): Promise<Extract<FinalFrame, { type: Type }>> {
    const { promise, resolve, reject } = Promise.withResolvers<FinalFrame>();
    const refusal = this.#refuseRequest(request, signal);
    if (refusal !== undefined) reject(refusal);
    else {
      const stopTimer = startTimer();
      signal?.addEventListener("abort", onAbort);
      const release = (): void => {
        stopTimer?.();
        signal?.removeEventListener("abort", onAbort);
      };
      this.#pending.set(id, { finalType, request, resolve, reject, release, isCancelled: false, mayApply });
      this.#send(first === undefined ? request : { text: first });
    }
    // Only a frame of the final type resolves it.
    return promise as Promise<Extract<FinalFrame, { type: Type }>>;
  }

  #refuseRequest({ text, block }: Request, signal: AbortSignal | undefined): EdgeChannelError | undefined {
    if (this.#failure !== undefined) return new EdgeChannelError(`Cannot send: ${this.#failure.how}`, this.#failure.options);
    if (signal?.aborted === true) return EdgeChannelError.aborted("Cannot send the request", signal);
    if (!isLongerThan(text, FRAME_BYTES_MAX - (block?.byteLength ?? 0))) return undefined;
    // The server would end the connection, and with it all other requests.
    return EdgeChannelError.tooLarge("frame", FRAME_BYTES_MAX);
  }

  /** Ends a wait. The server answers as if the time were over; an answer that is on its way stands. */
  #cancel(id: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.isCancelled) return;
    pending.isCancelled = true;
    this.#send({ text: JSON.stringify({ type: "cancel", id }) });
  }

  #send({ text, block }: Request): void {
    if (this.#failure !== undefined) return;
    try {
      // Only the codec makes blocks.
      this.#socket.send((block && this.#codec?.joinPut(text, block)) ?? text);
    } catch (error) {
      this.#lose("the connection cannot send", error);
    }
  }

  #receive(data: unknown): void {
    if (this.#failure !== undefined) return;
    this.#keepAlive?.hear();
    const frame = data instanceof ArrayBuffer ? this.#codec?.readBinaryFrame(new Uint8Array(data)) : parseFrame(data);
    if (frame === undefined) {
      const facts = { kind: "protocol-violation", origin: "server", retry: "never", outcome: "not-applied" } as const;
      return this.#fail("the server broke the protocol: a frame is none", facts);
    }
    for (const one of frame.type === "joined" ? frame.frames : [frame]) this.#handle(one);
  }

  #handle(frame: ServerFrame): void {
    switch (frame.type) {
      case "welcome":
        return this.#welcome();
      case "wait":
        return this.#holdBack(frame.id);
      case "room":
        return this.#sendAgain(frame.id);
      case "put-ok":
      case "got":
      case "settled":
      case "stats":
      case "checkpoint":
      case "checkpoint-written":
      case "checkpoint-deleted":
      case "checkpoints":
        return this.#resolve(frame);
      case "problem":
        return this.#refuse(frame);
      case "echo":
        return this.#send({ text: JSON.stringify(frame) });
      case "pressure":
        return this.#tellPressure(frame);
      case "subscribed":
      case "deliver":
      case "revoke":
      case "present":
      case "presence":
      case "ended":
        return this.#streams.receive(frame);
      default:
        // A later version may tell more; what has to be understood is agreed in the greeting.
        return undefined;
    }
  }

  /** While the greeting is under way. */
  async #loadCodec(): Promise<void> {
    try {
      this.#codec = await loadBlockCodec();
    } catch (cause) {
      this.#lose("the part of the client that it needs could not be loaded", cause);
    }
  }

  #welcome(): void {
    this.#keepAlive ??= new KeepAlive({
      startTimer: this.#startTimer,
      send: (text) => this.#send({ text }),
      onSilence: (silenceMs) => this.#lose(`the server was silent for ${silenceMs} ms after a ping`, undefined),
    });
    if (this.#codecLoading === undefined) this.#greeted.resolve();
    else void this.#codecLoading.then(() => this.#greeted.resolve());
  }

  /** At once, so that nothing is sent meanwhile, and again when whoever was answered before has gone on: that is not on its way any more. */
  #tellPressure(pressure: Pressure): void {
    this.#pressure = pressure;
    const tell = (): void => {
      if (this.#failure !== undefined || this.#pressure !== pressure) return;
      for (const listener of this.#pressureListeners) listener(pressure);
    };
    tell();
    this.#startTimer(tell, 0);
  }

  #holdBack(id: number): void {
    const pending = this.#pending.get(id);
    if (pending?.finalType !== "put-ok") return;
    pending.mayApply = false;
    this.#onWait?.();
  }

  #sendAgain(id: number): void {
    const pending = this.#pending.get(id);
    // After a cancel the promised room is given back, and the answer to the cancel is the last word.
    if (pending === undefined || pending.isCancelled) return;
    pending.mayApply = true;
    // The mark keeps a put that comes too late for its room from being stored after its request was answered.
    const { text, block } = pending.request;
    this.#send({ text: `${text.slice(0, -1)},"promised":true}`, block });
  }

  #resolve(frame: FinalFrame): void {
    const pending = this.#take(frame.id);
    if (pending === undefined) return;
    if (pending.finalType === frame.type) return pending.resolve(frame);
    pending.reject(EdgeChannelError.violation(`The server answered "${frame.type}" where "${pending.finalType}" was due`));
  }

  #refuse({ problem, inReplyTo }: Extract<ServerFrame, { type: "problem" }>): void {
    if (inReplyTo === undefined) {
      // It answers no request that could be told, so it concerns the connection.
      const { kind, retry } = problem;
      return this.#fail(problem.detail, { kind, origin: "server", retry, outcome: "not-applied", problem });
    }
    const error = EdgeChannelError.fromProblem(problem);
    this.#take(inReplyTo)?.reject(error);
    this.#streams.end(inReplyTo, error);
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.release();
    return pending;
  }

  #lose(how: string, cause: unknown): void {
    const facts = { kind: "connection-lost", origin: "network", retry: "after", outcome: "not-applied", cause } as const;
    this.#fail(how, facts);
  }

  /** Ends the connection, the first reason counting, and tells each request whether it may have been carried out. */
  #fail(how: string, options: EdgeChannelErrorOptions): void {
    if (this.#failure !== undefined) return;
    this.#failure = { how, options };
    this.#keepAlive?.stop();
    const kind = options.kind === "connection-lost" ? "connection-failed" : options.kind;
    this.#greeted.reject(new EdgeChannelError(`Cannot connect: ${how}`, { ...options, kind }));
    for (const id of this.#pending.keys()) {
      const pending = this.#take(id);
      const outcome = pending?.mayApply === true ? "unknown" : "not-applied";
      pending?.reject(new EdgeChannelError(`No answer came: ${how}`, { ...options, outcome }));
    }
    this.#streams.endAll(new EdgeChannelError(`The stream ended: ${how}`, options));
    if (this.#socket.readyState < READY_STATE_CLOSING) this.#socket.close(NORMAL_CLOSURE);
  }
}

/** `type` and `id` come first: so the server can answer also what it cannot read to its end. */
function formatRequest(id: number, frame: object): string {
  return formatJson({ type: undefined, id, ...frame });
}

function parseFrame(data: unknown): ServerFrame | undefined {
  try {
    const frame: unknown = typeof data === "string" ? JSON.parse(data) : undefined;
    // The rest of the shape is the server's promise.
    return (Object(frame) as Partial<ServerFrame>).type === undefined ? undefined : (frame as ServerFrame);
  } catch {
    return undefined;
  }
}
