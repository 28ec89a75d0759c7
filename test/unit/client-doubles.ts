// What stands for the platform under the client: sockets and timers that a test drives by hand.
import { assert } from "vitest";
import { EdgeChannel, type EdgeChannelOptions } from "../../src/client/edge-channel.ts";
import { loadBlockCodec } from "../../src/client/load-block-codec.ts";
import type { WebSocketLike } from "../../src/client/open-socket.ts";
import type { StartTimer } from "../../src/client/timers.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { SUBPROTOCOL_BIN, SUBPROTOCOL_JSON } from "../../src/protocol/version.ts";
import { readPutFrame } from "../binary-frames.ts";

type Frame = Readonly<Record<string, unknown>>;
type Listener = (event: { data: unknown; code: number; reason: string }) => void;

export const STATE = { depth: 1, bytes: 5, utilization: 0.1, waiters: 0 };
export const WELCOME = { type: "welcome", version: 1, versions: [1], channel: "c", connection: 1 };
/** What a message has beside its body where nothing was said about it. */
export const TEXT_FACTS = { putAtMs: 1, contentType: "text/plain; charset=utf-8" };
export const FIRST_ATTEMPT = { attempt: 1, redelivered: false };
/** What a settle call answers, where the number of each verb does not matter. */
export const SETTLED = { acked: 0, retried: 0, extended: 0, rejected: 0, released: 0, refused: [], state: STATE };
/** Timers that run while a connection is open. */
export const KEEP_ALIVE_TIMERS = 1;
/** The first pause before another try, halfway into its spread. */
const FIRST_PAUSE_MS = 50;

export class FakeWebSocket implements WebSocketLike {
  static last: FakeWebSocket | undefined;
  static #first = Promise.withResolvers<FakeWebSocket>();
  readonly url: string;
  readonly protocols: readonly string[];
  /** What this server speaks. */
  readonly protocol: string = SUBPROTOCOL_JSON;
  binaryType = "blob";
  readonly sent: Frame[] = [];
  readonly #listeners = new Map<string, Listener>();
  readyState = 0;

  constructor(url: string, protocols: readonly string[]) {
    this.url = url;
    this.protocols = protocols;
    FakeWebSocket.last = this;
    FakeWebSocket.#first.resolve(this);
  }

  /** Forgets those of other tests. */
  static reset(): void {
    FakeWebSocket.last = undefined;
    FakeWebSocket.#first = Promise.withResolvers();
  }

  /** The first one of the test, once it is opened. */
  static get first(): Promise<FakeWebSocket> {
    return FakeWebSocket.#first.promise;
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, listener);
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.sent.push(typeof data === "string" ? (JSON.parse(data) as Frame) : readPutFrame(data));
  }

  close(): void {
    this.readyState = 2;
  }

  open(): void {
    this.readyState = 1;
    this.#emit("open", {});
  }

  receive(frame: unknown): void {
    const isData = typeof frame === "string" || frame instanceof ArrayBuffer;
    this.#emit("message", { data: isData ? frame : JSON.stringify(frame) });
  }

  /** Opens, and the server greets. */
  welcome(): void {
    this.open();
    this.receive(WELCOME);
  }

  /** The server has put what the request `id` asked for. */
  store(id: number, offset: number, count = 1): void {
    this.receive({ type: "put-ok", id, offset, count, state: STATE });
  }

  refuse(inReplyTo: number, refusal: Refusal): void {
    this.receive({ type: "problem", inReplyTo, problem: formatProblem(refusal) });
  }

  /** The server ends what goes on under `id`: a subscription or a watch. */
  endStream(id: number, refusal: Refusal): void {
    this.receive({ type: "ended", id, problem: formatProblem(refusal) });
  }

  end(code: number, reason = ""): void {
    this.readyState = 3;
    this.#emit("close", { code, reason });
  }

  #emit(type: string, event: object): void {
    this.#listeners.get(type)?.({ data: undefined, code: 0, reason: "", ...event });
  }
}

/** Of a server that speaks binary. */
export class BinarySocket extends FakeWebSocket {
  override readonly protocol = SUBPROTOCOL_BIN;
}

