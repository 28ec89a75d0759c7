// Delayed messages in memory: the twin of ScheduleTable.
import { assert } from "../base/assert.ts";
import type {
  NewScheduled,
  ScheduleChanges,
  ScheduledEntry,
  ScheduledKey,
  ScheduleStore,
  ScheduleTotals,
} from "../channel/schedule-store.ts";

export class MemorySchedule implements ScheduleStore {
  /** In the order of entering. */
  #entries: readonly NewScheduled[] = [];
  #totals: ScheduleTotals | undefined;

  readTotals(): ScheduleTotals | undefined {
    return this.#totals;
  }

  readEntriesAfter(key: ScheduledKey, { dueByMs, limit }: { dueByMs: number; limit: number }): readonly ScheduledEntry[] {
    const after = this.#entries.filter((entry) => compare(entry, key) > 0 && entry.dueAtMs <= dueByMs);
    return after.slice(0, limit).map(({ dueAtMs, id, bytes }) => ({ dueAtMs, id, bytes }));
  }

  readEntry(key: ScheduledKey): ScheduledEntry | undefined {
    const entry = this.#find(key);
    return entry === undefined ? undefined : { dueAtMs: entry.dueAtMs, id: entry.id, bytes: entry.bytes };
  }

  readBlock(key: ScheduledKey): Uint8Array {
    const entry = this.#find(key);
    assert(entry !== undefined, "a scheduled message that is listed has a row");
    return entry.block;
  }

  dump(): object {
    return { entries: this.#entries, totals: this.#totals };
  }

  load({ entries, totals }: { entries: NewScheduled[]; totals?: ScheduleTotals }): void {
    this.#entries = entries;
    this.#totals = totals;
  }

  commit({ isCleared, deleteUpTo, deleteEntries, insertEntries, totals }: ScheduleChanges): void {
    const isKept = (entry: ScheduledKey): boolean =>
      !isCleared &&
      (deleteUpTo === undefined || compare(entry, deleteUpTo) > 0) &&
      !deleteEntries.some((key) => compare(entry, key) === 0);
    this.#entries = [...this.#entries.filter(isKept), ...insertEntries].sort(compare);
    this.#totals = totals;
  }

  #find(key: ScheduledKey): NewScheduled | undefined {
    return this.#entries.find((entry) => compare(entry, key) === 0);
  }
}

function compare(a: ScheduledKey, b: ScheduledKey): number {
  return a.dueAtMs - b.dueAtMs || a.id - b.id;
}
