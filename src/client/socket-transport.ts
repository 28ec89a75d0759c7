// A channel over WebSockets, one at a time: opened by the first call, and by the first one after it was lost.
import type { ChannelDescription } from "../protocol/description.ts";
import type { ChannelSocket } from "./channel-socket.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { PutGiven } from "./message-json.ts";
import type {
  CallOptions,
  GetOptions,
  GetResult,
  PullOptions,
  PullResult,
  PutOptions,
  PutReceipt,
  SettleReport,
  SettleRequest,
  Transport,
} from "./transport.ts";

/** Calls made while the socket opens are sent in their order once it is open. Nothing is sent twice: what a lost connection left unanswered rejects. */
export class SocketTransport implements Transport {
  readonly #connect: () => Promise<ChannelSocket>;
  #opening: Promise<ChannelSocket> | undefined;
  #socket: ChannelSocket | undefined;
  readonly #onClose: () => void;
  #isClosed = false;

  /**
   * @param connect Opens a connection to the channel.
   * @param onClose Called when `close` is.
   */
  constructor(connect: () => Promise<ChannelSocket>, onClose: () => void) {
    this.#connect = connect;
    this.#onClose = onClose;
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

  /** Resolves when the connection is closed, also one that is only being opened. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#onClose();
    const opening = this.#opening;
    const socket = this.#socket ?? (await opening?.catch(() => undefined));
    await socket?.close();
  }

  #use<Result>(signal: AbortSignal | undefined, call: (socket: ChannelSocket) => Promise<Result>): Promise<Result> {
    if (this.#isClosed) return Promise.reject(EdgeChannelError.closed("not-applied"));
    if (this.#socket?.isOpen === true) return call(this.#socket);
    if (signal?.aborted === true) return Promise.reject(EdgeChannelError.aborted("Cannot connect", signal));
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    // A call that is aborted meanwhile is not sent any more: the socket refuses it.
    const onAbort = (): void => reject(EdgeChannelError.aborted("Cannot connect", signal));
    signal?.addEventListener("abort", onAbort);
    const release = (): void => signal?.removeEventListener("abort", onAbort);
    void this.#open()
      .then((socket) => {
        release();
        if (this.#isClosed) throw EdgeChannelError.closed("not-applied");
        return call(socket);
      })
      .then(resolve, (error: unknown) => {
        release();
        reject(error);
      });
    return promise;
  }

  /** The connection that is being opened, or a new one. Whoever waits for it is served in order, and before whoever comes later. */
  #open(): Promise<ChannelSocket> {
    if (this.#opening !== undefined) return this.#opening;
    const opening = this.#connect();
    this.#opening = opening;
    this.#socket = undefined;
    const finish = (socket?: ChannelSocket): void => {
      this.#socket = socket;
      this.#opening = undefined;
    };
    opening.then(finish, () => finish());
    return opening;
  }
}
