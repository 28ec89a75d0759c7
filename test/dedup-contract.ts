// What every store does with producers and idempotency keys, over the memory store and over SQLite.
import { expect, test } from "vitest";
import type { NewKey } from "../src/channel/idempotency-store.ts";
import type { StoredProducer } from "../src/channel/producers-store.ts";
import { LIMITS } from "../src/protocol/limits.ts";
import { OFFSET_MAX } from "../src/protocol/names.ts";
import type { InStore } from "./store-contract.ts";

export function storedProducer(id: string, more: Partial<StoredProducer> = {}): StoredProducer {
  const outcomes = new Uint8Array([1, 2, 3]);
  return { id, bucket: 7, epoch: 3, lastSeq: 40, usedAtMs: 1_800_000_000_000, outcomes, ...more };
}

export function storedKey(idempotencyKey: string, generationId: number, offset = 5): NewKey {
  const outcome = { fingerprint: 2 ** 48 - 1, offset, entered: 1, count: 2, putAtMs: 1_800_000_000_000 };
  return { idempotencyKey, generationId, ...outcome };
}

/** Has to be called in a `describe`. */
export function testDedupContract(inStore: InStore): void {
  test("[DD5] a fresh store knows no producer and no key", () =>
    inStore(({ open }) => {
      const { producers, idempotency } = open();

      expect([producers.read(7, "a"), producers.readBucket(7), idempotency.readGenerations()]).toEqual([undefined, [], []]);
    }));

  test("[DD11] a producer comes back as it was written last, its numbers exact", () =>
    inStore(({ open, commit }) => {
      const outcomes = new Uint8Array(LIMITS.producerOutcomesBytesMax).fill(9);
      const largest = { epoch: LIMITS.producerEpochMax, lastSeq: Number.MAX_SAFE_INTEGER, outcomes };
      const id = "p".repeat(LIMITS.producerIdCharsMax);
      commit({ producers: { isReset: false, deletes: [], writes: [storedProducer(id), storedProducer("b")] } });

      commit({ producers: { isReset: false, deletes: [], writes: [storedProducer(id, largest)] } });

      expect(open().producers.read(7, id)).toEqual(storedProducer(id, largest));
      expect(open().producers.read(7, "b")).toEqual(storedProducer("b"));
      expect([open().producers.read(8, id), open().producers.read(7, "c")]).toEqual([undefined, undefined]);
    }));

  test("[DD5] a bucket tells when its producers were used", () =>
    inStore(({ open, commit }) => {
      const writes = [storedProducer("a"), storedProducer("b", { usedAtMs: 5 }), storedProducer("c", { bucket: 8 })];

      commit({ producers: { isReset: false, deletes: [], writes } });

      const bucket = open()
        .producers.readBucket(7)
        .toSorted((a, b) => a.usedAtMs - b.usedAtMs);
      expect(bucket).toEqual([
        { id: "b", usedAtMs: 5 },
        { id: "a", usedAtMs: 1_800_000_000_000 },
      ]);
    }));

  test("[DD12] producers are deleted one by one or all, ahead of what is written", () =>
    inStore(({ open, commit }) => {
      const readIds = (): string[] => ["a", "b", "c"].filter((id) => open().producers.read(7, id) !== undefined);
      commit({ producers: { isReset: false, deletes: [], writes: [storedProducer("a"), storedProducer("b")] } });

      commit({ producers: { isReset: false, deletes: [{ bucket: 7, id: "a" }], writes: [storedProducer("c")] } });
      const afterDelete = readIds();
      commit({ producers: { isReset: true, deletes: [], writes: [storedProducer("a")] } });

      expect([afterDelete, readIds()]).toEqual([["b", "c"], ["a"]]);
    }));

  test.each(["k", "K", "ä", "'; --", "%", "a\u0000b", "😀", "x".repeat(LIMITS.idempotencyKeyBytesMax)])(
    "[DD6] a key is kept exactly: %j",
    (idempotencyKey) =>
      inStore(({ open, commit }) => {
        const keys = [storedKey(idempotencyKey, 1, OFFSET_MAX - 1), storedKey("other", 1)];

        commit({
          idempotency: { dropGenerations: [], writeGenerations: [{ id: 1, untilMs: 9, keysMax: 1024 }], insertKeys: keys },
        });

        const { generationId: _, ...outcome } = storedKey(idempotencyKey, 1, OFFSET_MAX - 1);
        expect(open().idempotency.find(1, idempotencyKey)).toEqual(outcome);
        expect(open().idempotency.find(1, `${idempotencyKey} `)).toBeUndefined();
        expect(open().idempotency.countKeys(1)).toBe(2);
        expect(open().idempotency.findLastPutMs(1)).toBe(outcome.putAtMs);
      }),
  );

  test("[DD11] a generation is dropped with its keys, and may begin again in the same commit", () =>
    inStore(({ open, commit }) => {
      const [first, second] = [1, 2].map((id) => ({ id, untilMs: 10 * id, keysMax: 1024 }));
      if (first === undefined || second === undefined) return;
      const insertKeys = [storedKey("a", 1), storedKey("b", 2)];
      commit({ idempotency: { dropGenerations: [], writeGenerations: [second, first], insertKeys } });
      const both = open().idempotency.readGenerations();
      expect([open().idempotency.find(1, "a")?.offset, open().idempotency.find(2, "b")?.offset]).toEqual([5, 5]);

      commit({ idempotency: { dropGenerations: [1], writeGenerations: [], insertKeys: [] } });
      const one = open().idempotency.readGenerations();
      const again = { ...second, untilMs: 77 };
      commit({ idempotency: { dropGenerations: [2], writeGenerations: [again], insertKeys: [storedKey("c", 2)] } });

      expect([both, one, open().idempotency.readGenerations()]).toEqual([[first, second], [second], [again]]);
      const { idempotency } = open();
      expect([idempotency.find(2, "b"), idempotency.find(2, "c")?.offset, idempotency.countKeys(2)]).toEqual([undefined, 5, 1]);
    }));

  test("[DD6] a key that is put again replaces the one before, and a generation its earlier count", () =>
    inStore(({ open, commit }) => {
      const write = (keysMax: number, offset: number): void =>
        commit({
          idempotency: {
            dropGenerations: [],
            writeGenerations: [{ id: 1, untilMs: 9, keysMax }],
            insertKeys: [storedKey("a", 1, offset)],
          },
        });
      write(1024, 5);

      write(2048, 6);

      expect(open().idempotency.readGenerations()).toEqual([{ id: 1, untilMs: 9, keysMax: 2048 }]);
      expect(open().idempotency.find(1, "a")?.offset).toBe(6);
    }));
}
