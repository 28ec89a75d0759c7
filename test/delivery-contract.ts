// What every ChannelStore does with leases, deferred messages and dead letters, as tests that run over the memory store and over SQLite.
import { expect, test } from "vitest";
import type { DeadLetter, DeadLetterChanges, DeadLetterKey } from "../src/channel/dead-letter-store.ts";
import type { AttemptHistory, Deferred, GroupDeliveryChanges, Lease, StoredDelivery } from "../src/channel/delivery-store.ts";
import { encodeGonePlaces } from "../src/channel/gone-places.ts";
import type { GroupChanges, GroupRecord } from "../src/channel/group-store.ts";
import type { ChannelStore } from "../src/channel/store.ts";
import { isSame, type InStore } from "./store-contract.ts";

const NO_DELIVERY: GroupDeliveryChanges = {
  isCleared: false,
  writeLeases: [],
  deleteLeaseSlots: [],
  writeDeferred: [],
  deleteDeferredBuckets: [],
};
const NO_LETTERS: DeadLetterChanges = { isCleared: false, insert: [], delete: [], totals: { messages: 0, bytes: 0 } };

const HISTORY: AttemptHistory = {
  events: [
    { attempt: 3, reader: "a", leasedAtMs: 1, endedAtMs: 2, verdict: "retried", reason: 'not "now"' },
    { attempt: 4, reader: undefined, leasedAtMs: 3, endedAtMs: 4, verdict: "expired", reason: undefined },
  ],
  omitted: 2,
};

const LEASE: Lease = {
  offset: 2 ** 40,
  holder: "0123456789abcdef",
  attempt: 3,
  deadlineMs: 1_800_000_000_001,
  key: "ключ\u0000",
  connection: 7,
  leasedAtMs: 1_800_000_000_000,
  reader: "reader-1",
  history: HISTORY,
};
const DEFERRED: Deferred = {
  offset: 2 ** 40 + 1,
  key: "k",
  attempts: 4,
  dueAtMs: 1_800_000_000_002,
  end: "predecessor",
  isQuarantined: true,
  history: HISTORY,
};
const PARKED: Deferred = {
  offset: 9,
  key: undefined,
  attempts: 0,
  dueAtMs: 0,
  end: undefined,
  isQuarantined: false,
  history: undefined,
};

function storedOf(store: ChannelStore): StoredDelivery {
  return store.delivery.readDelivery().get(3) ?? { leases: [], deferred: [] };
}

const FIRST = { offset: 1, groupId: 0 };

/** Where letters of group 3 from `offset` on are found. */
function at(offset: number): DeadLetterKey {
  return { offset, groupId: 3 };
}

function letterAt(offset: number, bodyBytes = 10): DeadLetter {
  const body = new Uint8Array(bodyBytes).fill(offset % 251);
  return {
    offset,
    groupId: 3,
    group: "billing",
    message: {
      offset,
      putAtMs: 1_800_000_000_000 + offset,
      body,
      presentation: "bytes",
      contentType: "a/b",
      key: "k",
      messageId: "id",
      headers: { a: "b" },
      ttlMs: 4,
      redrivenFrom: 3,
    },
    attempts: 5,
    reason: "not today",
    diedAtMs: 1_800_000_000_003,
    history: HISTORY,
  };
}

const NO_GROUPS: GroupChanges = { isCleared: false, write: [], delete: [], clearDone: [], writeDone: [], deleteDone: [] };

const GROUP: GroupRecord = {
  id: 1,
  name: "a",
  createdAtMs: 1_800_000_000_004,
  isPaused: true,
  settings: { maxAttempts: 3, retryDelaysMs: [1, 2] },
  position: {
    headOffset: 2 ** 40,
    passedMessages: 11,
    doneAheadMessages: 12,
    scanMark: 13,
    startMessages: 14,
    fates: { deadLettered: 15, removed: 16, dropped: 17, expired: 19, skipped: 18 },
  },
};

