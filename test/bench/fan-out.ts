// Many readers of what one socket puts: a window of messages on their way to all of them, and the rate of the deliveries.
import { setTimeout as delay } from "node:timers/promises";
import type { WebSocket } from "ws";
import { onFrame } from "./ws-load.ts";

const STALL_TIMEOUT_MS = 15_000;

export interface FanOutOptions {
  readonly putter: WebSocket;
  readonly readers: readonly WebSocket[];
  readonly putFrame: (index: number) => string | Uint8Array;
  /** How many messages a frame brings to reader `reader`; it may answer. Throws when it is no good frame. */
  readonly countMessages: (frame: Buffer, reader: number) => number;
  /** Messages that were put and have not come to every reader. */
  readonly window: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
}

/** Deliveries a second. Puts when all readers together have got so much that the window has room, and ends when they have got all. */
export async function measureFanOut(options: FanOutOptions): Promise<number> {
  const { putter, readers, warmUpMs, durationMs } = options;
  const load = new FanOutLoad(options);
  const stall = setTimeout(
    () => load.fail(new Error("Cannot measure: deliveries are missing")),
    warmUpMs + durationMs + STALL_TIMEOUT_MS,
  );
  try {
    await load.run(warmUpMs);
    const [before, startedAtMs] = [load.deliveries, performance.now()];
    await load.run(durationMs);
    const ratePerS = ((load.deliveries - before) * 1_000) / (performance.now() - startedAtMs);
    await load.stop();
    return ratePerS;
  } finally {
    clearTimeout(stall);
    for (const socket of [putter, ...readers]) socket.removeAllListeners("message").removeAllListeners("close");
  }
}

class FanOutLoad {
  deliveries = 0;
  readonly #options: FanOutOptions;
  readonly #failed = Promise.withResolvers<never>();
  readonly #idle = Promise.withResolvers<void>();
  #puts = 0;
  #isPutting = true;

  constructor(options: FanOutOptions) {
    this.#options = options;
    for (const [index, reader] of options.readers.entries()) {
      onFrame(reader, (frame) => this.#receive(frame, index));
      reader.on("close", (code: number) => this.fail(new Error(`The server closed the socket of a reader: ${code}`)));
    }
    this.#putMore();
  }

  async run(durationMs: number): Promise<void> {
    await Promise.race([delay(durationMs), this.#failed.promise]);
  }

  async stop(): Promise<void> {
    this.#isPutting = false;
    if (this.#missing > 0) await Promise.race([this.#idle.promise, this.#failed.promise]);
  }

  fail(error: unknown): void {
    this.#failed.reject(error);
  }

  get #missing(): number {
    return this.#puts * this.#options.readers.length - this.deliveries;
  }

  #receive(frame: Buffer, reader: number): void {
    try {
      this.deliveries += this.#options.countMessages(frame, reader);
      if (this.#isPutting) this.#putMore();
      else if (this.#missing === 0) this.#idle.resolve();
    } catch (error) {
      this.fail(error);
    }
  }

  #putMore(): void {
    const { putter, readers, putFrame, window } = this.#options;
    while (this.#missing <= (window - 1) * readers.length) putter.send(putFrame(++this.#puts));
  }
}
