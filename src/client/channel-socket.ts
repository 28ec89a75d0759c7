// A client of the subprotocol channel.v1.json over the standard WebSocket, for browsers, Workers and Node.
// No reconnecting and no retries: every failure reaches the caller, with what is known about its outcome.
import { PROTOCOL_VERSIONS, SUBPROTOCOL_JSON, type ServerFrame } from "../protocol/frames.ts";
import type { ProducerMark } from "../protocol/dedup.ts";
import type { ChannelDescription, PressureState } from "../protocol/description.ts";
import { isLongerThan } from "../protocol/bytes.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { ControlRecord } from "../protocol/message.ts";
import type { ScheduledReceipt } from "../protocol/schedule.ts";
import { EdgeChannelError, type EdgeChannelErrorOptions } from "./edge-channel-error.ts";
import { formatPutMessage, parseReceivedMessage, type PutInput, type ReceivedMessage } from "./message-json.ts";

/** What is used of a WebSocket. */
export interface WebSocketLike {
  readonly readyState: number;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open" | "error", listener: (event: object) => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { readonly code: number; readonly reason: string }) => void): void;
}

/** Calls back once after `delayMs`; returns what stops it. */
export type StartTimer = (callback: () => void, delayMs: number) => () => void;

export interface ConnectOptions {
  /** Aborting it before the connection is made rejects `connect`. Default: none. */
  readonly signal?: AbortSignal | undefined;
  /** Default: the platform's `WebSocket`. */
  readonly WebSocket?: (new (url: string, protocol: string) => WebSocketLike) | undefined;
  /** Called each time the server tells a put to wait for room: this is where a producer feels back-pressure. */
  readonly onWait?: (() => void) | undefined;
  /** Default: the platform's timers. */
  readonly startTimer?: StartTimer | undefined;
}

export interface WaitOptions {
  /** How long to wait for room or messages, in milliseconds, at most 300,000 (more counts as that). Default: 0, try once. */
  readonly waitMs?: number | undefined;
  /** Aborting it ends the wait; the call settles with the server's last word, so a message that was taken already still arrives. */
  readonly signal?: AbortSignal | undefined;
}

export interface PutOptions extends WaitOptions {
  /** Which put of its producer it is, from 1: sent again, also over another connection, it returns the first outcome. Default: none. */
  readonly producer?: ProducerMark | undefined;
  /** The same by a name of its own, 1 to 256 bytes; not together with `producer`. Default: none. */
  readonly idempotencyKey?: string | undefined;
  /** The put is accepted only if its first message gets this offset, else it rejects with kind `offset-conflict`. Default: any. */
  readonly expectedOffset?: number | undefined;
}

export interface GetOptions extends WaitOptions {
  /** The fewest messages to take: with fewer, none is taken. Default: 1. */
  readonly min?: number | undefined;
  /** The most messages to take, at most 10,000. Default: 1, or `min`. */
  readonly max?: number | undefined;
}

/** What a put returns once its messages are on disk. */
export interface PutReceipt {
  /**
   * The offset of the first message that entered at once; the others follow without gaps. Null when all have a delay, and for a
   * duplicate of long ago.
   */
  readonly offset: number | null;
  /** How many messages entered at once. */
  readonly count: number;
  /** The messages with a delay, each with the `scheduledId` by which it can be cancelled; absent where there are none, and for a duplicate. */
  readonly scheduled?: readonly ScheduledReceipt[];
  /** Whether the put was accepted before, and this is what came of it then. */
  readonly isDuplicate: boolean;
  /** The channel at the commit: depth, bytes, utilisation, waiters. */
  readonly state: PressureState;
}

export interface GetResult {
  /** Empty when fewer than `min` came in time. */
  readonly messages: readonly ReceivedMessage[];
  /** Records of the channel itself, such as a change of its limits. */
  readonly controls: readonly ControlRecord[];
  readonly state: PressureState;
}

type FinalFrame = Extract<ServerFrame, { type: "put-ok" | "got" | "stats" }>;

interface Pending {
  readonly finalType: FinalFrame["type"];
  /** Kept until the answer: a put that waited is sent again when there is room. */
  readonly text: string;
  readonly resolve: (frame: FinalFrame) => void;
  readonly reject: (error: EdgeChannelError) => void;
  /** Stops the deadline and no longer listens to the signal. */
  readonly release: () => void;
  isCancelled: boolean;
  /** Whether the server may act without hearing from us again. Not so for a put that waits: its body is here. */
  mayApply: boolean;
}

const NORMAL_CLOSURE = 1000;
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
export class ChannelSocket {
  readonly #socket: WebSocketLike;
  readonly #startTimer: StartTimer;
  readonly #onWait: (() => void) | undefined;
  readonly #pending = new Map<number, Pending>();
  readonly #greeted = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #failure: { readonly how: string; readonly options: EdgeChannelErrorOptions } | undefined;
  #nextId = 1;

