// The SQLite store keeps the contract of the port, inside a Durable Object; and what only SQLite has: rows, transactions, a schema.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Operation } from "../../src/channel/operation.ts";
import { bucketOf } from "../../src/channel/fingerprint.ts";
import { encodeGonePlaces } from "../../src/channel/gone-places.ts";
import type { ScheduleChanges } from "../../src/channel/schedule-store.ts";
import type { StoredProducer } from "../../src/channel/producers-store.ts";
import type { Changes, ChannelStore } from "../../src/channel/store.ts";
import { Block } from "../../src/protocol/block.ts";
import { decodeUtf8, encodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { PART_BYTES_MAX } from "../../src/storage/row-parts.ts";
import { MeteredStorage } from "../../src/storage/metered-storage.ts";
import { migrate, SCHEMA_VERSION } from "../../src/storage/schema.ts";
import { SqliteStore } from "../../src/storage/sqlite-store.ts";
import { testDeliveryContract } from "../delivery-contract.ts";
import { checkpointChanges, checkpointOf, testCheckpointContract } from "../checkpoint-contract.ts";
import { NO_SCHEDULE_CHANGES, scheduledAt, testScheduleContract } from "../schedule-contract.ts";
import { beginAt, endAt, testSnapshotContract } from "../snapshot-contract.ts";
import { storedKey, storedProducer, testDedupContract } from "../dedup-contract.ts";
import { isSame, NO_CHANGES, POSITION, RECORD, segmentAt, testStoreContract, type StoreFixture } from "../store-contract.ts";
import { ChannelHarness, sizedMessage } from "../unit/channel-harness.ts";

const namespace = (env as unknown as { CHANNELS: DurableObjectNamespace }).CHANNELS;

/** An object's storage that no other test touches. */
class SqliteFixture implements StoreFixture {
  readonly storage: MeteredStorage;
  #store: SqliteStore;

  constructor(state: DurableObjectState) {
    this.storage = new MeteredStorage(state.storage);
    this.#store = new SqliteStore(this.storage);
  }

  readonly open = (): ChannelStore => (this.#store = new SqliteStore(this.storage));

  readonly commit = (changes: Partial<Changes>): void => {
    this.storage.transaction(() => this.#store.commit({ ...NO_CHANGES, ...changes }));
  };

  /** The rows that `work` writes. */
  countRows(work: () => void): number {
    const before = this.storage.rows.written;
    work();
    return this.storage.rows.written - before;
  }

  /** The rows that a commit writes. */
  rowsOf(changes: Partial<Changes>): number {
    return this.countRows(() => this.commit(changes));
  }

  count(table: string): number {
    return this.storage.exec<{ count: number }>(`SELECT count(*) AS count FROM ${table}`)[0]?.count ?? -1;
  }

  tables(): string[] {
    const select = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '_cf_%' ORDER BY name";
    return this.storage.exec<{ name: string }>(select).map((row) => row.name);
  }
}

async function inObject(use: (fixture: SqliteFixture) => void): Promise<void> {
  const stub = namespace.getByName(`t${crypto.randomUUID()}`);
  await runInDurableObject(stub, (_instance, state) => use(new SqliteFixture(state)));
}

function writeOf(...writes: StoredProducer[]): Partial<Changes> {
  return { producers: { isReset: false, deletes: [], writes } };
}

describe("src/storage/sqlite-store", () => {
  testStoreContract(inObject);
  testDeliveryContract(inObject);
  testCheckpointContract(inObject);
  testScheduleContract(inObject);
  testDedupContract(inObject);
  testSnapshotContract(inObject);

  test("[LC7] a fresh store has no tables, and reading makes none and writes nothing", () =>
    inObject((fixture) => {
      const store = fixture.open();
      store.readChannel();
      store.readPosition();
      store.readSegmentFrom(1);
      store.findMessageId("a", 1);

      expect(fixture.tables()).toEqual([]);
      expect(fixture.storage.rows.written).toBe(0);
    }));

  test("[RC3] the first commit makes the tables; a later wake makes nothing", () =>
    inObject((fixture) => {
      fixture.commit({ channel: RECORD });
      const tables = fixture.tables();

      const rows = fixture.countRows(() => fixture.open());

      expect(tables).toEqual([
        "channel",
        "checkpoint",
        "checkpoint_deletions",
        "dead_letter",
        "dead_letter_part",
        "dead_letter_totals",
        "deferred",
        "gone",
        "group_done",
        "idempotency_generation",
        "lease",
        "message_id",
        "position",
        "producer",
        "reader_group",
        "schedule",
        "scheduled",
        "scheduled_part",
        "schema_version",
        "segment",
        "segment_part",
        "snapshot_state",
      ]);
      expect(rows).toBe(0);
    }));

  test("[RC4] a segment, a position, a record, an id and removed places are a row each", () =>
    inObject((fixture) => {
      fixture.commit({ channel: RECORD, position: POSITION });

      expect(fixture.rowsOf({ insertSegments: [segmentAt(1, 100, 50_000)] })).toBe(1);
      expect(fixture.rowsOf({ insertSegments: [segmentAt(101), segmentAt(102)] })).toBe(2);
      expect(fixture.rowsOf({ position: POSITION })).toBe(1);
      expect(fixture.rowsOf({ channel: RECORD })).toBe(1);
      expect(fixture.rowsOf({ insertMessageIds: [{ messageId: "a", offset: 1 }] })).toBe(1);
      expect(fixture.rowsOf({ deleteMessageIds: [{ messageId: "a", offset: 1 }] })).toBe(1);
      expect(fixture.rowsOf({ writeGone: new Map([[1, encodeGonePlaces(new Set([1]))]]) })).toBe(1);
      expect(fixture.rowsOf({ writeGone: new Map([[1, encodeGonePlaces(new Set([1, 2]))]]) })).toBe(1);
      expect(fixture.rowsOf({})).toBe(0);
    }));

  test("[CP10] a checkpoint is a row, also where it replaces another; a deletion is two, and a reset one for each", () =>
    inObject((fixture) => {
      const write = (...names: string[]): number =>
        fixture.rowsOf(checkpointChanges({ write: names.map((name) => checkpointOf(name, 10_000)) }));
      const deletions = { versionMax: 1, deletedAtMs: 1 };
      fixture.commit({ channel: RECORD });

      expect([write("a"), write("a"), write("a", "b", "c", "d")]).toEqual([1, 1, 4]);
      expect(fixture.rowsOf(checkpointChanges({ delete: ["a"], deletions }))).toBe(2);
      expect(fixture.rowsOf(checkpointChanges({ delete: ["b"], deletions }))).toBe(2);
      expect(fixture.rowsOf({ isPurge: true })).toBe(0);
      expect(fixture.rowsOf(checkpointChanges({ isReset: true }))).toBe(3);
      expect(fixture.rowsOf(checkpointChanges({ isReset: true }))).toBe(0);
    }));

  test("[CP10] a write is judged and a value read by few rows; totals read each entry once", () =>
    inObject((fixture) => {
      const names = Array.from({ length: 200 }, (_, index) => `n${index}`);
      fixture.commit(checkpointChanges({ write: names.map((name) => checkpointOf(name, 5000)) }));
      const { checkpoints } = fixture.open();
      const readBy = (work: () => void): number => {
        const before = fixture.storage.rows.read;
        work();
        return fixture.storage.rows.read - before;
      };

      expect(readBy(() => checkpoints.readEntry("n7"))).toBe(1);
      expect(readBy(() => checkpoints.read("n7"))).toBe(1);
      for (const after of ["", "n12", "n15", "n5"]) {
        const read = readBy(() => checkpoints.list({ after, prefix: "n15", limit: 9 }));
        expect(read).toBeLessThanOrEqual(10);
      }
      expect(readBy(() => checkpoints.readTotals())).toBeLessThanOrEqual(201);
    }));

  test("[RC7] a segment that is deleted is a row", () =>
    inObject((fixture) => {
      fixture.commit({ insertSegments: [1, 2, 3, 4, 5].map((first) => segmentAt(first)) });

      expect(fixture.rowsOf({ deleteBelowOffset: 2 })).toBe(1);
      expect(fixture.rowsOf({ deleteSegments: [4] })).toBe(1);
      expect(fixture.rowsOf({ deleteBelowOffset: 2 })).toBe(0);
      expect(fixture.rowsOf({ isPurge: true })).toBe(3);
    }));

  test("[RC7] a segment that takes the row of another is a row, whatever its size and what was removed of the other", () =>
    inObject((fixture) => {
      fixture.commit({ insertSegments: [segmentAt(1)] });
      expect(fixture.rowsOf({ reuseSegment: 1, insertSegments: [segmentAt(2, 1, 900_000)] })).toBe(1);
      fixture.commit({ writeGone: new Map([[2, new Uint8Array([0, 1])]]) });

      expect(fixture.rowsOf({ reuseSegment: 2, insertSegments: [segmentAt(2 ** 40, 1), segmentAt(2 ** 40 + 1)] })).toBe(3);

      expect(fixture.open().readSegmentFrom(0)?.firstOffset).toBe(2 ** 40);
      expect(fixture.open().readGoneFrom(0, 9)).toEqual([]);
    }));

  test("[SD11] a scheduled message is a row when it comes and one when it goes, beside one of totals", () =>
    inObject((fixture) => {
      const insertEntries = [1, 2, 3, 4].map((id) => scheduledAt(id, id));
      const rowsOf = (changes: Partial<ScheduleChanges>): number =>
        fixture.rowsOf({ schedule: { ...NO_SCHEDULE_CHANGES, ...changes } });
      fixture.commit({ channel: RECORD });

      expect(rowsOf({ insertEntries: [scheduledAt(9, 9)] })).toBe(2);
      expect(rowsOf({ insertEntries })).toBe(5);
      expect(rowsOf({ deleteUpTo: { dueAtMs: 2, id: 2 } })).toBe(3);
      expect(rowsOf({ deleteEntries: [{ dueAtMs: 3, id: 3 }] })).toBe(2);
      expect(rowsOf({ insertEntries: [scheduledAt(10, 10, 4_000_000)] })).toBe(4);
      expect(rowsOf({ isCleared: true })).toBe(3 + 2 + 1);
    }));

  test("[RC4] a batch that is put and taken costs two rows in steady state", () =>
    inObject((fixture) => {
      const channel = new ChannelHarness({ settings: {} });
      const replay = (): number => fixture.rowsOf(channel.changes ?? {});
      replay();
      for (let put = 0; put < 2; put += 1) {
        channel.put(Array.from({ length: 100 }, () => "x"));
        replay();
      }
      const rows = Array.from({ length: 20 }, () => {
        channel.put(Array.from({ length: 100 }, () => "x"));
        const put = replay();
        channel.get({ max: 100 });
        return put + replay();
      });

      expect(rows).toEqual(rows.map(() => 2));
    }));

  test("[DD11] a producer is a row whenever it is written, a key is a row, and keys are dropped for nearly none", () =>
    inObject((fixture) => {
      fixture.commit({ channel: RECORD });
      const outcomes = new Uint8Array(LIMITS.producerOutcomesBytesMax);

      expect(fixture.rowsOf(writeOf(storedProducer("a")))).toBe(1);
      expect(fixture.rowsOf(writeOf(storedProducer("a", { lastSeq: 41, outcomes })))).toBe(1);
      expect(fixture.rowsOf(writeOf(storedProducer("a", { lastSeq: 42 }), storedProducer("b")))).toBe(2);
      const generation = { id: 1, untilMs: 9, keysMax: 1024 };
      const begin = { dropGenerations: [], writeGenerations: [generation], insertKeys: [] };
      expect(fixture.rowsOf({ idempotency: begin })).toBeLessThanOrEqual(4);
      const insertKeys = Array.from({ length: 500 }, (_, key) => storedKey(`key ${key}`, 1));
      expect(fixture.rowsOf({ idempotency: { dropGenerations: [], writeGenerations: [], insertKeys } })).toBe(500);
      const drop = { dropGenerations: [1], writeGenerations: [], insertKeys: [] };
      expect(fixture.rowsOf({ idempotency: drop })).toBeLessThanOrEqual(2);
    }));

  test("[DD11] a batch of a producer that is put and taken costs three rows in steady state", () =>
    inObject((fixture) => {
      const channel = new ChannelHarness({ settings: {} });
      const replay = (): number => fixture.rowsOf(channel.changes ?? {});
      const put = (seq: number): number => {
        const texts = Array.from({ length: 100 }, () => "x".repeat(seq % 3));
        channel.put(texts, { producer: { id: "p", epoch: 1, seq } });
        return replay();
      };
      replay();
      put(1);
      put(2);
      const rows = Array.from({ length: 40 }, (_, index) => {
        const putRows = put(index + 3);
        channel.get({ max: 100 });
        return putRows + replay();
      });

      expect(rows).toEqual(rows.map(() => 3));
    }));

  test("[DD11] many puts of a producer in one commit cost one row besides their segment", () =>
    inObject((fixture) => {
      const channel = new ChannelHarness({ settings: {} });
      fixture.commit(channel.changes ?? {});

      channel.together(() => {
        for (let seq = 1; seq <= 64; seq += 1) channel.put(["x"], { producer: { id: "p", epoch: 1, seq } });
      });

      expect(fixture.rowsOf(channel.changes ?? {})).toBe(2);
    }));

  test("[SN2] [SN3] a snapshot costs a row more for each that changes, once, and leaves nothing behind", () =>
    inObject((fixture) => {
      const channel = new ChannelHarness({ settings: {} });
      const replay = (): number => fixture.rowsOf(channel.changes ?? {});
      replay();
      channel.put(["a"], { idempotencyKey: "k" });
      replay();
      const tables = fixture.tables();
      const put = (): number => {
        channel.put(["b"]);
        const rows = replay();
        channel.get();
        return rows + replay();
      };
      channel.get();
      replay();
      put();
      const before = put();
      beginAt(fixture);
      put();
      const during = put();
      endAt(fixture);

      // With each: the row of the segment that is put, and its deletion, since no other segment may take the row.
      expect(during).toBe(before + 2);
      expect(put()).toBe(before);
      expect(fixture.tables()).toEqual(tables);
      expect(fixture.storage.exec("SELECT name FROM sqlite_master WHERE type = 'trigger'")).toEqual([]);
    }));

  test("[SN2] keys that are forgotten while a snapshot is open stay in it, and their table goes when it ends", () =>
    inObject((fixture) => {
      const generation = { id: 1, untilMs: 9, keysMax: 1024 };
      const insertKeys = [storedKey("a", 1), storedKey("b", 1)];
      fixture.commit({ idempotency: { dropGenerations: [], writeGenerations: [generation], insertKeys } });
      const readRows = (): unknown[] => [...fixture.open().snapshots.readRows(null)].map(({ row }) => row);
      beginAt(fixture);
      const rows = readRows();
      fixture.open();
      fixture.commit({ idempotency: { dropGenerations: [], writeGenerations: [], insertKeys: [storedKey("a", 1, 77)] } });
      fixture.commit({ idempotency: { dropGenerations: [1], writeGenerations: [], insertKeys: [] } });

      expect(fixture.open().idempotency.readGenerations()).toEqual([]);
      expect(rows).toHaveLength(3);
      expect(readRows()).toEqual(rows);
      endAt(fixture);
      expect(fixture.tables()).not.toContain("idempotency_key_1");
    }));

  test("[RC3] a store of an earlier release gets the new tables on waking, and its channel the new settings", () =>
    inObject((fixture) => {
      const { maxMessages, maxBytes, maxMessageBytes, growth, expireAfterIdleMs } = RECORD.settings;
      const earlier = { maxMessages, maxBytes, maxMessageBytes, growth, expireAfterIdleMs };
      fixture.storage.transaction(() => migrate(fixture.storage, 0, 4));
      const json = JSON.stringify({ ...RECORD, settings: earlier });
      fixture.storage.exec("INSERT INTO channel (id, record_json) VALUES (1, ?)", json);
      fixture.storage.exec(`INSERT INTO lease (row_id, leases_json) VALUES (1, '[[1,"h",2,9,null,null],[2,"h",1,9,"k",7]]')`);
      fixture.storage.exec(`INSERT INTO deferred (row_id, messages_json) VALUES (0, '[[3,null,1,0,"retried",0]]')`);

      const store = fixture.open();

      expect(store.readChannel()).toEqual(RECORD);
      expect([store.producers.read(1, "a"), store.idempotency.readGenerations()]).toEqual([undefined, []]);
      const { leases = [], deferred = [] } = store.delivery.readDelivery().get(0) ?? {};
      expect(leases[0]?.leases.map(({ attempt, connection, leasedAtMs }) => [attempt, connection, leasedAtMs])).toEqual([
        [2, undefined, 0],
        [1, 7, 0],
      ]);
      expect(deferred[0]?.messages).toMatchObject([{ offset: 3, end: "retried", history: undefined }]);
    }));

  test("[RC5] a block is split so that no row exceeds rowBytesMax, and each part is a row", () =>
    inObject((fixture) => {
      fixture.commit({ channel: RECORD });

      const rows = fixture.rowsOf({
        insertSegments: [segmentAt(1, 1, 1_900_000), segmentAt(2, 1, LIMITS.messageBytesMax + 200_000)],
      });

      expect(rows).toBe(1 + 9);
      expect([fixture.count("segment"), fixture.count("segment_part")]).toEqual([2, 8]);
      const select =
        "SELECT max(bytes) AS most FROM (SELECT length(body) AS bytes FROM segment UNION ALL SELECT length(body) FROM segment_part)";
      const most = fixture.storage.exec<{ most: number }>(select)[0]?.most ?? 0;
      expect(most).toBeLessThanOrEqual(LIMITS.rowBytesMax - 100_000);
      expect(fixture.rowsOf({ deleteBelowOffset: 3 })).toBe(10);
      expect(fixture.count("segment_part")).toBe(0);
    }));

  test("[RC5] the parts of a deleted segment are deleted after a wake too", () =>
    inObject((fixture) => {
      fixture.commit({
        insertSegments: [segmentAt(1, 1, 4_000_000), segmentAt(2, 1, 4_000_000)],
        writeGone: new Map([[1, new Uint8Array([0, 1])]]),
      });
      fixture.open();
      fixture.commit({ deleteSegments: [2] });
      fixture.open();

      fixture.commit({ deleteBelowOffset: 2 });

      expect(["segment", "segment_part", "gone"].map((table) => fixture.count(table))).toEqual([0, 0, 0]);
    }));

  test("[RC3] [RC6] a commit whose transaction throws leaves nothing, not in the count of rows either", () =>
    inObject((fixture) => {
      fixture.commit({ channel: RECORD, insertSegments: [segmentAt(1)], insertMessageIds: [{ messageId: "a", offset: 1 }] });
      const before = fixture.storage.rows.written;
      const store = fixture.open();

      const failing = (): void =>
        fixture.storage.transaction(() => {
          store.commit({ ...NO_CHANGES, isPurge: true, insertSegments: [segmentAt(2)], position: POSITION });
          throw new Error("The disk is full");
        });

      expect(failing).toThrow("The disk is full");
      expect(fixture.storage.rows.written).toBe(before);
      const woken = fixture.open();
      expect([woken.readLastSegment()?.firstOffset, woken.findMessageId("a", 0), woken.readPosition()]).toEqual([
        1,
        1,
        undefined,
      ]);
    }));

  test("[RC6] a statement that fails in the middle of a commit leaves nothing of it", () =>
    inObject((fixture) => {
      fixture.commit({ insertSegments: [segmentAt(1)] });

      // The same segment again breaks the key, after another was inserted.
      expect(() => fixture.commit({ position: POSITION, insertSegments: [segmentAt(2), segmentAt(1)] })).toThrow("UNIQUE");

      expect(fixture.open().readLastSegment()?.firstOffset).toBe(1);
      expect(fixture.count("segment")).toBe(1);
    }));

  test("[RC6] a first commit that fails leaves no tables", () =>
    inObject((fixture) => {
      const same = segmentAt(1);

      expect(() => fixture.commit({ insertSegments: [same, same] })).toThrow("UNIQUE");

      expect(fixture.tables()).toEqual([]);
      expect(fixture.open().readLastSegment()).toBeUndefined();
      fixture.commit({ insertSegments: [same] });
      expect(fixture.open().readLastSegment()?.firstOffset).toBe(1);
    }));

  test("[RC3] a commit that fails midway leaves nothing of it, also where no transaction is around it", () =>
    inObject((fixture) => {
      fixture.commit({ channel: RECORD });
      const same = segmentAt(1);

      expect(() => fixture.open().commit({ ...NO_CHANGES, insertSegments: [same, same] })).toThrow("UNIQUE");

      expect(fixture.open().readLastSegment()).toBeUndefined();
    }));

  test("[RC3] a schema that is newer than the code is not opened", () =>
    inObject((fixture) => {
      fixture.commit({ channel: RECORD });
      fixture.storage.exec("UPDATE schema_version SET version = ?", SCHEMA_VERSION + 1);

      expect(() => fixture.open()).toThrow(`schema version ${SCHEMA_VERSION + 1}`);
    }));

  test("[RC1] waking reads few rows, as many for a thousand segments as for ten", () =>
    inObject((fixture) => {
      const channel = new ChannelHarness({ settings: {} });
      const readOnWaking = [10, 1000].map((segments) => {
        for (let put = 0; put < segments; put += 1) {
          channel.put(["a", "b"]);
          fixture.commit(channel.changes ?? {});
        }
        channel.get();
        fixture.commit(channel.changes ?? {});
        const before = fixture.storage.rows.read;
        const store = fixture.open();
        for (const read of ["readChannel", "readPosition", "readLastSegment"] as const) store[read]();
        store.readSegmentUpTo(8);
        return fixture.storage.rows.read - before;
      });

      expect(readOnWaking[0]).toBe(readOnWaking[1]);
      expect(readOnWaking[0]).toBeLessThan(60);
    }));

  test("[RC3] what a channel commits reads the same from SQLite as from memory, whatever it does", async () => {
    const operations: fc.Arbitrary<Operation> = fc.oneof(
      fc
        .array(fc.record({ bytes: fc.constantFrom(0, 10, 300_000, 900_000, 2_000_000), id: fc.constantFrom("a", "b") }), {
          maxLength: 4,
        })
        .map((drafts): Operation => {
          const messages = drafts.map(({ bytes, id }) => sizedMessage(bytes, id === "a" ? { messageId: id } : {}));
          return { type: "put", messages };
        }),
      fc
        .record({ id: fc.constantFrom("p", "q"), epoch: fc.nat(1), seq: fc.integer({ min: 1, max: 4 }) })
        .map((producer): Operation => {
          return { type: "put", messages: [sizedMessage(producer.seq)], producer };
        }),
      fc.constantFrom("k", "l").map((idempotencyKey): Operation => {
        return { type: "put", messages: [sizedMessage(10)], idempotencyKey };
      }),
      fc.constantFrom<Operation>(
        { type: "delete", graceMs: 0 },
        { type: "create", settings: {} },
        { type: "create", settings: {} },
      ),
      fc.nat(5).map((max): Operation => ({ type: "get", max })),
      fc.integer({ min: 1, max: 20 }).map((offset): Operation => ({ type: "remove", offset })),
      fc.constantFrom<Operation>({ type: "remove-by-id", messageId: "a" }, { type: "purge" }),
      fc.integer({ min: 5, max: 50 }).map((maxMessages): Operation => ({ type: "patch", patch: { maxMessages } })),
      fc.record({ name: fc.constantFrom("a", "b", "c"), bytes: fc.nat(5000) }).map(({ name, bytes }): Operation => {
        return { type: "write-checkpoint", write: { name, value: new Uint8Array(bytes), contentType: "a/b" } };
      }),
      fc.constantFrom("a", "b", "c").map((name): Operation => ({ type: "delete-checkpoint", name })),
    );
    const commits = fc.array(fc.array(operations, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 12 });
    const property = fc.asyncProperty(commits, (plan) =>
      inObject((fixture) => {
        const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });
        fixture.commit(channel.changes ?? {});
        for (const planned of plan) {
          channel.together(() => planned.forEach((operation) => channel.apply(operation)));
          if (channel.changes !== undefined) fixture.commit(channel.changes);
          expectSameStores(fixture.open(), channel.store);
        }
      }),
    );

    expect.hasAssertions();
    await fc.assert(property, { numRuns: 25 });
  });
});

/** Compares all that can be read. */
function expectSameStores(actual: ChannelStore, expected: ChannelStore): void {
  expect(actual.readChannel()).toEqual(expected.readChannel());
  expect(actual.readPosition()).toEqual(expected.readPosition());
  expect(actual.findMessageId("a", 0)).toBe(expected.findMessageId("a", 0));
  const all = { after: "", prefix: "", limit: 9 };
  expect(actual.checkpoints.list(all)).toEqual(expected.checkpoints.list(all));
  expect(actual.checkpoints.readTotals()).toEqual(expected.checkpoints.readTotals());
  expect(actual.checkpoints.readDeletions()).toEqual(expected.checkpoints.readDeletions());
  const generations = expected.idempotency.readGenerations();
  expect(actual.idempotency.readGenerations()).toEqual(generations);
  for (const { id } of generations) {
    for (const key of ["k", "l"]) expect(actual.idempotency.find(id, key)).toEqual(expected.idempotency.find(id, key));
  }
  for (const id of ["p", "q"]) {
    const bucket = bucketOf(id, LIMITS.producerBuckets);
    expect(actual.producers.read(bucket, id)).toEqual(expected.producers.read(bucket, id));
    expect(actual.producers.readBucket(bucket)).toEqual(expected.producers.readBucket(bucket));
  }
  let from = 0;
  for (;;) {
    const [segment, twin] = [actual.readSegmentFrom(from), expected.readSegmentFrom(from)];
    expect(segment && { ...segment, block: segment.block.byteLength }).toEqual(twin && { ...twin, block: twin.block.byteLength });
    if (segment === undefined || twin === undefined) return;
    expect(isSame(segment.block, twin.block)).toBe(true);
    from = segment.firstOffset + 1;
  }
}

/** The tables that channels have in the field, by name. */
const SCHEMA = [
  "CREATE TABLE channel ( id INTEGER PRIMARY KEY CHECK (id = 1), record_json TEXT NOT NULL ) STRICT",
  "CREATE TABLE checkpoint ( name TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL, value_bytes INTEGER NOT NULL, content_type TEXT NOT NULL, value BLOB NOT NULL ) STRICT, WITHOUT ROWID",
  "CREATE TABLE checkpoint_deletions ( id INTEGER PRIMARY KEY CHECK (id = 1), version_max INTEGER NOT NULL, deleted_at_ms INTEGER NOT NULL ) STRICT",
  "CREATE TABLE dead_letter ( record_offset INTEGER NOT NULL, group_id INTEGER NOT NULL, group_name TEXT NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL, died_at_ms INTEGER NOT NULL, part_count INTEGER NOT NULL, body BLOB NOT NULL, history_json TEXT, PRIMARY KEY (record_offset, group_id) ) STRICT, WITHOUT ROWID",
  "CREATE TABLE dead_letter_part ( record_offset INTEGER NOT NULL, group_id INTEGER NOT NULL, part INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (record_offset, group_id, part) ) STRICT, WITHOUT ROWID",
  "CREATE TABLE dead_letter_totals ( id INTEGER PRIMARY KEY CHECK (id = 1), messages INTEGER NOT NULL, bytes INTEGER NOT NULL ) STRICT",
  "CREATE TABLE deferred ( row_id INTEGER PRIMARY KEY, messages_json TEXT NOT NULL ) STRICT",
  "CREATE TABLE gone ( first_offset INTEGER PRIMARY KEY, places BLOB NOT NULL ) STRICT",
  "CREATE TABLE group_done ( row_id INTEGER PRIMARY KEY, places BLOB NOT NULL ) STRICT",
  "CREATE TABLE idempotency_generation ( generation_id INTEGER PRIMARY KEY, until_ms INTEGER NOT NULL, keys_max INTEGER NOT NULL ) STRICT",
  "CREATE TABLE lease ( row_id INTEGER PRIMARY KEY, leases_json TEXT NOT NULL ) STRICT",
  "CREATE TABLE message_id ( message_id TEXT NOT NULL, record_offset INTEGER NOT NULL, PRIMARY KEY (message_id, record_offset) ) STRICT, WITHOUT ROWID",
  "CREATE TABLE position ( id INTEGER PRIMARY KEY CHECK (id = 1), next_offset INTEGER NOT NULL, head_offset INTEGER NOT NULL, put_messages INTEGER NOT NULL, put_bytes INTEGER NOT NULL, put_segments INTEGER NOT NULL, passed_messages INTEGER NOT NULL, passed_bytes INTEGER NOT NULL, passed_segments INTEGER NOT NULL, ahead_messages INTEGER NOT NULL, ahead_bytes INTEGER NOT NULL, ahead_segments INTEGER NOT NULL, removed_messages INTEGER NOT NULL, last_control_offset INTEGER NOT NULL, written_at_ms INTEGER NOT NULL , dead_lettered_messages INTEGER NOT NULL DEFAULT 0, dropped_messages INTEGER NOT NULL DEFAULT 0, scan_mark INTEGER NOT NULL DEFAULT 0, lost_ahead_bytes INTEGER NOT NULL DEFAULT 0, last_ttl_offset INTEGER NOT NULL DEFAULT 0, expired_messages INTEGER NOT NULL DEFAULT 0) STRICT",
  "CREATE TABLE producer ( bucket INTEGER NOT NULL, producer_id TEXT NOT NULL, used_at_ms INTEGER NOT NULL, epoch INTEGER NOT NULL, last_seq INTEGER NOT NULL, outcomes BLOB NOT NULL, PRIMARY KEY (bucket, producer_id) ) STRICT, WITHOUT ROWID",
  "CREATE TABLE reader_group ( group_id INTEGER PRIMARY KEY, record_json TEXT NOT NULL ) STRICT",
  "CREATE TABLE schedule ( id INTEGER PRIMARY KEY CHECK (id = 1), message_count INTEGER NOT NULL, message_bytes INTEGER NOT NULL, next_at_ms INTEGER, last_id INTEGER NOT NULL ) STRICT",
  "CREATE TABLE scheduled ( due_at_ms INTEGER NOT NULL, scheduled_id INTEGER NOT NULL, message_bytes INTEGER NOT NULL, part_count INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (due_at_ms, scheduled_id) ) STRICT, WITHOUT ROWID",
  "CREATE TABLE scheduled_part ( due_at_ms INTEGER NOT NULL, scheduled_id INTEGER NOT NULL, part INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (due_at_ms, scheduled_id, part) ) STRICT, WITHOUT ROWID",
  "CREATE TABLE schema_version (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT",
  "CREATE TABLE segment ( first_offset INTEGER PRIMARY KEY, record_count INTEGER NOT NULL, message_count INTEGER NOT NULL, message_bytes INTEGER NOT NULL, before_messages INTEGER NOT NULL, before_bytes INTEGER NOT NULL, before_segments INTEGER NOT NULL, put_at_ms INTEGER NOT NULL, part_count INTEGER NOT NULL, body BLOB NOT NULL ) STRICT",
  "CREATE TABLE segment_part ( part_id INTEGER PRIMARY KEY, body BLOB NOT NULL ) STRICT",
  "CREATE TABLE snapshot_state ( id INTEGER PRIMARY KEY CHECK (id = 1), state_json TEXT NOT NULL ) STRICT",
];

/** A block of one plain message in the form that was stored before version 8 of the schema. */
function oldBlock(offset: number, text: string): Uint8Array<ArrayBuffer> {
  const lengths: number[] = [];
  for (let rest = text.length; rest > 0; rest = Math.floor(rest / 128)) lengths.push((rest % 128) | (rest >= 128 ? 128 : 0));
  const index = [2, 4, 0, ...lengths, 1, "s".charCodeAt(0)];
  const block = new Uint8Array(32 + index.length + text.length);
  block.set([0xec, 1, 0, 0, 1, 0, 0, 0, index.length, 0, 0, 0, 0, 0, 0, 0, offset, 0, 0, 0, 0, 0, 0, 0, 9], 0);
  block.set(index, 32);
  block.set(encodeUtf8(text), 32 + index.length);
  return block;
}

describe("src/storage/schema", () => {
  test("[RC3] storage of the first schema gets the tables that came later, and keeps what it has", () =>
    inObject((fixture) => {
      fixture.storage.transaction(() => migrate(fixture.storage, 0, 1));
      fixture.storage.exec("INSERT INTO channel (id, record_json) VALUES (1, ?)", JSON.stringify(RECORD));
      fixture.storage.exec("INSERT INTO position VALUES (1, 9, 2, 8, 800, 4, 1, 100, 1, 0, 0, 0, 3, 0, 5)");

      const store = fixture.open();

      expect(fixture.tables()).toContain("checkpoint");
      expect(store.readChannel()).toEqual(RECORD);
      expect(store.readPosition()).toMatchObject({
        nextOffset: 9,
        fates: { removed: 3, deadLettered: 0, dropped: 0, expired: 0 },
        scanMark: 0,
      });
      expect(store.checkpoints.list({ after: "", prefix: "", limit: 9 })).toEqual([]);
      expect(fixture.storage.exec("SELECT version FROM schema_version")).toEqual([{ version: SCHEMA_VERSION }]);
    }));

  test("[RC3] blocks of an earlier form are written anew, also those that take several rows, and what is read of them stays", () =>
    inObject((fixture) => {
      const { storage } = fixture;
      storage.transaction(() => migrate(storage, 0, 7));
      const [small, large] = [oldBlock(1, "small".repeat(3)), oldBlock(2, "x".repeat(4_000_000))];
      const [first, ...rest] = [0, 1, 2].map((part) => large.buffer.slice(part * PART_BYTES_MAX, (part + 1) * PART_BYTES_MAX));
      const segment = "INSERT INTO segment VALUES (?, 1, 1, 1, 0, 0, 0, 9, ?, ?)";
      storage.exec(segment, 1, 1, small.buffer);
      storage.exec(segment, 2, 3, first ?? null);
      for (const [index, part] of rest.entries()) storage.exec("INSERT INTO segment_part VALUES (?, ?)", 32 + index + 1, part);
      storage.exec("INSERT INTO scheduled VALUES (7, 5, 1, 1, ?)", oldBlock(1, "later").buffer);
      storage.exec("INSERT INTO dead_letter VALUES (4, 0, 'default', 3, 'r', 8, 1, ?, NULL)", oldBlock(4, "dead").buffer);
      storage.exec("INSERT INTO snapshot_state VALUES (1, '{}')");
      storage.exec("CREATE TABLE kept_segment (first_offset INTEGER)");

      const store = fixture.open();

      const blocks = [1, 2].map((offset) => Block.ofStored(store.readSegmentFrom(offset)?.block ?? new Uint8Array()));
      expect(blocks.map((block) => block.message(0).body.byteLength)).toEqual([15, 4_000_000]);
      expect(blocks[1]?.message(0)).toMatchObject({ offset: 2, putAtMs: 9, source: "s" });
      expect(decodeUtf8(Block.ofStored(store.schedule.readBlock({ dueAtMs: 7, id: 5 })).message(0).body)).toBe("later");
      expect(decodeUtf8(store.deadLetters.readFrom({ offset: 0, groupId: 0 })?.message.body ?? new Uint8Array())).toBe("dead");
      expect([fixture.count("segment_part"), fixture.count("snapshot_state")]).toEqual([2, 0]);
      expect(fixture.tables()).not.toContain("kept_segment");
    }));

  test("[RC3] the schema is what it was: change SCHEMA only together with a new migration", () =>
    inObject((fixture) => {
      fixture.commit({ channel: RECORD });
      const select = "SELECT sql FROM sqlite_master WHERE name NOT LIKE '_cf_%' AND sql IS NOT NULL ORDER BY name";

      const dump = fixture.storage.exec<{ sql: string }>(select).map(({ sql }) => sql.replaceAll(/\s+/g, " "));

      expect(dump).toEqual(SCHEMA);
      expect(fixture.storage.exec("SELECT version FROM schema_version")).toEqual([{ version: SCHEMA_VERSION }]);
    }));
});
