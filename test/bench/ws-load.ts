// A load client over WebSocket: a fixed window of outstanding requests on each of N sockets, and the rate of the answers.
// It knows no protocol: a driver encodes request `index` and says which request a frame answers.
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";

/** How the server asks whether its frames are read. */
const ECHO = Buffer.from('{"type":"echo"');
const OPEN_TIMEOUT_MS = 10_000;
const STALL_TIMEOUT_MS = 15_000;

export interface Driver {
  readonly subprotocol?: string;
  /** Sent first on each socket; `checkGreeting` throws when the first frame back is not a welcome. */
  readonly greeting?: { readonly frame: string; check(answer: Buffer): void };
  /** Requests of one socket are numbered from 1. */
  request(index: number): string | Uint8Array;
  /** The numbers of the requests that the frame answers, or "oldest" where the order tells. Throws when it is no good answer. */
  answered(frame: Buffer): readonly number[] | "oldest";
}

export interface LoadOptions {
  readonly sockets: readonly WebSocket[];
  readonly driver: Driver;
  /** Outstanding requests on each socket. */
  readonly window: number;
  /** Answers before this time are not counted. */
  readonly warmUpMs: number;
  readonly durationMs: number;
  /** Ends earlier, when so many requests were answered over all sockets. There is no warm-up then. */
  readonly requestsMax?: number;
}

export interface LoadResult {
  /** Answers within the counted time. */
  readonly answers: number;
  readonly elapsedMs: number;
  /** With the warm-up and what was outstanding at the end. */
  readonly answersInAll: number;
  /** Of the counted answers, from send to arrival. */
  readonly latenciesMs: readonly number[];
}

export async function openSockets(
  url: string,
  count: number,
  driver: Driver,
  headers: Readonly<Record<string, string>> = {},
): Promise<WebSocket[]> {
  return await Promise.all(Array.from({ length: count }, () => openSocket(url, driver, headers)));
}

async function openSocket(url: string, driver: Driver, headers: Readonly<Record<string, string>>): Promise<WebSocket> {
  const socket = new WebSocket(url, driver.subprotocol, { headers, perMessageDeflate: false, handshakeTimeout: OPEN_TIMEOUT_MS });
  await once(socket, "open");
  // A broken connection says "error" and then "close", which fails the load; "error" without a listener would end the process.
  socket.on("error", () => undefined);
  if (driver.greeting !== undefined) {
    socket.send(driver.greeting.frame);
    const [answer] = (await once(socket, "message", { signal: AbortSignal.timeout(OPEN_TIMEOUT_MS) })) as [Buffer];
    driver.greeting.check(answer);
  }
  return socket;
}

export async function closeSockets(sockets: readonly WebSocket[]): Promise<void> {
  const closed = sockets.filter((socket) => socket.readyState !== WebSocket.CLOSED).map((socket) => once(socket, "close"));
  for (const socket of sockets) socket.close();
  const abort = new AbortController();
  await Promise.race([Promise.all(closed), delay(2_000, undefined, { signal: abort.signal }).catch(() => undefined)]);
  abort.abort();
  for (const socket of sockets) socket.terminate();
}

/** Calls `listener` with each frame that comes, but sends back those that ask whether frames are read, as every client has to. */
export function onFrame(socket: WebSocket, listener: (frame: Buffer) => void): void {
  socket.on("message", (frame: Buffer) => {
    if (frame.subarray(0, ECHO.length).equals(ECHO)) socket.send(frame.toString());
    else listener(frame);
  });
}

/** Sends `text` and gives the next frame back. For a question between two loads, when nothing is outstanding. */
export async function ask(socket: WebSocket, text: string): Promise<Buffer> {
  const answer = once(socket, "message", { signal: AbortSignal.timeout(STALL_TIMEOUT_MS) }) as Promise<[Buffer]>;
  socket.send(text);
  return (await answer)[0];
}

/**
 * Every socket sends its next request when an answer frees a place in its window. When the time is over nothing more is sent, and
 * the load resolves after the last answer, so that the next one starts on a quiet server. A refusal, a closed socket or a stall
 * rejects.
 */
export async function runWsLoad(options: LoadOptions): Promise<LoadResult> {
  const load = new Load(options);
  try {
    return await load.run();
  } finally {
    for (const socket of options.sockets) socket.removeAllListeners("message").removeAllListeners("close");
  }
}

