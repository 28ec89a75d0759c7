// The object from inside, where no client comes: its clock, its alarm, its storage, and its end.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { onTestFinished, vi } from "vitest";
import type { ChannelObject } from "../../src/object/channel-object.ts";
import { stubOf } from "./service.ts";

export function inObject<Value>(
  channel: string,
  use: (object: ChannelObject, state: DurableObjectState) => Value | Promise<Value>,
): Promise<Value> {
  return runInDurableObject<ChannelObject, Value>(stubOf(channel), use);
}

/** Runs the alarm as if its time had come; it may have run by itself already, and may run twice. */
export function runAlarm(channel: string): Promise<void> {
  return inObject(channel, (object) => object.alarm());
}

/** Sets the clock of the object, too, for the rest of the test: it runs in the same isolate. Timers and alarms keep real time. */
export function passTime(ms: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
  onTestFinished(() => void vi.useRealTimers());
}

/** Ends the object while its sockets stay open. */
export function hibernate(channel: string): Promise<void> {
  return evictDurableObject(stubOf(channel), { webSockets: "hibernate" });
}

/** Ends the object and its sockets, as a crash does: what is not on disk is gone. */
export function restart(channel: string): Promise<void> {
  return evictDurableObject(stubOf(channel), { webSockets: "close" });
}