  private constructor(socket: WebSocketLike, options: ConnectOptions) {
    this.#socket = socket;
    this.#startTimer = options.startTimer ?? startPlatformTimer;
    this.#onWait = options.onWait;
    socket.addEventListener("open", () => this.#send(JSON.stringify({ type: "hello", versions: PROTOCOL_VERSIONS })));
    socket.addEventListener("message", ({ data }) => this.#receive(data));
    socket.addEventListener("error", (event) => this.#lose("the connection broke", "error" in event ? event.error : event));
    socket.addEventListener("close", ({ code, reason }) => {
      this.#lose(`the connection closed with code ${code}${reason === "" ? "" : `, ${reason}`}`, undefined);
      this.#ended.resolve();
    });
  }

  /**
   * Opens a connection and agrees on the version of the protocol.
   *
   * @param url The address of the channel's socket, `http(s)://HOST/v1/channels/CHANNEL/socket` or the same with `ws(s)`.
   */
  static async connect(url: string | URL, options: ConnectOptions = {}): Promise<ChannelSocket> {
    const { signal } = options;
    if (signal?.aborted === true) throw abortedError("Cannot connect", signal);
    const Socket = options.WebSocket ?? globalThis.WebSocket;
    const channel = new ChannelSocket(new Socket(String(url).replace(/^http/, "ws"), SUBPROTOCOL_JSON), options);
    const onAbort = (): void => {
      channel.#greeted.reject(abortedError("Cannot connect", signal));
      void channel.close();
    };
    signal?.addEventListener("abort", onAbort);
    try {
      await channel.#greeted.promise;
      return channel;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Stores one message. Rejects with kind `channel-full` when there was no room within `waitMs`. */
  put(message: PutInput, options: PutOptions = {}): Promise<PutReceipt> {
    return this.#put({ type: "put", ...formatPutMessage(message) }, options);
  }

  /** Stores messages at consecutive offsets, all or none; at most 10,000 and 16 MiB together. */
  putBatch(messages: readonly PutInput[], options: PutOptions = {}): Promise<PutReceipt> {
    return this.#put({ type: "put-batch", messages: messages.map(formatPutMessage) }, options);
  }

  /**
   * Takes messages from the head of the channel. They are removed at once (at-most-once): if the connection breaks before the reply
   * arrives, they are lost, and the error's `outcome` is `"unknown"`.
   */
  async get(options: GetOptions = {}): Promise<GetResult> {
    const { min, max, ...wait } = options;
    const { messages, controls, state } = await this.#request("got", { type: "get", min, max }, wait);
    return { messages: messages.map(parseReceivedMessage), controls: (controls ?? []) as readonly ControlRecord[], state };
  }

  /** Describes the channel: settings, state, counts. */
  async stats(): Promise<ChannelDescription> {
    return (await this.#request("stats", { type: "stats" }, {})).stats as ChannelDescription;
  }

  /** Closes the connection and resolves when it is closed. What is unanswered rejects with kind `connection-closed`. */
  close(): Promise<void> {
    this.#fail("the connection was closed by this program", {
      kind: "connection-closed",
      origin: "client",
      retry: "never",
      outcome: "not-applied",
    });
    return this.#ended.promise;
  }

  async #put(frame: object, { waitMs, signal, ...conditions }: PutOptions): Promise<PutReceipt> {
    const reply = await this.#request("put-ok", { ...frame, ...conditions }, { waitMs, signal });
    const { offset, count, scheduled, duplicate, state } = reply;
    return { offset, count, ...(scheduled !== undefined && { scheduled }), isDuplicate: duplicate === true, state };
  }

  /** Sends at once, in the order of the calls. */
  #request<Type extends FinalFrame["type"]>(
    finalType: Type,
    frame: object,
    { waitMs, signal }: WaitOptions,
  ): Promise<Extract<FinalFrame, { type: Type }>> {
    const { promise, resolve, reject } = Promise.withResolvers<FinalFrame>();
    const id = this.#nextId++;
    const text = JSON.stringify({ ...frame, id, waitMs });
    const refusal = this.#refuseRequest(text, signal);
    if (refusal !== undefined) reject(refusal);
    else {
      const cancel = (): void => this.#cancel(id);
      const stopTimer =
        waitMs !== undefined && waitMs > 0 ? this.#startTimer(cancel, Math.min(waitMs, LIMITS.waitMsMax)) : undefined;
      signal?.addEventListener("abort", cancel);
      const release = (): void => {
        stopTimer?.();
        signal?.removeEventListener("abort", cancel);
      };
      // Stats change nothing; a get removes.
      const mayApply = finalType !== "stats";
      this.#pending.set(id, { finalType, text, resolve, reject, release, isCancelled: false, mayApply });
      this.#send(text);
    }
    // Only a frame of the final type resolves it.
    return promise as Promise<Extract<FinalFrame, { type: Type }>>;
  }

  #refuseRequest(text: string, signal: AbortSignal | undefined): EdgeChannelError | undefined {
    if (this.#failure !== undefined) return new EdgeChannelError(`Cannot send: ${this.#failure.how}`, this.#failure.options);
    if (signal?.aborted === true) return abortedError("Cannot send the request", signal);
    if (!isLongerThan(text, LIMITS.frameBytesMax)) return undefined;
    // The server would end the connection, and with it all other requests.
    const message = `Cannot send the frame: it has more than ${LIMITS.frameBytesMax} bytes`;
    return new EdgeChannelError(message, { kind: "request-too-large", origin: "client", retry: "never", outcome: "not-applied" });
  }

  /** Ends a wait. The server answers as if the time were over; an answer that is on its way stands. */
  #cancel(id: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.isCancelled) return;
    pending.isCancelled = true;
    this.#send(JSON.stringify({ type: "cancel", id }));
  }

  #send(text: string): void {
    if (this.#failure !== undefined) return;
    try {
      this.#socket.send(text);
    } catch (error) {
      this.#lose("the connection cannot send", error);
    }
  }

  #receive(data: unknown): void {
    if (this.#failure !== undefined) return;
    const frame = parseFrame(data);
    if (frame === undefined) return this.#violate("a frame is not a JSON object with a type");
    switch (frame.type) {
      case "welcome":
        return this.#greeted.resolve();
      case "wait":
        return this.#holdBack(frame.id);
      case "room":
        return this.#sendAgain(frame.id);
      case "put-ok":
      case "got":
      case "stats":
        return this.#resolve(frame);
      case "problem":
        return this.#refuse(frame);
      default:
        // A later version may tell more; what has to be understood is agreed in the greeting.
        return undefined;
    }
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
    this.#send(`${pending.text.slice(0, -1)},"promised":true}`);
  }

  #resolve(frame: FinalFrame): void {
    const pending = this.#take(frame.id);
    if (pending === undefined) return;
    if (pending.finalType === frame.type) return pending.resolve(frame);
    const facts = { kind: "protocol-violation", origin: "server", retry: "never", outcome: "unknown" } as const;
    pending.reject(new EdgeChannelError(`The server answered "${frame.type}" where "${pending.finalType}" was due`, facts));
  }

