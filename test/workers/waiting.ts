// Requests that wait, over sockets and as long polls.
import { expect, onTestFinished, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  call,
  type Frame,
  openSocket,
  pathOf,
  pull,
  type PulledJson,
  put,
  type PutJson,
  type Take,
  type TestSocket,
  textsOf,
  untilWaiting,
} from "./service.ts";

/** Longer than any test. */
export const LONG_MS = 60_000;

/** Sends a get that has to wait. */
export async function waitForMessages(socket: TestSocket, id: number, take: Take = {}): Promise<void> {
  expect(await socket.ask({ type: "get", id, waitMs: LONG_MS, ...take })).toEqual({ type: "wait", id });
}

/** Sends a put that has to wait. */
export async function waitForRoom(socket: TestSocket, id: number, texts: readonly string[]): Promise<void> {
  const messages = texts.map((text) => ({ text }));
  expect(await socket.ask({ type: "put-batch", id, messages, waitMs: LONG_MS })).toEqual({ type: "wait", id });
}

export function openSockets(channel: string, count: number): Promise<TestSocket[]> {
  return Promise.all(Array.from({ length: count }, () => openSocket(channel)));
}

export function textsIn(frame: Frame): string[] {
  expect(frame.type).toBe("got");
  return textsOf(frame.messages);
}

/** Asks for a long poll and resolves when it waits beside `waiters - 1` others. */
export async function startPull(channel: string, waiters: number, take: Take = {}): Promise<{ reply: Promise<PulledJson> }> {
  const reply = pull(channel, { waitMs: LONG_MS, ...take });
  await untilWaiting(channel, waiters);
  return { reply };
}

export async function startPut(channel: string, waiters: number, text: string): Promise<{ reply: Promise<PutJson> }> {
  const reply = put(channel, text, `?waitMs=${LONG_MS}`);
  await untilWaiting(channel, waiters);
  return { reply };
}

export function putReply(channel: string, waitMs: number): Promise<Response> {
  return call("POST", pathOf(channel, `/messages?waitMs=${waitMs}`), { body: "x" });
}

/** Keeps the timers that end promises from running by themselves: eviction would wait for them. Returns their callbacks. */
export function holdReservationTimers(): (() => void)[] {
  const held: (() => void)[] = [];
  const { setTimeout: startTimer } = globalThis;
  const hold = (callback: () => void, delayMs = 0): unknown =>
    delayMs > 1000 && delayMs <= LIMITS.reservationMs ? held.push(callback) : startTimer(callback, delayMs);
  const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(hold as typeof setTimeout);
  onTestFinished(() => spy.mockRestore());
  return held;
}
