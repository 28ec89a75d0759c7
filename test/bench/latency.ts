// How long a message takes from one socket to a reader that waits on another, in a closed loop: one message on its way at a time.
import type { WebSocket } from "ws";
import { getFrames, putFrames, readAnswer, TEXT_1_KB } from "./product.ts";
import { formatFrame } from "./ws-load.ts";

const STALL_TIMEOUT_MS = 15_000;
const WAIT_MS = 10_000;

const putFrame = putFrames(TEXT_1_KB);
const getFrame = getFrames(1, WAIT_MS);

interface Times {
  readonly warmUpMs: number;
  readonly durationMs: number;
}

/** From the sending of a put until the get that waits on the other socket has its message, for each loop after the warm-up. */
export async function measurePutToWaitingGet(putter: WebSocket, getter: WebSocket, times: Times): Promise<readonly number[]> {
  const loop = new Loop(putter, getter, times);
  const stall = setTimeout(() => loop.fail(new Error("Cannot measure: a loop did not end")), totalMs(times) + STALL_TIMEOUT_MS);
  try {
    return await loop.run();
  } finally {
    clearTimeout(stall);
    for (const socket of [putter, getter]) socket.removeAllListeners("message").removeAllListeners("close");
  }
}

function totalMs(times: Times): number {
  return times.warmUpMs + times.durationMs;
}

/** One loop: get, "wait" (so the get is known to wait), put, and then both the got frame and the put's own answer. */
class Loop {
  readonly #putter: WebSocket;
  readonly #getter: WebSocket;
  readonly #times: Times;
  readonly #startedAtMs = performance.now();
  readonly #latenciesMs: number[] = [];
  readonly #done = Promise.withResolvers<readonly number[]>();
  #id = 0;
  #sentAtMs = 0;
  #answersMissing = 0;

  constructor(putter: WebSocket, getter: WebSocket, times: Times) {
    this.#putter = putter;
    this.#getter = getter;
    this.#times = times;
  }

  async run(): Promise<readonly number[]> {
    this.#listen(this.#putter, (frame) => {
      this.#check(frame, "put-ok");
      this.#endPart();
    });
    this.#listen(this.#getter, (frame, nowMs) => {
      if (this.#answersMissing === 0) {
        this.#check(frame, "wait");
        this.#put();
        return;
      }
      this.#check(frame, "got");
      if (this.#sentAtMs - this.#startedAtMs > this.#times.warmUpMs) this.#latenciesMs.push(nowMs - this.#sentAtMs);
      this.#endPart();
    });
    this.#get();
    return await this.#done.promise;
  }

  fail(error: unknown): void {
    this.#done.reject(error);
  }

  #listen(socket: WebSocket, onFrame: (frame: Buffer, nowMs: number) => void): void {
    socket.on("message", (frame: Buffer) => {
      const nowMs = performance.now();
      try {
        onFrame(frame, nowMs);
      } catch (error) {
        this.fail(error);
      }
    });
    socket.on("close", (code: number) => this.fail(new Error(`The server closed the socket: ${code}`)));
  }

  #get(): void {
    this.#id += 1;
    this.#getter.send(getFrame(this.#id));
  }

  #put(): void {
    this.#answersMissing = 2;
    const frame = putFrame(this.#id);
    this.#sentAtMs = performance.now();
    this.#putter.send(frame);
  }

  #check(frame: Buffer, type: "put-ok" | "wait" | "got"): void {
    const { id, messages } = readAnswer(frame, type);
    if (id !== this.#id) throw new Error(`Expected the answer to ${this.#id}, got ${formatFrame(frame)}`);
    if (type === "got" && messages?.length !== 1) throw new Error(`Expected one message, got ${formatFrame(frame)}`);
  }

  #endPart(): void {
    this.#answersMissing -= 1;
    if (this.#answersMissing > 0) return;
    if (performance.now() - this.#startedAtMs > totalMs(this.#times)) this.#done.resolve(this.#latenciesMs);
    else this.#get();
  }
}
