// What lies under a channel's store, in memory: transactions, and an alarm.
import type { HostedStorage } from "../object/channel-host.ts";
import { MemoryStore } from "../storage/memory-store.ts";

export class MemoryStorage implements HostedStorage {
  readonly #arm: (atMs: number | undefined) => void;
  #store = new MemoryStore();
  #alarmAtMs: number | undefined;
  /** Nothing here costs rows. */
  readonly rows = { written: 0, read: 0 };

  /** @param arm Sets the alarm, in the place of another one, or takes it away. */
  constructor(arm: (atMs: number | undefined) => void) {
    this.#arm = arm;
  }

  get store(): MemoryStore {
    return this.#store;
  }

  transaction<Value>(work: () => Value): Value {
    // Only a restore puts something in the place of what is there that may turn out to be wrong.
    const store = this.#store.snapshots.readState() === undefined ? this.#store : this.#store.copy();
    const alarmAtMs = this.#alarmAtMs;
    try {
      return work();
    } catch (error) {
      this.#store = store;
      this.#set(alarmAtMs);
      throw error;
    }
  }

  setAlarm(atMs: number): void {
    this.#set(atMs);
  }

  /** No other instance can take the place of one that has its storage to itself. */
  assertCurrent(): void {}

  /** The alarm goes off, and so is not set any more. */
  noteAlarm(): void {
    this.#alarmAtMs = undefined;
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  deleteAll(): void {
    this.#store = new MemoryStore();
    this.#set(undefined);
  }

  #set(atMs: number | undefined): void {
    this.#alarmAtMs = atMs;
    this.#arm(atMs);
  }
}