/** Has to be called in a `describe`. */
export function testDeliveryContract(inStore: InStore): void {
  test("[LS8] leases and deferred messages come back as they were written", () =>
    inStore(({ open, commit }) => {
      const lease: Lease = { ...LEASE, key: undefined, connection: undefined };
      const others = [
        { ...LEASE, leasedAtMs: 5, history: undefined },
        { ...LEASE, leasedAtMs: 5, reader: undefined, history: undefined },
        { ...LEASE, leasedAtMs: 5, reader: undefined },
      ];
      const leaseRow = { slot: 4, leases: [LEASE, lease, ...others] };
      const deferredRow = { bucket: 2 ** 30, messages: [DEFERRED, PARKED] };

      commit({ delivery: new Map([[3, { ...NO_DELIVERY, writeLeases: [leaseRow], writeDeferred: [deferredRow] }]]) });

      expect(storedOf(open()).leases).toEqual([leaseRow]);
      expect(storedOf(open()).deferred).toEqual([deferredRow]);
    }));

  test("[LS11] a row is replaced by a later one, and deleted alone", () =>
    inStore(({ open, commit }) => {
      const rows = [1, 2].map((slot) => ({ slot, leases: [LEASE] }));
      const buckets = [1, 2].map((bucket) => ({ bucket, messages: [DEFERRED] }));
      commit({ delivery: new Map([[3, { ...NO_DELIVERY, writeLeases: rows, writeDeferred: buckets }]]) });

      commit({
        delivery: new Map([
          [
            3,
            {
              ...NO_DELIVERY,
              writeLeases: [{ slot: 1, leases: [] }],
              deleteLeaseSlots: [2],
              writeDeferred: [{ bucket: 1, messages: [PARKED] }],
              deleteDeferredBuckets: [2],
            },
          ],
        ]),
      });

      expect(storedOf(open()).leases).toEqual([{ slot: 1, leases: [] }]);
      expect(storedOf(open()).deferred).toEqual([{ bucket: 1, messages: [PARKED] }]);
    }));

  test("[LS10] what is cleared is gone, but what the same commit writes", () =>
    inStore(({ open, commit }) => {
      commit({ delivery: new Map([[3, { ...NO_DELIVERY, writeLeases: [{ slot: 1, leases: [LEASE] }] }]]) });

      commit({
        delivery: new Map([[3, { ...NO_DELIVERY, isCleared: true, writeDeferred: [{ bucket: 1, messages: [PARKED] }] }]]),
      });

      expect([storedOf(open()).leases.length, storedOf(open()).deferred.length]).toEqual([0, 1]);
    }));

  test("[DL1] dead letters come back as they were written, by offset, with their totals", () =>
    inStore(({ open, commit }) => {
      const totals = { messages: 3, bytes: 44 };
      commit({ deadLetters: { ...NO_LETTERS, insert: [letterAt(20), letterAt(5), letterAt(2 ** 40)], totals } });

      const store = open().deadLetters;

      expect(store.readTotals()).toEqual(totals);
      expect(store.readFrom(at(5))).toEqual(letterAt(5));
      const { message: _, ...fate } = letterAt(5);
      expect([store.readFates(5), store.readFates(6)]).toEqual([[fate], []]);
      expect([1, 6, 21, 2 ** 40 + 1].map((offset) => store.readFrom(at(offset))?.message.offset)).toEqual([
        5,
        20,
        2 ** 40,
        undefined,
      ]);
    }));

  test("[DL1] groups have dead letters of the same message, and rows, of their own", () =>
    inStore(({ open, commit }) => {
      const other: DeadLetter = { ...letterAt(5), groupId: 4, group: "other" };
      const leaseRow = { slot: 1, leases: [LEASE] };
      const changes = { ...NO_DELIVERY, writeLeases: [leaseRow] };
      commit({
        deadLetters: { ...NO_LETTERS, insert: [other, letterAt(5)] },
        delivery: new Map([
          [0, changes],
          [999, changes],
        ]),
      });

      commit({
        deadLetters: { ...NO_LETTERS, delete: [at(5)] },
        delivery: new Map([[999, { ...NO_DELIVERY, isCleared: true }]]),
      });

      expect(open().deadLetters.readFrom(FIRST)).toEqual(other);
      expect([...open().delivery.readDelivery()]).toEqual([[0, { leases: [leaseRow], deferred: [] }]]);
    }));

  test("[GP2] groups and what they have done come back as they were written", () =>
    inStore(({ open, commit }) => {
      const places = encodeGonePlaces(new Set([1, 2, 9]));
      const records = [GROUP, { ...GROUP, id: 2, name: "b" }];
      const writeDone = [1, 2].flatMap((groupId) => [0, 7].map((bucket) => ({ groupId, bucket, places })));
      commit({ groups: { ...NO_GROUPS, write: records, writeDone } });
      expect(open().groups.readGroups()).toEqual(records);

      commit({ groups: { ...NO_GROUPS, delete: [2], deleteDone: [{ groupId: 1, bucket: 0 }] } });

      const store = open().groups;
      expect(store.readGroups()).toEqual([GROUP]);
      expect([0, 7].map((bucket) => store.readDone(1, bucket))).toEqual([undefined, places]);
      expect([0, 7].map((bucket) => store.readDone(2, bucket))).toEqual([undefined, undefined]);
      commit({ groups: { ...NO_GROUPS, clearDone: [1], writeDone: [{ groupId: 1, bucket: 3, places }] } });
      expect([3, 7].map((bucket) => open().groups.readDone(1, bucket))).toEqual([places, undefined]);
      commit({ groups: { ...NO_GROUPS, isCleared: true } });
      expect([open().groups.readGroups(), open().groups.readDone(1, 3)]).toEqual([[], undefined]);
    }));

  test("[DL1] a dead letter is deleted with all that belongs to it, and a large one comes back whole", () =>
    inStore(({ open, commit }) => {
      const large = letterAt(6, 4_000_000);
      commit({ deadLetters: { ...NO_LETTERS, insert: [letterAt(5), large, letterAt(7, 4_000_000)] } });
      expect(isSame(open().deadLetters.readFrom(at(6))?.message.body, large.message.body)).toBe(true);

      commit({ deadLetters: { ...NO_LETTERS, delete: [at(5), at(6)] } });
      commit({ deadLetters: { ...NO_LETTERS, insert: [letterAt(6)] } });

      expect(open().deadLetters.readFrom(at(1))).toEqual(letterAt(6));
      expect(open().deadLetters.readFrom(at(7))?.message.body.byteLength).toBe(4_000_000);
      commit({ deadLetters: { ...NO_LETTERS, isCleared: true } });
      expect(open().deadLetters.readFrom(at(1))).toBeUndefined();
    }));

  test("[RC1] a fresh store has no leases, deferred messages or dead letters", () =>
    inStore(({ open }) => {
      const { delivery, deadLetters } = open();

      expect([delivery.readDelivery().size, deadLetters.readFrom(FIRST)]).toEqual([0, undefined]);
      expect(deadLetters.readTotals()).toEqual({ messages: 0, bytes: 0 });
    }));
}
