// Many readers of what one socket puts: a window of messages on their way to all of them, and the rate of the deliveries.
import { setTimeout as delay } from "node:timers/promises";
import type { WebSocket } from "ws";
import { onFrame } from "./ws-load.ts";

const STALL_TIMEOUT_MS = 15_000;
const ONE_BY_ONE_TIMEOUT_MS = 120_000;

export interface FanOutLoadOptions {
  readonly putter: WebSocket;
  readonly readers: readonly WebSocket[];
  readonly putFrame: (index: number) => string | Uint8Array;
  /** How many messages a frame brings to reader `reader`; it may answer. Throws when it is no good frame. */
  readonly countMessages: (frame: Buffer, reader: number) => number;
  /** Messages that were put and have not come to every reader. */
  readonly window: number;
}

export interface FanOutOptions extends FanOutLoadOptions {
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
    leave([putter, ...readers]);
  }
}

/** Puts so many messages, each when the one before it has come to all readers: each is a commit of its own. Resolves when all have come. */
export async function putOneByOne(options: Omit<FanOutLoadOptions, "window">, puts: number): Promise<void> {
  const load = new FanOutLoad({ ...options, window: 1 }, puts);
  const stall = setTimeout(() => load.fail(new Error("Cannot measure: deliveries are missing")), ONE_BY_ONE_TIMEOUT_MS);
  try {
    await load.finish();
  } finally {
    clearTimeout(stall);
    leave([options.putter, ...options.readers]);
  }
}

function leave(sockets: readonly WebSocket[]): void {
  for (const socket of sockets) socket.removeAllListeners("message").removeAllListeners("close");
}

class FanOutLoad {
  deliveries = 0;
  readonly #options: FanOutLoadOptions;
  readonly #failed = Promise.withResolvers<never>();
  readonly #idle = Promise.withResolvers<void>();
  #puts = 0;
  #putsMax: number;

  constructor(options: FanOutLoadOptions, putsMax = Number.POSITIVE_INFINITY) {
    this.#options = options;
    this.#putsMax = putsMax;
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
    this.#putsMax = this.#puts;
    await this.finish();
  }

  /** Until all that is to be put has come to all. */
  async finish(): Promise<void> {
    if (!this.#isDone) await Promise.race([this.#idle.promise, this.#failed.promise]);
  }

  fail(error: unknown): void {
    this.#failed.reject(error);
  }

  get #missing(): number {
    return this.#puts * this.#options.readers.length - this.deliveries;
  }

  get #isDone(): boolean {
    return this.#puts >= this.#putsMax && this.#missing === 0;
  }

  #receive(frame: Buffer, reader: number): void {
    try {
      this.deliveries += this.#options.countMessages(frame, reader);
      this.#putMore();
      if (this.#isDone) this.#idle.resolve();
    } catch (error) {
      this.fail(error);
    }
  }

  #putMore(): void {
    const { putter, readers, putFrame, window } = this.#options;
    while (this.#puts < this.#putsMax && this.#missing <= (window - 1) * readers.length) putter.send(putFrame(++this.#puts));
  }
}