class Load {
  readonly #options: LoadOptions;
  readonly #failed = Promise.withResolvers<never>();
  readonly #idle = Promise.withResolvers<void>();
  readonly #full = Promise.withResolvers<void>();
  #isSending = true;
  #isCounting: boolean;
  #sent = 0;
  #answers = 0;
  #answersInAll = 0;
  #latenciesMs: number[] = [];

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#isCounting = options.warmUpMs === 0 || options.requestsMax !== undefined;
    for (const socket of options.sockets) this.#attach(socket);
  }

  async run(): Promise<LoadResult> {
    const { warmUpMs, durationMs } = this.#options;
    const abort = new AbortController();
    const stallTimer = this.#watchForStall();
    try {
      if (!this.#isCounting) await Promise.race([this.#failed.promise, delay(warmUpMs)]);
      this.#isCounting = true;
      const startedAtMs = performance.now();
      const timeOver = delay(durationMs, undefined, { signal: abort.signal }).catch(() => undefined);
      await Promise.race([this.#failed.promise, timeOver, this.#full.promise]);
      const elapsedMs = performance.now() - startedAtMs;
      this.#isCounting = false;
      this.#isSending = false;
      const answers = this.#answers;
      if (this.#answersInAll < this.#sent) await Promise.race([this.#failed.promise, this.#idle.promise]);
      if (answers === 0) throw new Error(`Cannot measure: nothing was answered in ${Math.round(elapsedMs)} ms`);
      return { answers, elapsedMs, answersInAll: this.#answersInAll, latenciesMs: this.#latenciesMs };
    } finally {
      abort.abort();
      clearInterval(stallTimer);
    }
  }

  #watchForStall(): NodeJS.Timeout {
    let answersBefore = this.#answersInAll;
    return setInterval(() => {
      if (this.#answersInAll === answersBefore) {
        const missing = this.#sent - this.#answersInAll;
        this.#failed.reject(
          new Error(`Cannot measure: ${missing} of ${this.#sent} requests got no answer in ${STALL_TIMEOUT_MS} ms`),
        );
      }
      answersBefore = this.#answersInAll;
    }, STALL_TIMEOUT_MS);
  }

  #attach(socket: WebSocket): void {
    const { driver, window, requestsMax = Number.POSITIVE_INFINITY } = this.#options;
    // A map keeps the order of insertion, so its first entry is the oldest request.
    const sentAtMs = new Map<number, number>();
    let index = 0;
    const sendNext = (): void => {
      if (!this.#isSending || this.#sent >= requestsMax) return;
      index += 1;
      this.#sent += 1;
      const frame = driver.request(index);
      sentAtMs.set(index, performance.now());
      socket.send(frame);
    };
    onFrame(socket, (frame) => {
      const nowMs = performance.now();
      try {
        const answered = driver.answered(frame);
        const keys = answered === "oldest" ? firstOf(sentAtMs) : answered;
        for (const key of keys) {
          const requestSentAtMs = sentAtMs.get(key);
          if (requestSentAtMs === undefined) throw new Error(`Cannot match an answer: ${formatFrame(frame)}`);
          sentAtMs.delete(key);
          this.#count(nowMs - requestSentAtMs);
          sendNext();
        }
      } catch (error) {
        this.#failed.reject(error);
      }
    });
    socket.on("close", (code: number, reason: Buffer) => {
      this.#failed.reject(new Error(`The server closed the socket: ${code} ${reason.toString()}`));
    });
    for (let place = 0; place < window; place += 1) sendNext();
  }

  #count(latencyMs: number): void {
    this.#answersInAll += 1;
    if (this.#isCounting) {
      this.#answers += 1;
      this.#latenciesMs.push(latencyMs);
    }
    if (this.#answersInAll === this.#options.requestsMax) this.#full.resolve();
    if (!this.#isSending && this.#answersInAll === this.#sent) this.#idle.resolve();
  }
}

function firstOf(requests: ReadonlyMap<number, unknown>): readonly number[] {
  for (const key of requests.keys()) return [key];
  throw new Error("Cannot match an answer: nothing is outstanding");
}

export function formatFrame(frame: Buffer): string {
  const text = frame.toString("utf8", 0, 300);
  return frame.length > 300 ? `${text}… (${frame.length} bytes)` : text;
}
