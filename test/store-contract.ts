// What every ChannelStore does (the port in src/channel/store.ts), as tests that run over the memory store and over SQLite.
import { expect, test } from "vitest";
import { encodeGonePlaces } from "../src/channel/gone-places.ts";
import type { ChannelRecord, Changes, ChannelStore, NewSegment, Position } from "../src/channel/store.ts";
import { LIMITS } from "../src/protocol/limits.ts";
import { OFFSET_MAX } from "../src/protocol/names.ts";
import { DEFAULT_SETTINGS } from "../src/protocol/settings.ts";

/** A store to test. */
export interface StoreFixture {
  /** The store over what is stored, as after waking. */
  readonly open: () => ChannelStore;
  /** Commits in a transaction. */
  readonly commit: (changes: Partial<Changes>) => void;
}

/** Runs `use` on a store that is empty, and ends it afterwards. */
export type InStore = (use: (fixture: StoreFixture) => void) => void | Promise<void>;

export const NO_CHANGES: Changes = {
  isPurge: false,
  deleteBelowOffset: 0,
  deleteSegments: [],
  reuseSegment: 0,
  insertSegments: [],
  writeGone: new Map(),
  deleteMessageIds: [],
  insertMessageIds: [],
  position: undefined,
  delivery: undefined,
  deadLetters: undefined,
  groups: undefined,
  checkpoints: undefined,
  channel: undefined,
  schedule: undefined,
  producers: undefined,
  idempotency: undefined,
  snapshots: undefined,
};

export const RECORD: ChannelRecord = {
  life: "life-1",
  leaseSecret: "00112233445566778899aabbccddeeff",
  state: "draining",
  settings: { ...DEFAULT_SETTINGS, growth: { factor: 1.5, maxMessages: 2_000_000, maxBytes: 2 ** 31 } },
  limits: { maxMessages: 5, maxBytes: 6 },
  createdAtMs: 1_800_000_000_000,
  drainUntilMs: 1_800_000_000_001,
  deletedAtMs: null,
  droppedMessages: 7,
  isExpired: false,
  outbox: { version: 1_800_000_000_002, isPending: true, attempts: 3, nextAttemptAtMs: 1_800_000_000_003 },
};

/** Every number is another, so that no two can be taken for each other. */
export const POSITION: Position = {
  nextOffset: 1001,
  headOffset: 502,
  put: { messages: 903, bytes: 804_000_000_000, segments: 705 },
  passed: { messages: 406, bytes: 307, segments: 208 },
  removedAhead: { messages: 109, bytes: 110, segments: 11 },
  lostAheadBytes: 118,
  fates: { removed: 112, deadLettered: 115, dropped: 117, expired: 119 },
  lastControlOffset: 513,
  scanMark: 616,
  lastTtlOffset: 617,
  writtenAtMs: 1_800_000_000_014,
};

/** A segment of `count` records whose block is `blockBytes` long. */
export function segmentAt(firstOffset: number, count = 1, blockBytes = 40): NewSegment {
  const block = new Uint8Array(blockBytes);
  for (let index = 0; index < blockBytes; index += 1 + Math.floor(blockBytes / 1000))
    block[index] = (firstOffset * 31 + index) % 251;
  const before = { messages: firstOffset + 1, bytes: firstOffset + 2, segments: firstOffset + 3 };
  return { firstOffset, count, messages: count, bytes: blockBytes, before, putAtMs: 1_800_000_000_000 + firstOffset, block };
}

const GONE = encodeGonePlaces(new Set([0, 2, 3]));
const ids = (messageId: string, ...offsets: number[]): { messageId: string; offset: number }[] =>
  offsets.map((offset) => ({ messageId, offset }));

/** The first offsets of all segments, walked upwards. */
function firstOffsetsOf(store: ChannelStore): number[] {
  const offsets: number[] = [];
  for (let segment = store.readSegmentFrom(0); segment !== undefined; segment = store.readSegmentFrom(segment.firstOffset + 1)) {
    offsets.push(segment.firstOffset);
  }
  return offsets;
}

function goneAt(store: ChannelStore, firstOffset: number): Uint8Array | undefined {
  const segment = store.readSegmentFrom(firstOffset);
  expect(segment?.firstOffset).toBe(firstOffset);
  return segment?.gone;
}

/** Compares bytes. A matcher that explains a difference of megabytes takes minutes. */
export function isSame(a: Uint8Array | undefined, b: Uint8Array): boolean {
  if (a?.byteLength !== b.byteLength) return false;
  for (let index = 0; index < b.byteLength; index += 1) if (a[index] !== b[index]) return false;
  return true;
}