/** A channel over sockets that the test drives by hand. Asked over HTTP why one did not open, nobody answers. */
export function openChannel(options: EdgeChannelOptions = {}) {
  FakeWebSocket.reset();
  const platform = { WebSocket: FakeWebSocket, fetch: () => Promise.reject(new TypeError("fetch failed")) };
  const client = EdgeChannel.connect("http://service.test", { transport: "socket", ...platform, ...options });
  return { client, channel: client.channel("c") };
}

/** The same with timers that go off when the test says so, and pauses in the middle of their spread. */
export function openTimedChannel(options: EdgeChannelOptions = {}) {
  const timers = new FakeTimers();
  return { ...openChannel({ startTimer: timers.start, random: () => 0.5, ...options }), timers };
}

export function lastSocket(): FakeWebSocket {
  assert(FakeWebSocket.last !== undefined, "No socket was opened");
  return FakeWebSocket.last;
}

/** The first socket, which a consumer or a producer opens when what it does is loaded. */
export function firstSocket(): Promise<FakeWebSocket> {
  return FakeWebSocket.first;
}

/** Lets a socket open, and all that is due with it happen. */
export async function greet(socket: FakeWebSocket): Promise<void> {
  socket.welcome();
  // Where it speaks binary, the greeting is over when that is loaded.
  await loadBlockCodec();
  await settleDown();
}

/** Ends the last connection as a network does that is gone. */
export async function loseConnection(): Promise<void> {
  lastSocket().end(1006);
  await settleDown();
}

/** Lets the client begin another connection, after its first pause. */
export async function passFirstPause(timers: FakeTimers): Promise<void> {
  timers.fire(FIRST_PAUSE_MS);
  await settleDown();
}

/** Loses the connection and makes the next one. */
export async function reconnect(timers: FakeTimers): Promise<void> {
  await loseConnection();
  await passFirstPause(timers);
  await greet(lastSocket());
}

/** Lets all that is due now happen. */
export async function settleDown(): Promise<void> {
  await new Promise(setImmediate);
}

/** Timers that go off when the test says so. */
export class FakeTimers {
  readonly #running = new Map<() => void, number>();
  readonly delaysMs: number[] = [];

  readonly start: StartTimer = (callback, delayMs) => {
    this.delaysMs.push(delayMs);
    this.#running.set(callback, delayMs);
    return () => this.#running.delete(callback);
  };

  get count(): number {
    return this.#running.size;
  }

  /** Lets those go off that run now, or those of them that were started for this delay. */
  fire(delayMs?: number): void {
    // Those that are started meanwhile wait for the next time.
    const running = [...this.#running];
    for (const [callback, itsMs] of running) {
      const isMeant = delayMs === undefined || delayMs === itsMs;
      if (isMeant && this.#running.delete(callback)) callback();
    }
  }
}

/** Whether the promise has settled, after all that is due now has run. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = (): void => void (settled = true);
  promise.then(settle, settle);
  await settleDown();
  return settled;
}

/** Timers that go off before anybody waits for them. */
export const goOffAtOnce: StartTimer = (callback) => {
  callback();
  return () => undefined;
};

type HeldCall = PromiseWithResolvers<void> & { readonly signal: AbortSignal };

/** Calls of a handler that the test ends, by the name of what they work on. */
export class HeldCalls {
  readonly #calls = new Map<string, HeldCall>();

  /** Of those that are worked on, in the order in which they began. */
  get names(): string[] {
    return [...this.#calls.keys()];
  }

  hold(name: string, signal: AbortSignal): Promise<void> {
    const call = { ...Promise.withResolvers<void>(), signal };
    this.#calls.set(name, call);
    return call.promise.finally(() => this.#calls.delete(name));
  }

  get(name: string): HeldCall {
    const call = this.#calls.get(name);
    assert(call !== undefined, `${name} is not worked on`);
    return call;
  }

  async end(...names: readonly string[]): Promise<void> {
    for (const name of names) this.get(name).resolve();
    await settleDown();
  }
}
