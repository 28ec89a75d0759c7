// The object from inside, where no client comes: its clock, its alarm, its storage, and its end.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { beforeEach, onTestFinished, vi } from "vitest";
import type { ChannelObject } from "../../src/object/channel-object.ts";
import { stubOf } from "./service.ts";

export function inObject<Value>(
  channel: string,
  use: (object: ChannelObject, state: DurableObjectState) => Value | Promise<Value>,
): Promise<Value> {
  return runInDurableObject<ChannelObject, Value>(stubOf(channel), use);
}

/** Runs the alarm as if its time had come, in place of one that is set; it may have run by itself already. */
export async function runAlarm(channel: string): Promise<void> {
  if (!(await runDurableObjectAlarm(stubOf(channel)))) await inObject(channel, (object) => object.alarm());
}

/** When the alarm goes off; null if none is set. */
export function readAlarm(channel: string): Promise<number | null> {
  return inObject(channel, (_, { storage }) => storage.getAlarm());
}

/** Executes statements of SQL in the object's database. */
export function execute(channel: string, ...statements: readonly string[]): Promise<void> {
  return inObject(channel, (_, { storage }) => {
    for (const statement of statements) storage.sql.exec(statement);
  });
}

/** Lets every write to a table fail, as a disk does that gives up between two rows of a commit. */
export function breakTable(channel: string, table: string): Promise<void> {
  return execute(channel, `CREATE TRIGGER broken BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END`);
}

export function mendTable(channel: string): Promise<void> {
  return execute(channel, "DROP TRIGGER broken");
}

/**
 * Sets the clock for the rest of the test, that of the object, too: it runs in the same isolate. The clock stands still from then on, timers
 * and alarms keep real time.
 */
export function setClock(nowMs: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: nowMs });
  onTestFinished(() => void vi.useRealTimers());
}

/** Sets the clock forward, as `setClock` does. */
export function passTime(ms: number): void {
  setClock(Date.now() + ms);
}

/** Ends the object while its sockets stay open. */
export function hibernate(channel: string): Promise<void> {
  return evictDurableObject(stubOf(channel), { webSockets: "hibernate" });
}

/** Ends the object and its sockets, as a crash does: what is not on disk is gone. */
export function restart(channel: string): Promise<void> {
  return evictDurableObject(stubOf(channel), { webSockets: "close" });
}

/** For tests in which something fails that is meant to: such failures are logged. */
export function silenceWarnings(): void {
  beforeEach(() => {
    const spy = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    return () => spy.mockRestore();
  });
}
