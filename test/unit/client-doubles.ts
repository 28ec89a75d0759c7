// What stands for the platform under the client: a socket, timers and a service that a test drives by hand.
import { assert } from "vitest";
import { EdgeChannel, type EdgeChannelOptions } from "../../src/client/edge-channel.ts";
import { EdgeChannelError } from "../../src/client/edge-channel-error.ts";
import { loadBlockCodec } from "../../src/client/load-block-codec.ts";
import type { WebSocketLike } from "../../src/client/open-socket.ts";
import type { StartTimer } from "../../src/client/timers.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { SUBPROTOCOL_BIN, SUBPROTOCOL_JSON } from "../../src/protocol/version.ts";
import { readPutFrame } from "../binary-frames.ts";

type Frame = Readonly<Record<string, unknown>>;
type Listener = (event: { data: unknown; code: number; reason: string }) => void;

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

  send(data: string | ArrayBuffer): void {
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

export const STATE = { depth: 1, bytes: 5, utilization: 0.1, waiters: 0 };

/** A channel over sockets that the test drives by hand. */
export function openChannel(options: EdgeChannelOptions = {}) {
  FakeWebSocket.reset();
  const client = EdgeChannel.connect("http://service.test", { transport: "socket", WebSocket: FakeWebSocket, ...options });
  return { client, channel: client.channel("c") };
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
  socket.open();
  socket.receive({ type: "welcome", version: 1, versions: [1], channel: "c", connection: 1 });
  // Where it speaks binary, the greeting is over when that is loaded.
  await loadBlockCodec();
  await settleDown();
}

/** Lets all that is due now happen. */
export async function settleDown(): Promise<void> {
  await new Promise(setImmediate);
}

/** Timers that go off when the test says so. */
/** That of a connection which is open. */
export const KEEP_ALIVE_TIMERS = 1;

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

export async function errorOf(promise: Promise<unknown>): Promise<EdgeChannelError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof EdgeChannelError, `Expected an EdgeChannelError but got ${String(error)}`);
  return error;
}

/** Whether the promise has settled, after all that is due now has run. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = (): void => void (settled = true);
  promise.then(settle, settle);
  await new Promise(setImmediate);
  return settled;
}

/** Timers that go off before anybody waits for them. */
export const goOffAtOnce: StartTimer = (callback) => {
  callback();
  return () => undefined;
};

/** A request as the service would get it. */
export interface SentRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Parsed if it is text. */
  readonly body: unknown;
  readonly redirect: string | undefined;
}

/** Answers one request; `signal` is that of the request. */
export type Answer = (signal: AbortSignal | undefined) => Response | Promise<Response>;

/** A service that gives the answers that the test has written, in their order, and keeps what it was sent. */
export class FakeService {
  readonly sent: SentRequest[] = [];
  readonly #answers: Answer[];

  constructor(...answers: Answer[]) {
    this.#answers = answers;
  }

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const { method = "GET", headers, body, redirect, signal } = init;
    const parsed: unknown = typeof body === "string" ? JSON.parse(body) : body;
    this.sent.push({ method, url, headers: headers as Record<string, string>, body: parsed, redirect });
    const answer = this.#answers.shift();
    assert(answer !== undefined, `Nothing is written for ${method} ${url}`);
    return answer(signal ?? undefined);
  };
}

export function replyJson(body: object, status = 200): Answer {
  return () => Response.json(body, { status });
}

export function replyProblem(refusal: Refusal): Answer {
  const problem = formatProblem(refusal);
  return () =>
    new Response(JSON.stringify(problem), {
      status: problem.status,
      headers: { "Content-Type": "application/problem+json" },
    });
}

/** What a proxy in between says. */
export function replyPage(status: number, headers: Readonly<Record<string, string>> = {}): Answer {
  return () => new Response("<html>Bad gateway</html>", { status, headers: { "Content-Type": "text/html", ...headers } });
}

/** A problem that ends before it says what it is. */
export const cutOff: Answer = () =>
  new Response('{"kind":', { status: 503, headers: { "Content-Type": "application/problem+json" } });

/** A reply that begins well. */
export const breakOff: Answer = () => {
  const body = new ReadableStream({ start: (stream) => stream.error(new TypeError("terminated")) });
  return new Response(body, { headers: { "Content-Type": "application/json" } });
};

export const failOnTheWay: Answer = () => Promise.reject(new TypeError("fetch failed"));

/** No answer, until the request is aborted. */
export const neverAnswer: Answer = (signal) =>
  new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(new DOMException("This operation was aborted", "AbortError")));
  });
