// What every ScheduleStore does (src/channel/schedule-store.ts), as tests that run over the memory store and over SQLite.
import { expect, test } from "vitest";
import type { NewScheduled, ScheduleChanges, ScheduledKey, ScheduleTotals } from "../src/channel/schedule-store.ts";
import { LIMITS } from "../src/protocol/limits.ts";
import { isSame, type InStore } from "./store-contract.ts";

const TOTALS: ScheduleTotals = { messages: 3, bytes: 4_000_000_000, nextAtMs: 1_800_000_000_005, lastId: 1_800_000_000_006 };
const START: ScheduledKey = { dueAtMs: -1, id: 0 };
const ALL = { limit: 9, dueByMs: Number.MAX_SAFE_INTEGER };

export const NO_SCHEDULE_CHANGES: ScheduleChanges = {
  isCleared: false,
  deleteUpTo: undefined,
  deleteEntries: [],
  insertEntries: [],
  totals: TOTALS,
};

export function scheduledAt(dueAtMs: number, id: number, blockBytes = 40): NewScheduled {
  const block = new Uint8Array(blockBytes);
  for (let index = 0; index < blockBytes; index += 1 + Math.floor(blockBytes / 1000)) block[index] = (id * 31 + index) % 251;
  return { dueAtMs, id, bytes: blockBytes + 1, block };
}

const changed = (changes: Partial<ScheduleChanges>): { schedule: ScheduleChanges } => ({
  schedule: { ...NO_SCHEDULE_CHANGES, ...changes },
});
const keysOf = (keys: readonly ScheduledKey[]): [number, number][] => keys.map(({ dueAtMs, id }) => [dueAtMs, id]);

/** Has to be called in a `describe`. */
export function testScheduleContract(inStore: InStore): void {
  test("[SD11] nothing is scheduled in a fresh store", () =>
    inStore(({ open }) => {
      const { schedule } = open();

      expect(schedule.readTotals()).toBeUndefined();
      expect(schedule.readEntriesAfter(START, ALL)).toEqual([]);
      expect(schedule.readEntry({ dueAtMs: 1, id: 1 })).toBeUndefined();
    }));

  test("[SD11] the totals come back as they were written, the last ones", () =>
    inStore(({ open, commit }) => {
      commit(changed({ totals: { messages: 0, bytes: 0, nextAtMs: null, lastId: 1 } }));
      expect(open().schedule.readTotals()).toEqual({ messages: 0, bytes: 0, nextAtMs: null, lastId: 1 });

      commit(changed({}));
      commit({});

      expect(open().schedule.readTotals()).toEqual(TOTALS);
    }));

  test("[SD4] entries are read in the order of time and then of id, after any key", () =>
    inStore(({ open, commit }) => {
      commit(changed({ insertEntries: [scheduledAt(7, 3), scheduledAt(5, 4), scheduledAt(5, 2), scheduledAt(9, 1)] }));
      const { schedule } = open();
      const after = (dueAtMs: number, id: number, range: Partial<typeof ALL> = {}): [number, number][] =>
        keysOf(schedule.readEntriesAfter({ dueAtMs, id }, { ...ALL, ...range }));

      expect(keysOf(schedule.readEntriesAfter(START, ALL))).toEqual([
        [5, 2],
        [5, 4],
        [7, 3],
        [9, 1],
      ]);
      expect(after(5, 2)).toEqual([
        [5, 4],
        [7, 3],
        [9, 1],
      ]);
      expect(after(5, 3, { limit: 2 })).toEqual([
        [5, 4],
        [7, 3],
      ]);
      expect(after(9, 1)).toEqual([]);
      expect(after(-1, 0, { dueByMs: 4 })).toEqual([]);
      expect(after(5, 2, { dueByMs: 7 })).toEqual([
        [5, 4],
        [7, 3],
      ]);
      expect(schedule.readEntry({ dueAtMs: 5, id: 4 })).toEqual({ dueAtMs: 5, id: 4, bytes: 41 });
      expect(schedule.readEntry({ dueAtMs: 7, id: 4 })).toBeUndefined();
    }));

  test("[SD7] what has entered and what was cancelled is deleted, the rest stays; deletions come first", () =>
    inStore(({ open, commit }) => {
      const entries = [1, 2, 3, 4, 5].map((id) => scheduledAt(id * 10, id));
      commit(changed({ insertEntries: entries }));

      commit(
        changed({
          deleteUpTo: { dueAtMs: 20, id: 2 },
          deleteEntries: [{ dueAtMs: 40, id: 4 }],
          insertEntries: [scheduledAt(15, 6)],
        }),
      );

      expect(keysOf(open().schedule.readEntriesAfter(START, ALL))).toEqual([
        [15, 6],
        [30, 3],
        [50, 5],
      ]);
      commit(changed({ isCleared: true, insertEntries: [scheduledAt(15, 6)] }));
      expect(keysOf(open().schedule.readEntriesAfter(START, ALL))).toEqual([[15, 6]]);
    }));

  test("[SD10] a purge of the messages leaves what is scheduled", () =>
    inStore(({ open, commit }) => {
      commit(changed({ insertEntries: [scheduledAt(1, 1)] }));

      commit({ isPurge: true, deleteBelowOffset: 1000 });

      expect(keysOf(open().schedule.readEntriesAfter(START, ALL))).toEqual([[1, 1]]);
    }));

  test.each([40, LIMITS.rowBytesMax, 3_800_001, LIMITS.messageBytesMax + 200_000])(
    "[RC5] [SD11] a block of %d bytes comes back as it was written, beside its neighbours",
    (bytes) =>
      inStore(({ open, commit }) => {
        const entries = [scheduledAt(8, 1, 50), scheduledAt(8, 2, bytes), scheduledAt(9, 2, 60)];

        commit(changed({ insertEntries: entries }));

        for (const entry of entries) {
          const block = open().schedule.readBlock(entry);
          expect(block.byteLength).toBe(entry.block.byteLength);
          expect(isSame(block, entry.block)).toBe(true);
        }
      }),
  );

  test("[RC5] blocks that are split are deleted whole", () =>
    inStore(({ open, commit }) => {
      const bytes = 4_000_000;
      const entries = [1, 2, 3, 4].map((id) => scheduledAt(id, id, bytes));
      commit(changed({ insertEntries: entries }));

      commit(changed({ deleteUpTo: { dueAtMs: 1, id: 1 }, deleteEntries: [{ dueAtMs: 3, id: 3 }] }));
      commit(changed({ insertEntries: [scheduledAt(3, 3, bytes + 1)] }));

      for (const entry of [scheduledAt(2, 2, bytes), scheduledAt(3, 3, bytes + 1), scheduledAt(4, 4, bytes)]) {
        expect(isSame(open().schedule.readBlock(entry), entry.block)).toBe(true);
      }
      commit(changed({ isCleared: true, insertEntries: [scheduledAt(4, 4, bytes)] }));
      expect(open().schedule.readBlock({ dueAtMs: 4, id: 4 }).byteLength).toBe(bytes);
    }));
}