/** Has to be called in a `describe`. */
export function testStoreContract(inStore: InStore): void {
  test("[RC1] a fresh store reads as empty", () =>
    inStore(({ open }) => {
      const store = open();

      expect(store.readChannel()).toBeUndefined();
      expect(store.readPosition()).toBeUndefined();
      expect(store.readLastSegment()).toBeUndefined();
      expect(store.readSegmentFrom(0)).toBeUndefined();
      expect(store.readSegmentUpTo(OFFSET_MAX)).toBeUndefined();
      expect(store.findMessageId("a", 0)).toBeUndefined();
    }));

  test("[RC3] the channel's record comes back as it was written, the last one", () =>
    inStore(({ open, commit }) => {
      commit({ channel: { ...RECORD, life: "earlier", deletedAtMs: 5 } });

      commit({ channel: RECORD });

      expect(open().readChannel()).toEqual(RECORD);
    }));

  test("[RC2] the position comes back as it was written, the last one", () =>
    inStore(({ open, commit }) => {
      commit({ position: { ...POSITION, nextOffset: 1, headOffset: 1 } });

      commit({ position: POSITION });

      expect(open().readPosition()).toEqual(POSITION);
    }));

  test("[RC3] what a commit does not mention stays", () =>
    inStore(({ open, commit }) => {
      commit({ channel: RECORD, position: POSITION, insertSegments: [segmentAt(1)], insertMessageIds: ids("a", 1) });

      commit({});

      const store = open();
      expect([store.readChannel(), store.readPosition()]).toEqual([RECORD, POSITION]);
      expect(firstOffsetsOf(store)).toEqual([1]);
      expect(store.findMessageId("a", 0)).toBe(1);
    }));

  test("[RC4] a segment comes back as it was written", () =>
    inStore(({ open, commit }) => {
      const segment = segmentAt(7, 3, 500);

      commit({ insertSegments: [segment] });

      expect(open().readSegmentFrom(7)).toEqual({ ...segment, gone: undefined });
      const { block: _, ...rest } = segment;
      expect(open().readLastSegment()).toMatchObject(rest);
    }));

  test("[RC1] segments are found from an offset on, and up to one", () =>
    inStore(({ open, commit }) => {
      commit({ insertSegments: [segmentAt(3, 2), segmentAt(5, 4), segmentAt(20)] });
      const store = open();
      const find = (offset: number): (number | undefined)[] => [
        store.readSegmentFrom(offset)?.firstOffset,
        store.readSegmentUpTo(offset)?.firstOffset,
      ];

      expect([0, 2, 3, 4, 5, 8, 15, 20, 21].map(find)).toEqual([
        [3, undefined],
        [3, undefined],
        [3, 3],
        [5, 3],
        [5, 5],
        [20, 5],
        [20, 5],
        [20, 20],
        [undefined, 20],
      ]);
      expect(store.readLastSegment()?.firstOffset).toBe(20);
    }));

  test("[RC7] segments below an offset are deleted, with all that belongs to them", () =>
    inStore(({ open, commit }) => {
      commit({
        insertSegments: [1, 5, 9].map((first) => segmentAt(first, 4)),
        writeGone: new Map([1, 5, 9].map((first) => [first, GONE])),
      });

      commit({ deleteBelowOffset: 9 });
      commit({ insertSegments: [] });

      expect(firstOffsetsOf(open())).toEqual([9]);
      expect(goneAt(open(), 9)).toEqual(GONE);
      expect(open().readSegmentUpTo(8)).toBeUndefined();
    }));

  test("[RC7] single segments are deleted, with all that belongs to them", () =>
    inStore(({ open, commit }) => {
      commit({
        insertSegments: [1, 5, 9].map((first) => segmentAt(first, 4)),
        writeGone: new Map([1, 5, 9].map((first) => [first, GONE])),
      });

      commit({ deleteSegments: [5] });
      expect(firstOffsetsOf(open())).toEqual([1, 9]);
      commit({ insertSegments: [segmentAt(11)], deleteSegments: [9] });
      expect(firstOffsetsOf(open())).toEqual([1, 11]);
      expect(goneAt(open(), 1)).toEqual(GONE);
    }));

  test("[RC7] a segment takes the row of another", () =>
    inStore(({ open, commit }) => {
      commit({ insertSegments: [segmentAt(1, 4)], writeGone: new Map([[1, GONE]]) });

      commit({ reuseSegment: 1, insertSegments: [segmentAt(5, 4), segmentAt(9)] });

      expect(firstOffsetsOf(open())).toEqual([5, 9]);
      expect([goneAt(open(), 5), open().readGoneFrom(0, 9)]).toEqual([undefined, []]);
      expect(open().readLastSegment()).toMatchObject({ firstOffset: 9 });
    }));

  test("[RM3] a purge deletes segments, removed places and message ids, nothing else", () =>
    inStore(({ open, commit }) => {
      commit({
        channel: RECORD,
        position: POSITION,
        insertSegments: [segmentAt(1, 4), segmentAt(5)],
        writeGone: new Map([[1, GONE]]),
        insertMessageIds: ids("a", 1, 5),
      });

      commit({ isPurge: true });

      const store = open();
      expect([firstOffsetsOf(store), store.findMessageId("a", 0)]).toEqual([[], undefined]);
      expect([store.readChannel(), store.readPosition()]).toEqual([RECORD, POSITION]);
    }));

  test("[RC3] in one commit deletions come first: what is inserted beside them stays", () =>
    inStore(({ open, commit }) => {
      commit({
        insertSegments: [segmentAt(1, 4), segmentAt(5, 4)],
        writeGone: new Map([[5, GONE]]),
        insertMessageIds: ids("a", 1),
      });

      commit({
        isPurge: true,
        deleteBelowOffset: 5,
        deleteSegments: [5],
        insertSegments: [segmentAt(5, 2)],
        insertMessageIds: ids("a", 5),
      });

      expect(firstOffsetsOf(open())).toEqual([5]);
      expect(open().readSegmentFrom(5)).toMatchObject({ count: 2, gone: undefined });
      expect(open().findMessageId("a", 0)).toBe(5);
    }));

  test("[RC3] a commit may write removed places of a segment that it inserts, and replace an id that it deletes", () =>
    inStore(({ open, commit }) => {
      commit({ insertMessageIds: ids("a", 3) });

      commit({
        insertSegments: [segmentAt(3, 4)],
        writeGone: new Map([[3, GONE]]),
        deleteMessageIds: ids("a", 3),
        insertMessageIds: ids("a", 3),
      });

      expect(goneAt(open(), 3)).toEqual(GONE);
      expect(open().findMessageId("a", 0)).toBe(3);
    }));

  test("[RM2] removed places are replaced by later ones", () =>
    inStore(({ open, commit }) => {
      const more = encodeGonePlaces(new Set([0, 1, 2, 3]));
      commit({ insertSegments: [segmentAt(1, 5)], writeGone: new Map([[1, GONE]]) });

      commit({ writeGone: new Map([[1, more]]) });

      expect(goneAt(open(), 1)).toEqual(more);
      expect(open().readSegmentUpTo(1)?.gone).toEqual(more);
    }));

  test("[RM2] a message id finds its least offset that is not lower than another; ids may repeat", () =>
    inStore(({ open, commit }) => {
      commit({ insertMessageIds: [...ids("a", 9, 2, 5), ...ids("b", 3)] });
      const store = open();

      expect([0, 2, 3, 6, 10].map((from) => store.findMessageId("a", from))).toEqual([2, 2, 5, 9, undefined]);
      expect([store.findMessageId("b", 0), store.findMessageId("c", 0)]).toEqual([3, undefined]);
      commit({ deleteMessageIds: ids("a", 2, 9) });
      expect([0, 6].map((from) => store.findMessageId("a", from))).toEqual([5, undefined]);
      expect(store.findMessageId("b", 0)).toBe(3);
    }));

  test.each(["A", "ä", "'; --", "%", "a\u0000b", "😀", "x".repeat(LIMITS.messageIdBytesMax)])(
    "[RM2] a message id is kept exactly: %j",
    (messageId) =>
      inStore(({ open, commit }) => {
        commit({ insertMessageIds: [...ids(messageId, 1), ...ids(messageId.toLowerCase(), 2), ...ids("a", 3)] });

        expect(open().findMessageId(messageId, 0)).toBe(1);
        expect(open().findMessageId(`${messageId} `, 0)).toBeUndefined();
      }),
  );

  test.each([LIMITS.segmentBytesMax, LIMITS.rowBytesMax, 3_800_000, 3_800_001, LIMITS.messageBytesMax + 200_000])(
    "[RC5] a block of %d bytes comes back as it was written",
    (bytes) =>
      inStore(({ open, commit }) => {
        const segments = [segmentAt(1, 1, 50), segmentAt(2, 1, bytes), segmentAt(3, 1, 60)];

        commit({ insertSegments: segments });

        for (const segment of segments) {
          const read = open().readSegmentUpTo(segment.firstOffset);
          expect(read?.block.byteLength).toBe(segment.block.byteLength);
          expect(isSame(read?.block, segment.block)).toBe(true);
        }
      }),
  );

  test("[RC5] blocks that are split are deleted whole, and leave their neighbours whole", () =>
    inStore(({ open, commit }) => {
      const bytes = 4_000_000;
      commit({ insertSegments: [1, 2, 3, 4].map((first) => segmentAt(first, 1, bytes)) });

      commit({ deleteSegments: [3] });
      commit({ deleteBelowOffset: 2 });

      for (const first of [2, 4]) {
        const read = open().readSegmentFrom(first);
        expect(isSame(read?.block, segmentAt(first, 1, bytes).block)).toBe(true);
      }
      commit({ isPurge: true, insertSegments: [segmentAt(2, 1, bytes)] });
      expect(open().readSegmentFrom(1)?.block.byteLength).toBe(bytes);
    }));

  test("[OR4] offsets up to 2^48 are exact", () =>
    inStore(({ open, commit }) => {
      const last = OFFSET_MAX - 1;
      commit({
        insertSegments: [segmentAt(last - 1, 1, 4_000_000), segmentAt(last, 1, 4_000_000)],
        insertMessageIds: ids("a", last - 1, last),
        position: { ...POSITION, nextOffset: OFFSET_MAX },
      });

      commit({ deleteBelowOffset: last });

      expect(open().readSegmentFrom(0)).toMatchObject({ firstOffset: last });
      expect(open().readSegmentFrom(0)?.block.byteLength).toBe(4_000_000);
      expect([open().findMessageId("a", last), open().readPosition()?.nextOffset]).toEqual([last, OFFSET_MAX]);
    }));
}
