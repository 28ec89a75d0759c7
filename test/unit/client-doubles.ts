// What stands for the platform under the client: a socket and timers that a test drives by hand.
import { assert } from "vitest";
import { EdgeChannelError } from "../../src/client/edge-channel-error.ts";
import type { WebSocketLike } from "../../src/client/open-socket.ts";
import type { StartTimer } from "../../src/client/timers.ts";

type Frame = Readonly<Record<string, unknown>>;
type Listener = (event: { data: unknown; code: number; reason: string }) => void;

export class FakeWebSocket implements WebSocketLike {
  static last: FakeWebSocket | undefined;
  readonly url: string;
  readonly protocol: string;
  readonly sent: Frame[] = [];
  readonly #listeners = new Map<string, Listener>();
  readyState = 0;

  constructor(url: string, protocol: string) {
    this.url = url;
    this.protocol = protocol;
    FakeWebSocket.last = this;
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, listener);
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data) as Frame);
  }

  close(): void {
    this.readyState = 2;
  }

  open(): void {
    this.readyState = 1;
    this.#emit("open", {});
  }

  receive(frame: unknown): void {
    this.#emit("message", { data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  end(code: number, reason = ""): void {
    this.readyState = 3;
    this.#emit("close", { code, reason });
  }

  #emit(type: string, event: object): void {
    this.#listeners.get(type)?.({ data: undefined, code: 0, reason: "", ...event });
  }
}

/** Timers that go off when the test says so. */
export class FakeTimers {
  readonly #running = new Set<() => void>();
  readonly delaysMs: number[] = [];

  readonly start: StartTimer = (callback, delayMs) => {
    this.delaysMs.push(delayMs);
    this.#running.add(callback);
    return () => this.#running.delete(callback);
  };

  get count(): number {
    return this.#running.size;
  }

  fire(): void {
    for (const callback of this.#running) callback();
    this.#running.clear();
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
