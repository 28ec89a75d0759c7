// What every ChannelStore does with leases, deferred messages and dead letters, as tests that run over the memory store and over SQLite.
import { expect, test } from "vitest";
import type { DeadLetter, DeadLetterChanges } from "../src/channel/dead-letter-store.ts";
import type { Deferred, DeliveryChanges, Lease } from "../src/channel/delivery-store.ts";
import { isSame, type InStore } from "./store-contract.ts";

const NO_DELIVERY: DeliveryChanges = {
  isCleared: false,
  writeLeases: [],
  deleteLeaseSlots: [],
  writeDeferred: [],
  deleteDeferredBuckets: [],
};
const NO_LETTERS: DeadLetterChanges = { isCleared: false, insert: [], delete: [], totals: { messages: 0, bytes: 0 } };

const LEASE: Lease = {
  offset: 2 ** 40,
  holder: "0123456789abcdef",
  attempt: 3,
  deadlineMs: 1_800_000_000_001,
  key: "ключ\u0000",
  connection: 7,
};
const DEFERRED: Deferred = {
  offset: 2 ** 40 + 1,
  key: "k",
  attempts: 4,
  dueAtMs: 1_800_000_000_002,
  end: "predecessor",
  isQuarantined: true,
};
const PARKED: Deferred = { offset: 9, key: undefined, attempts: 0, dueAtMs: 0, end: undefined, isQuarantined: false };

function letterAt(offset: number, bodyBytes = 10): DeadLetter {
  const body = new Uint8Array(bodyBytes).fill(offset % 251);
  return {
    message: {
      offset,
      putAtMs: 1_800_000_000_000 + offset,
      body,
      presentation: "bytes",
      contentType: "a/b",
      key: "k",
      messageId: "id",
      headers: { a: "b" },
      redrivenFrom: 3,
    },
    attempts: 5,
    reason: "not today",
    diedAtMs: 1_800_000_000_003,
  };
}

/** Has to be called in a `describe`. */
export function testDeliveryContract(inStore: InStore): void {
  test("[LS8] leases and deferred messages come back as they were written", () =>
    inStore(({ open, commit }) => {
      const lease: Lease = { ...LEASE, key: undefined, connection: undefined };
      const leaseRow = { slot: 4, leases: [LEASE, lease] };
      const deferredRow = { bucket: 2 ** 30, messages: [DEFERRED, PARKED] };

      commit({ delivery: { ...NO_DELIVERY, writeLeases: [leaseRow], writeDeferred: [deferredRow] } });

      expect(open().delivery.readLeases()).toEqual([leaseRow]);
      expect(open().delivery.readDeferred()).toEqual([deferredRow]);
    }));

  test("[LS11] a row is replaced by a later one, and deleted alone", () =>
    inStore(({ open, commit }) => {
      const rows = [1, 2].map((slot) => ({ slot, leases: [LEASE] }));
      const buckets = [1, 2].map((bucket) => ({ bucket, messages: [DEFERRED] }));
      commit({ delivery: { ...NO_DELIVERY, writeLeases: rows, writeDeferred: buckets } });

      commit({
        delivery: {
          ...NO_DELIVERY,
          writeLeases: [{ slot: 1, leases: [] }],
          deleteLeaseSlots: [2],
          writeDeferred: [{ bucket: 1, messages: [PARKED] }],
          deleteDeferredBuckets: [2],
        },
      });

      expect(open().delivery.readLeases()).toEqual([{ slot: 1, leases: [] }]);
      expect(open().delivery.readDeferred()).toEqual([{ bucket: 1, messages: [PARKED] }]);
    }));

  test("[LS10] what is cleared is gone, but what the same commit writes", () =>
    inStore(({ open, commit }) => {
      commit({ delivery: { ...NO_DELIVERY, writeLeases: [{ slot: 1, leases: [LEASE] }] } });

      commit({ delivery: { ...NO_DELIVERY, isCleared: true, writeDeferred: [{ bucket: 1, messages: [PARKED] }] } });

      expect([open().delivery.readLeases().length, open().delivery.readDeferred().length]).toEqual([0, 1]);
    }));

  test("[DL1] dead letters come back as they were written, by offset, with their totals", () =>
    inStore(({ open, commit }) => {
      const totals = { messages: 3, bytes: 44 };
      commit({ deadLetters: { ...NO_LETTERS, insert: [letterAt(20), letterAt(5), letterAt(2 ** 40)], totals } });

      const store = open().deadLetters;

      expect(store.readTotals()).toEqual(totals);
      expect(store.readFrom(5)).toEqual(letterAt(5));
      expect([1, 6, 21, 2 ** 40 + 1].map((offset) => store.readFrom(offset)?.message.offset)).toEqual([
        5,
        20,
        2 ** 40,
        undefined,
      ]);
    }));

  test("[DL1] a dead letter is deleted with all that belongs to it, and a large one comes back whole", () =>
    inStore(({ open, commit }) => {
      const large = letterAt(6, 4_000_000);
      commit({ deadLetters: { ...NO_LETTERS, insert: [letterAt(5), large, letterAt(7, 4_000_000)] } });
      expect(isSame(open().deadLetters.readFrom(6)?.message.body, large.message.body)).toBe(true);

      commit({ deadLetters: { ...NO_LETTERS, delete: [5, 6] } });
      commit({ deadLetters: { ...NO_LETTERS, insert: [letterAt(6)] } });

      expect(open().deadLetters.readFrom(1)).toEqual(letterAt(6));
      expect(open().deadLetters.readFrom(7)?.message.body.byteLength).toBe(4_000_000);
      commit({ deadLetters: { ...NO_LETTERS, isCleared: true } });
      expect(open().deadLetters.readFrom(1)).toBeUndefined();
    }));

  test("[RC1] a fresh store has no leases, deferred messages or dead letters", () =>
    inStore(({ open }) => {
      const { delivery, deadLetters } = open();

      expect([delivery.readLeases(), delivery.readDeferred(), deadLetters.readFrom(1)]).toEqual([[], [], undefined]);
      expect(deadLetters.readTotals()).toEqual({ messages: 0, bytes: 0 });
    }));
}
