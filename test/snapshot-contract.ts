// What every store does with snapshots and restores, over the memory store and over SQLite.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { OpenSnapshot, SnapshotChanges, SnapshotRow } from "../src/channel/snapshot-store.ts";
import { RECORD, segmentAt, type InStore, type StoreFixture } from "./store-contract.ts";
import { ChannelHarness } from "./unit/channel-harness.ts";
import { drawFrom, RandomOperations, RETENTIONS, settingsOf } from "./unit/snapshot-operations.ts";

export const NO_SNAPSHOT_CHANGES: SnapshotChanges = {
  state: { snapshot: null, restore: null },
  isEnded: false,
  isBegun: false,
  isUnstaged: false,
  isStaging: false,
  stage: [],
  isInstalled: false,
};

const MARK = { cursor: null, digest: "" };
export const OPEN_SNAPSHOT: OpenSnapshot = {
  id: "0123456789abcdef",
  version: 1,
  readAtMs: 7,
  record: "{}",
  page: 0,
  isLast: false,
  before: MARK,
  after: MARK,
};

export function beginAt({ commit }: StoreFixture): void {
  commit({ snapshots: { ...NO_SNAPSHOT_CHANGES, state: { snapshot: OPEN_SNAPSHOT, restore: null }, isBegun: true } });
}

export function endAt({ commit }: StoreFixture): void {
  commit({ snapshots: { ...NO_SNAPSHOT_CHANGES, isEnded: true } });
}

/** All rows of the open snapshot, the store opened anew for each few. */
function readAll({ open }: StoreFixture, between = (): void => {}): SnapshotRow[] {
  const rows: SnapshotRow[] = [];
  for (let cursor: string | null = null; ;) {
    const read: { row: SnapshotRow; cursor: string }[] = [];
    for (const next of open().snapshots.readRows(cursor)) {
      read.push(next);
      if (read.length === 3) break;
    }
    rows.push(...read.map(({ row }) => row));
    const last = read.at(-1);
    if (last === undefined) return rows;
    cursor = last.cursor;
    between();
  }
}

/** Has to be called in a `describe`. */
export function testSnapshotContract(inStore: InStore): void {
  test("[SN3] a fresh store has no snapshot and no restore", () =>
    inStore(({ open }) => {
      expect(open().snapshots.readState()).toBeUndefined();
      expect([...open().snapshots.readRows(null)]).toEqual([]);
    }));

  test("[SN2] [RC7] a segment that takes the row of another is not in the snapshot, which keeps the other", () =>
    inStore((fixture) => {
      fixture.commit({ channel: RECORD, insertSegments: [segmentAt(1)] });
      beginAt(fixture);
      const before = readAll(fixture);

      fixture.commit({ reuseSegment: 1, insertSegments: [segmentAt(2)] });

      expect(readAll(fixture)).toEqual(before);
      expect(fixture.open().readSegmentFrom(0)?.firstOffset).toBe(2);
    }));

  test("[SN3] where a snapshot and a restore stand comes back as it was written", () =>
    inStore((fixture) => {
      const restore = { id: "x", version: 1, fedAtMs: 8, page: 3, digest: "00", record: null, isComplete: false };
      const state = { snapshot: OPEN_SNAPSHOT, restore };
      fixture.commit({ channel: RECORD, snapshots: { ...NO_SNAPSHOT_CHANGES, state, isBegun: true, isStaging: true } });

      expect(fixture.open().snapshots.readState()).toEqual(state);
    }));

  test.each(RETENTIONS)("[SN2] the rows of a snapshot stay as they were, and come back by a restore: %s", (retention) =>
    inStore((fixture) => {
      const numbers = fc.array(fc.nat(10_000), { minLength: 5, maxLength: 60 });
      fc.assert(
        fc.property(numbers, fc.nat(40), (drawn, steps) => {
          // What the life before left is dropped by the first commit of a harness only where it begins a life anew.
          const harness = new ChannelHarness({ settings: settingsOf(retention) });
          harness.delete();
          harness.apply({ type: "create", settings: settingsOf(retention) });
          fixture.commit(clearing(fixture));
          const operations = new RandomOperations(harness, drawFrom(drawn));
          const step = (): void => {
            harness.together(() => operations.step());
            if (harness.changes !== undefined) fixture.commit(harness.changes);
          };
          for (let count = 0; count < steps; count++) step();
          beginAt(fixture);
          const rows = readAll(fixture);

          expect(readAll(fixture, step)).toEqual(rows);
          endAt(fixture);
          fixture.commit(clearing(fixture));
          fixture.commit({ snapshots: { ...NO_SNAPSHOT_CHANGES, isStaging: true } });
          expect(rows.every((row) => fixture.open().snapshots.accepts(row))).toBe(true);
          for (const row of rows) fixture.commit({ snapshots: { ...NO_SNAPSHOT_CHANGES, stage: [row] } });
          fixture.commit({ snapshots: { ...NO_SNAPSHOT_CHANGES, isInstalled: true } });
          fixture.open();
          beginAt(fixture);
          expect(readAll(fixture)).toEqual(rows);
          endAt(fixture);
        }),
        { numRuns: 25, endOnFailure: true },
      );
    }),
  );
}

/** What empties a store: an empty snapshot in the place of everything. */
function clearing({ commit }: StoreFixture): Parameters<StoreFixture["commit"]>[0] {
  commit({ channel: RECORD });
  commit({ snapshots: { ...NO_SNAPSHOT_CHANGES, isStaging: true } });
  return { snapshots: { ...NO_SNAPSHOT_CHANGES, isInstalled: true } };
}
