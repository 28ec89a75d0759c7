// A channel over WebSockets, one at a time: opened by the first call, and by the first one after it was lost.
import type { CheckpointFrame } from "../protocol/checkpoint-frames.ts";
import type { ChannelDescription } from "../protocol/description.ts";
import type { CallOptions } from "./call-options.ts";
import type { ChannelSocket } from "./channel-socket.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { PutGiven } from "./message-json.ts";
import type {
  PresenceRequest,
  PressureListener,
  StreamedFrame,
  StreamHandle,
  StreamListener,
  SubscribeRequest,
} from "./socket-streams.ts";
import type { StartTimer } from "./timers.ts";
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
} from "./transport.ts";

export interface SocketTransportOptions {
  /** Opens a connection to the channel; aborting the signal rejects it. */
  readonly connect: (signal: AbortSignal) => Promise<ChannelSocket>;
  /** The same for plain reading alone; what reads plainly shares the other connection if absent. */
  readonly connectPlain?: (signal: AbortSignal) => Promise<ChannelSocket>;
  /** How long that may take, in milliseconds. */
  readonly connectMsMax: number;
  readonly startTimer: StartTimer;
  /** Called when `close` is. */
  readonly onClose: () => void;
}

/** What is being opened, and what ends the attempt. */
interface Opening {
  readonly socket: Promise<ChannelSocket>;
  readonly abort: AbortController;
}

const TOO_SLOW = "Cannot connect: it took too long";

/** Calls made while the socket opens are sent in their order once it is open. Nothing is sent twice: what a lost connection left unanswered rejects. */
export class SocketTransport implements StreamingTransport {
  readonly keepsOrder = true;
  readonly #options: SocketTransportOptions;
  #opening: Opening | undefined;
  #socket: ChannelSocket | undefined;
  /** What reads plainly has a connection of its own: who serves it may be near. */
  #plain: SocketTransport | undefined;
  #isClosed = false;

  constructor(options: SocketTransportOptions) {
    this.#options = options;
  }

  put(message: PutGiven, options: PutOptions = {}): Promise<PutReceipt> {
    return this.#use(options.signal, (socket) => socket.put(message, options));
  }

  putBatch(messages: readonly PutGiven[], options: PutOptions = {}): Promise<PutReceipt> {
    return this.#use(options.signal, (socket) => socket.putBatch(messages, options));
  }

  get(options: GetOptions = {}): Promise<GetResult> {
    return this.#use(options.signal, (socket) => socket.get(options));
  }

  pull(options: PullOptions = {}): Promise<PullResult> {
    return this.#use(options.signal, (socket) => socket.pull(options));
  }

  settle(request: SettleRequest, options: CallOptions = {}): Promise<SettleReport> {
    return this.#use(options.signal, (socket) => socket.settle(request, options));
  }

  stats(options: CallOptions = {}): Promise<ChannelDescription> {
    return this.#use(options.signal, (socket) => socket.stats(options));
  }

  subscribe(
    request: SubscribeRequest | PresenceRequest,
    listener: StreamListener<StreamedFrame>,
    options: CallOptions = {},
  ): Promise<StreamHandle> {
    const { connectPlain } = this.#options;
    if (connectPlain === undefined || !("from" in request || "tap" in request))
      return this.#use(options.signal, (socket) => socket.subscribe(request, listener, options));
    const { connectPlain: _, ...others } = this.#options;
    this.#plain ??= new SocketTransport({ ...others, connect: connectPlain, onClose: () => undefined });
    return this.#isClosed ? Promise.reject(EdgeChannelError.closed()) : this.#plain.subscribe(request, listener, options);
  }

  ask<Type extends CheckpointFrame["type"]>(
    type: Type,
    frame: object,
    options: CallOptions = {},
  ): Promise<Extract<CheckpointFrame, { type: Type }>> {
    return this.#use(options.signal, (socket) => socket.ask(type, frame, options));
  }

  watch(listener: PressureListener, options: CallOptions = {}): Promise<void> {
    return this.#use(options.signal, (socket) => socket.watch(listener));
  }

  /** Resolves when the connection is closed; one that is only being opened is given up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#options.onClose();
    this.#opening?.abort.abort();
    const socket = this.#socket ?? (await this.#opening?.socket.catch(() => undefined));
    await Promise.all([socket?.close(), this.#plain?.close()]);
  }

  #use<Result>(signal: AbortSignal | undefined, call: (socket: ChannelSocket) => Promise<Result>): Promise<Result> {
    if (this.#isClosed) return Promise.reject(EdgeChannelError.closed());
    if (this.#socket?.isOpen === true) return call(this.#socket);
    if (signal?.aborted === true) return Promise.reject(EdgeChannelError.aborted("Cannot connect", signal));
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    // A call that is aborted meanwhile is not sent any more: the socket refuses it.
    const onAbort = (): void => reject(EdgeChannelError.aborted("Cannot connect", signal));
    signal?.addEventListener("abort", onAbort);
    const release = (): void => signal?.removeEventListener("abort", onAbort);
    const send = (socket: ChannelSocket): Promise<Result> => {
      release();
      if (this.#isClosed) throw EdgeChannelError.closed();
      return call(socket);
    };
    const giveUp = (error: unknown): never => {
      release();
      throw this.#isClosed ? EdgeChannelError.closed() : error;
    };
    this.#open().then(send, giveUp).then(resolve, reject);
    return promise;
  }

  /** The connection that is being opened, or a new one. Whoever waits for it is served in order, and before whoever comes later. */
  #open(): Promise<ChannelSocket> {
    if (this.#opening !== undefined) return this.#opening.socket;
    const abort = new AbortController();
    const stopTimer = this.#options.startTimer(
      () => abort.abort(EdgeChannelError.notConnected(TOO_SLOW)),
      this.#options.connectMsMax,
    );
    const socket = this.#options.connect(abort.signal).catch((error: unknown) => {
      // The only other reason of an abort is `close`, of which its callers are told.
      throw abort.signal.reason instanceof EdgeChannelError ? abort.signal.reason : error;
    });
    this.#opening = { socket, abort };
    this.#socket = undefined;
    const finish = (opened?: ChannelSocket): void => {
      stopTimer();
      this.#socket = opened;
      this.#opening = undefined;
    };
    socket.then(finish, () => finish());
    return socket;
  }
}