  #refuse({ problem, inReplyTo }: Extract<ServerFrame, { type: "problem" }>): void {
    if (inReplyTo === undefined) {
      // It answers no request that could be told, so it concerns the connection.
      const { kind, retry } = problem;
      return this.#fail(problem.detail, { kind, origin: "server", retry, outcome: "not-applied", problem });
    }
    this.#take(inReplyTo)?.reject(EdgeChannelError.fromProblem(problem));
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

  #violate(what: string): void {
    this.#fail(`the server broke the protocol: ${what}`, {
      kind: "protocol-violation",
      origin: "server",
      retry: "never",
      outcome: "not-applied",
    });
  }

  /** Ends the connection, the first reason counting, and tells each request whether it may have been carried out. */
  #fail(how: string, options: EdgeChannelErrorOptions): void {
    if (this.#failure !== undefined) return;
    this.#failure = { how, options };
    const kind = options.kind === "connection-lost" ? "connection-failed" : options.kind;
    this.#greeted.reject(new EdgeChannelError(`Cannot connect: ${how}`, { ...options, kind }));
    for (const id of this.#pending.keys()) {
      const pending = this.#take(id);
      const outcome = pending?.mayApply === true ? "unknown" : "not-applied";
      pending?.reject(new EdgeChannelError(`No answer came: ${how}`, { ...options, outcome }));
    }
    if (this.#socket.readyState < READY_STATE_CLOSING) this.#socket.close(NORMAL_CLOSURE);
  }
}

function parseFrame(data: unknown): ServerFrame | undefined {
  try {
    const frame: unknown = typeof data === "string" ? JSON.parse(data) : undefined;
    // The rest of the shape is the server's promise.
    return typeof frame === "object" && frame !== null && "type" in frame ? (frame as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}

function abortedError(what: string, signal: AbortSignal | undefined): EdgeChannelError {
  const facts = {
    kind: "aborted",
    origin: "client",
    retry: "never",
    outcome: "not-applied",
    cause: signal?.reason as unknown,
  } as const;
  return new EdgeChannelError(`${what}: the signal was aborted`, facts);
}

function startPlatformTimer(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
}
