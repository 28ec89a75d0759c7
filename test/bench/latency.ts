// How long a message takes from one socket to a reader on another, in a closed loop: one message on its way at a time.
import type { WebSocket } from "ws";
import { getFrames, putFrames, readAnswer, TEXT_1_KB } from "./product.ts";
import { ask, formatFrame, onFrame } from "./ws-load.ts";

const STALL_TIMEOUT_MS = 15_000;
const WAIT_MS = 10_000;
/** Granted at once, so that credit is not what is measured. */
const CREDIT = 10_000;
const CREDIT_INTERVAL = 1_000;
const SUBSCRIPTION = 0;

const putFrame = putFrames(TEXT_1_KB);
const getFrame = getFrames(1, WAIT_MS);

export interface Times {
  readonly warmUpMs: number;
  readonly durationMs: number;
}

/** From the sending of a put until the get that waits on the other socket has its message, for each loop after the warm-up. */
export async function measurePutToWaitingGet(putter: WebSocket, getter: WebSocket, times: Times): Promise<readonly number[]> {
  return await measure(new GetLoop(putter, getter, times), totalMs(times));
}

/** From the sending of a put until the reader that subscribed to the log on the other socket has its message. */
export async function measurePutToSubscriber(putter: WebSocket, reader: WebSocket, times: Times): Promise<readonly number[]> {
  const credit = { messages: CREDIT };
  const subscribe = { type: "subscribe", id: SUBSCRIPTION, from: { at: "last" }, credit };
  readAnswer(await ask(reader, JSON.stringify(subscribe)), "subscribed");
  return await measure(new StreamLoop(putter, reader, times), totalMs(times));
}

async function measure(loop: Loop, durationMs: number): Promise<readonly number[]> {
  const stall = setTimeout(() => loop.fail(new Error("Cannot measure: a loop did not end")), durationMs + STALL_TIMEOUT_MS);
  try {
    return await loop.run();
  } finally {
    clearTimeout(stall);
    loop.detach();
  }
}

function totalMs(times: Times): number {
  return times.warmUpMs + times.durationMs;
}

/** Puts when the reader is ready, and goes on when both the message and the put's own answer have come. */
abstract class Loop {
  protected readonly reader: WebSocket;
  readonly #putter: WebSocket;
  readonly #times: Times;
  readonly #startedAtMs = performance.now();
  readonly #latenciesMs: number[] = [];
  readonly #done = Promise.withResolvers<readonly number[]>();
  /** Of the put, from 1. */
  protected id = 0;
  #sentAtMs = 0;
  #answersMissing = 0;

  constructor(putter: WebSocket, reader: WebSocket, times: Times) {
    this.#putter = putter;
    this.reader = reader;
    this.#times = times;
  }

  /** Makes the reader ready for the message of put `id`. */
  protected abstract prepare(): void;
  /** What a frame that came to the reader is; throws when it is none that may come. `isAwaited`: whether the message was put. */
  protected abstract read(frame: Buffer, isAwaited: boolean): "message" | "ready";

  async run(): Promise<readonly number[]> {
    this.#listen(this.#putter, (frame) => {
      checkId(frame, "put-ok", this.id);
      this.#endPart();
    });
    this.#listen(this.reader, (frame, nowMs) => {
      if (this.read(frame, this.#answersMissing > 0) === "ready") {
        this.put();
        return;
      }
      if (this.#sentAtMs - this.#startedAtMs > this.#times.warmUpMs) this.#latenciesMs.push(nowMs - this.#sentAtMs);
      this.#endPart();
    });
    this.#begin();
    return await this.#done.promise;
  }

  fail(error: unknown): void {
    this.#done.reject(error);
  }

  detach(): void {
    for (const socket of [this.#putter, this.reader]) socket.removeAllListeners("message").removeAllListeners("close");
  }

  protected put(): void {
    this.#answersMissing = 2;
    const frame = putFrame(this.id);
    this.#sentAtMs = performance.now();
    this.#putter.send(frame);
  }

  #listen(socket: WebSocket, listener: (frame: Buffer, nowMs: number) => void): void {
    onFrame(socket, (frame) => {
      const nowMs = performance.now();
      try {
        listener(frame, nowMs);
      } catch (error) {
        this.fail(error);
      }
    });
    socket.on("close", (code: number) => this.fail(new Error(`The server closed the socket: ${code}`)));
  }

  #begin(): void {
    this.id += 1;
    this.prepare();
  }

  #endPart(): void {
    this.#answersMissing -= 1;
    if (this.#answersMissing > 0) return;
    if (performance.now() - this.#startedAtMs > totalMs(this.#times)) this.#done.resolve(this.#latenciesMs);
    else this.#begin();
  }
}

/** Get, "wait" (so the get is known to wait), put, got. */
class GetLoop extends Loop {
  protected prepare(): void {
    this.reader.send(getFrame(this.id));
  }

  protected read(frame: Buffer, isAwaited: boolean): "message" | "ready" {
    const messages = checkId(frame, isAwaited ? "got" : "wait", this.id);
    if (isAwaited) checkOne(frame, messages);
    return isAwaited ? "message" : "ready";
  }
}

/** Put, delivered. */
class StreamLoop extends Loop {
  protected prepare(): void {
    if (this.id % CREDIT_INTERVAL === 0) {
      this.reader.send(JSON.stringify({ type: "credit", id: SUBSCRIPTION, messages: CREDIT_INTERVAL }));
    }
    this.put();
  }

  protected read(frame: Buffer): "message" {
    checkOne(frame, checkId(frame, "deliver", SUBSCRIPTION));
    return "message";
  }
}

function checkId(frame: Buffer, type: "put-ok" | "wait" | "got" | "deliver", expected: number): readonly unknown[] | undefined {
  const { id, messages } = readAnswer(frame, type);
  if (id !== expected) throw new Error(`Expected the answer to ${expected}, got ${formatFrame(frame)}`);
  return messages;
}

function checkOne(frame: Buffer, messages: readonly unknown[] | undefined): void {
  if (messages?.length !== 1) throw new Error(`Expected one message, got ${formatFrame(frame)}`);
}
