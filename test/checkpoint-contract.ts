// What every store does with checkpoints (the port in src/channel/checkpoint-store.ts), over the memory store and over SQLite.
import { expect, test } from "vitest";
import type { CheckpointChanges } from "../src/channel/checkpoint-store.ts";
import type { Checkpoint } from "../src/protocol/checkpoint.ts";
import { LIMITS } from "../src/protocol/limits.ts";
import { type InStore, isSame, POSITION, RECORD, segmentAt } from "./store-contract.ts";

const AT_MS = 1_800_000_000_000;

/** Every number is another, so that no two can be taken for each other. */
export function checkpointOf(name: string, bytes = 3, more: Partial<Checkpoint> = {}): Checkpoint {
  const value = Uint8Array.from({ length: bytes }, (_, index) => (index * 31 + name.length) % 251);
  return { name, version: 40 + name.length, contentType: `text/${name}`, bytes, updatedAtMs: AT_MS + bytes, value, ...more };
}

/** Changes of checkpoints alone. */
export function checkpointChanges(changes: Partial<CheckpointChanges>): { checkpoints: CheckpointChanges } {
  return { checkpoints: { isReset: false, delete: [], write: [], deletions: undefined, ...changes } };
}

/** Has to be called in a `describe`. */
export function testCheckpointContract(inStore: InStore): void {
  test("[CP10] a fresh store has no checkpoints", () =>
    inStore(({ open }) => {
      const { checkpoints } = open();

      expect(checkpoints.readTotals()).toEqual({ count: 0, bytes: 0, updatedAtMs: 0 });
      expect(checkpoints.readDeletions()).toBeUndefined();
      expect(checkpoints.readEntry("a")).toBeUndefined();
      expect(checkpoints.read("a")).toBeUndefined();
      expect(checkpoints.list({ after: "", prefix: "", limit: 9 })).toEqual([]);
    }));

  test("[CP1] a checkpoint comes back as it was written, the last one, with and without its value", () =>
    inStore(({ open, commit }) => {
      const written = checkpointOf("a", 5);
      const { value: _, ...entry } = written;
      commit(checkpointChanges({ write: [checkpointOf("a", 9, { version: 1 }), checkpointOf("b")] }));

      commit(checkpointChanges({ write: [written] }));

      const { checkpoints } = open();
      expect(checkpoints.read("a")).toEqual(written);
      expect(checkpoints.readEntry("a")).toEqual(entry);
      expect(checkpoints.readEntry("A")).toBeUndefined();
      expect(checkpoints.readTotals()).toEqual({ count: 2, bytes: 8, updatedAtMs: AT_MS + 5 });
    }));

  test.each([0, 1, LIMITS.checkpointBytesMax])("[CP1] a value of %d bytes comes back as it was written", (bytes) =>
    inStore(({ open, commit }) => {
      const written = checkpointOf("x".repeat(LIMITS.checkpointNameCharsMax), bytes);

      commit(checkpointChanges({ write: [written] }));

      const found = open().checkpoints.read(written.name);
      expect(found?.bytes).toBe(bytes);
      expect(isSame(found?.value, written.value)).toBe(true);
    }),
  );

  test("[CP6] checkpoints are listed in the order of their names, after a name, with a prefix", () =>
    inStore(({ open, commit }) => {
      const names = ["b", "a~", "B", "a", "a.b", "a-b", "9", "ab", "a:b"];
      commit(checkpointChanges({ write: names.map((name) => checkpointOf(name)) }));
      const list = (after: string, prefix: string, limit = 99): string[] =>
        open()
          .checkpoints.list({ after, prefix, limit })
          .map(({ name }) => name);

      expect(list("", "")).toEqual(["9", "B", "a", "a-b", "a.b", "a:b", "ab", "a~", "b"]);
      expect(list("a.b", "")).toEqual(["a:b", "ab", "a~", "b"]);
      expect(list("a.", "a")).toEqual(["a.b", "a:b", "ab", "a~"]);
      expect(list("", "a")).toEqual(["a", "a-b", "a.b", "a:b", "ab", "a~"]);
      expect(list("a", "a", 2)).toEqual(["a-b", "a.b"]);
      expect(list("b", "a")).toEqual([]);
      expect(list("", "", 2)).toEqual(["9", "B"]);
    }));

  test("[CP2] what deletions left behind comes back as it was written, the last one", () =>
    inStore(({ open, commit }) => {
      commit(checkpointChanges({ write: [checkpointOf("a"), checkpointOf("b")] }));
      commit(checkpointChanges({ delete: ["a"], deletions: { versionMax: 7, deletedAtMs: AT_MS } }));

      commit(checkpointChanges({ delete: ["none"], deletions: { versionMax: 8, deletedAtMs: AT_MS + 1 } }));

      const { checkpoints } = open();
      expect(checkpoints.readDeletions()).toEqual({ versionMax: 8, deletedAtMs: AT_MS + 1 });
      expect([checkpoints.read("a"), checkpoints.readTotals().count]).toEqual([undefined, 1]);
    }));

  test("[CP9] a reset forgets everything that was there, and nothing that is written beside it", () =>
    inStore(({ open, commit }) => {
      const before = checkpointChanges({
        write: [checkpointOf("a"), checkpointOf("b")],
        deletions: { versionMax: 7, deletedAtMs: 1 },
      });
      commit(before);

      commit(checkpointChanges({ isReset: true, write: [checkpointOf("b", 2)] }));

      const { checkpoints } = open();
      expect(checkpoints.readDeletions()).toBeUndefined();
      expect(checkpoints.list({ after: "", prefix: "", limit: 9 }).map(({ name, bytes }) => [name, bytes])).toEqual([["b", 2]]);
    }));

  test("[CP9] a purge of the messages and other commits leave checkpoints", () =>
    inStore(({ open, commit }) => {
      commit({ insertSegments: [segmentAt(1)], ...checkpointChanges({ write: [checkpointOf("a")] }) });

      commit({ isPurge: true, position: POSITION, channel: RECORD });
      commit(checkpointChanges({}));

      expect(open().checkpoints.read("a")).toEqual(checkpointOf("a"));
    }));
}
