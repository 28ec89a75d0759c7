// Storage in proportion: what was settled out of order does not stay (SPEC RC9).
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, expectType, kindOf, sizedMessage } from "./channel-harness.ts";

function storedBytes(channel: ChannelHarness): number {
  return channel.store.listSegments().reduce((bytes, { block }) => bytes + block.byteLength, 0);
}

/** Without the row that stays for the next segment (rule RC7). */
function countNeeded(channel: ChannelHarness): number {
  const { firstOffset: head } = channel.describe();
  return channel.store.listSegments().filter(({ firstOffset, count }) => firstOffset + count > head).length;
}

function expectInProportion(channel: ChannelHarness): void {
  const { bytes } = channel.describe();
  expect(storedBytes(channel)).toBeLessThanOrEqual(2 * bytes + 4_000_000);
}

/** Fills with batches and settles all but every `keep`-th message, in the order of offsets or a scattered one. */
function settleSpread(messages: number, bytes: number, keep: number): ChannelHarness {
  const channel = new ChannelHarness({ settings: { delivery: { maxInFlight: 10_000 } } });
  const batch = 100;
  for (let put = 0; put < messages; put += batch) {
    channel.putMessages(Array.from({ length: batch }, () => sizedMessage(bytes)));
    const { granted, messages: pulled } = expectType(channel.pull({ max: batch }), "got");
    const acks = pulled.flatMap(({ offset }, index) =>
      offset % keep === 0 ? [] : [{ leaseId: granted?.leaseIds[index] ?? "" }],
    );
    channel.settle({ acks });
    const { length } = granted?.leaseIds ?? [];
    const kept = pulled.findIndex(({ offset }) => offset % keep === 0);
    if (length !== undefined && kept >= 0) {
      channel.settle({ retries: [{ leaseId: granted?.leaseIds[kept] ?? "", delayMs: 30 * 24 * 3_600_000 }] });
    }
  }
  return channel;
}

/** Compaction begins as soon as more was removed than is kept. */
function withoutSlack(work: () => void): void {
  const slack = LIMITS.compactionSlackBytes;
  Object.assign(LIMITS, { compactionSlackBytes: 0 });
  try {
    work();
  } finally {
    Object.assign(LIMITS, { compactionSlackBytes: slack });
  }
}

describe("src/channel/compaction", () => {
  test("[RC9] with 99 of 100 messages settled, spread, storage stays at twice the live bytes and 4 MB", () => {
    const channel = settleSpread(40_000, 1_000, 100);

    expectInProportion(channel);
    expect(channel.describe()).toMatchObject({ depth: 400, bytes: 400_000, counts: { acked: 39_600 } });
    channel.evict();
    expect(channel.browse(1, 1000).messages.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 400 }, (_, index) => (index + 1) * 100),
    );
  });

  test("[RC9] the commit that settles them makes the room, and what the head stands in is within the 4 MB", () => {
    const channel = new ChannelHarness({ settings: { delivery: { maxInFlight: 10_000 } } });
    const puts = Array.from({ length: 100 }, () => sizedMessage(1_000));
    for (let put = 0; put < 10_000; put += puts.length) channel.putMessages(puts);
    const leases: string[] = [];
    for (let pull = 0; pull < 2; pull++)
      leases.push(...(expectType(channel.pull({ max: 5_000 }), "got").granted?.leaseIds ?? []));

    channel.settle({ acks: leases.filter((_, index) => index % 100 !== 50).map((leaseId) => ({ leaseId })) });

    expect(channel.describe()).toMatchObject({ depth: 100, bytes: 100_000, counts: { acked: 9_900 } });
    expect(storedBytes(channel)).toBeLessThanOrEqual(2 * 100_000 + 4_000_000);
    channel.evict();
    expect(channel.browse(1, 1000).messages.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 100 }, (_, index) => index * 100 + 51),
    );
  });

  test("[RC9] [RC1] waking after that reads few rows, and everything comes back in its order", () => {
    const channel = settleSpread(40_000, 1_000, 100);
    channel.evict();
    expect(channel.store.rowsRead).toBeGreaterThan(0);
    channel.store.rowsRead = 0;
    channel.evict();
    expect(channel.store.rowsRead).toBeLessThan(20);

    channel.nowMs += 30 * 24 * 3_600_000;
    const offsets: number[] = [];
    for (let pulls = 0; pulls < 10; pulls++) {
      const { granted, messages } = expectType(channel.pull({ max: 50 }), "got");
      offsets.push(...messages.map(({ offset }) => offset));
      channel.settle({ acks: (granted?.leaseIds ?? []).map((leaseId) => ({ leaseId })) });
    }

    expect(offsets).toEqual(Array.from({ length: 400 }, (_, index) => (index + 1) * 100));
    expect(channel.describe()).toMatchObject({ depth: 0, bytes: 0, segments: 0, counts: { put: 40_000, acked: 40_000 } });
    expect(countNeeded(channel)).toBe(0);
  });

  test("[RC9] [G4] the totals are right after waking where segments lost their first records only", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.put(["first"]);
    for (let put = 0; put < 10; put++) {
      channel.putMessages(Array.from({ length: 100 }, () => sizedMessage(9_000)));
      channel.put(["between"]);
    }
    // All but the last of each batch.
    channel.together(() => {
      for (let offset = 2; offset < 1012; offset++) if ((offset - 2) % 101 < 99) channel.apply({ type: "remove", offset });
    });
    expect(channel.changes?.insertSegments.map(({ count }) => count)).toEqual(Array.from({ length: 10 }, () => 1));
    channel.apply({ type: "remove", offset: 1011 });

    for (let depth = 20; depth >= 0; depth--) {
      expect(channel.describe().depth).toBe(depth);
      channel.evict();
      expect(channel.describe().depth).toBe(depth);
      channel.apply({ type: "get", max: 1 });
    }
  });

  test("[RC9] the head passes what was left out behind a control record, though no total tells of it any more", () => {
    withoutSlack(() => {
      const channel = new ChannelHarness({ settings: {} });
      channel.put(["a"]);
      channel.together(() => {
        channel.patch({ maxMessages: 10 });
        channel.put(["long enough", "to be more", "than what is left"]);
      });
      channel.put(["b"]);
      channel.together(() => {
        for (const offset of [3, 4, 5]) channel.apply({ type: "remove", offset });
      });
      expect(channel.changes?.insertSegments).toMatchObject([{ firstOffset: 2, count: 4, messages: 0 }]);
      channel.apply({ type: "remove", offset: 1 });
      expect(channel.describe().firstOffset).toBe(2);

      expect(channel.pull()).toMatchObject({ messages: [{ offset: 6 }], controls: [{ offset: 2 }] });
      expect(channel.describe().firstOffset).toBe(6);
    });
  });

  test("[RC9] [G1] a control record that supersedes one that was left out takes nothing of what is kept with it", () => {
    withoutSlack(() => {
      const channel = new ChannelHarness({ settings: {} });
      channel.put(["a"]);
      channel.together(() => {
        channel.put(["kept", "longer than what is kept"]);
        channel.patch({ maxMessages: 10 });
      });
      const { granted, controls } = expectType(channel.pull({ max: 3 }), "got");
      channel.settle({ acks: [{ leaseId: granted?.leaseIds[2] ?? "" }] });
      expect([controls, channel.changes?.insertSegments]).toMatchObject([
        [{ offset: 4 }],
        [{ firstOffset: 2, count: 3, messages: 1 }],
      ]);

      channel.patch({ maxMessages: 11 });

      expect(channel.browseTexts()).toEqual(["a", "kept"]);
      channel.evict();
      expect(channel.browseTexts()).toEqual(["a", "kept"]);
      expect(channel.describe()).toMatchObject({ depth: 2, nextOffset: 6 });
    });
  });

  test("[RC9] [TL5] what a commit ends stays ended, though the next deadline is looked for before it is stored", () => {
    withoutSlack(() => {
      const channel = new ChannelHarness({ settings: { maxMessages: 6, messageTtlMs: 60_000 } });
      channel.put(["a", "b", "c"]);
      channel.put(["d", "e", "f"]);
      const [a, b, c, d, e] = expectType(channel.pull({ max: 6 }), "got").granted?.leaseIds ?? [];
      const origin = { connection: channel.connect(), request: 1 };
      expect(kindOf(channel.put(["1", "2", "3", "4", "5"], { waitMs: 10_000, origin }))).toBe("waiting");

      const acks = [b, c, d, e].map((leaseId = "") => ({ leaseId }));
      channel.settle({ acks, retries: [{ leaseId: a ?? "", delayMs: 1 }] });

      expect(channel.changes?.insertSegments.map(({ messages }) => messages)).toEqual([1]);
      expect(channel.browseTexts()).toEqual(["a", "f"]);
      channel.nowMs += 1;
      expect(channel.getTexts(6)).toEqual(["a"]);
      expect(channel.describe()).toMatchObject({ depth: 1, firstOffset: 6, counts: { acked: 5 } });
    });
  });

  test("[RC9] [G4] whatever is removed, kept, put, evicted: contents, totals and proportion are right", () => {
    const step = fc.oneof(
      fc.record({ type: fc.constant("put" as const), count: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ type: fc.constant("remove" as const), every: fc.integer({ min: 1, max: 5 }), from: fc.nat(300) }),
      fc.record({ type: fc.constant("take" as const), max: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ type: fc.constant("evict" as const) }),
    );
    const slack = LIMITS.compactionSlackBytes;
    let compacted = 0;
    Object.assign(LIMITS, { compactionSlackBytes: 500, segmentBytesMax: 3_000 });
    try {
      fc.assert(
        fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
          const channel = new ChannelHarness({ settings: {} });
          let kept: number[] = [];
          let next = 1;
          let [got, wanted]: number[][] = [[], []];
          for (const taken of steps) {
            if (taken.type === "put") {
              channel.putMessages(Array.from({ length: taken.count }, () => sizedMessage(100)));
              for (let put = 0; put < taken.count; put++) kept.push(next++);
            } else if (taken.type === "remove") {
              const removed = kept.filter((_, index) => index >= taken.from && index % taken.every !== 0);
              channel.together(() => {
                for (const offset of removed) channel.apply({ type: "remove", offset });
              });
              kept = kept.filter((offset) => !removed.includes(offset));
            } else if (taken.type === "take") {
              const { messages } = expectType(channel.get({ max: taken.max, min: 0 }), "got");
              got = messages.map(({ offset }) => offset);
              wanted = kept.slice(0, taken.max);
              kept = kept.slice(taken.max);
            } else channel.evict();
            compacted += channel.changes?.insertSegments.some(({ count, messages }) => count !== messages) === true ? 1 : 0;
            expect(got).toEqual(wanted);
            expect(channel.describe()).toMatchObject({ depth: kept.length, bytes: kept.length * 100, nextOffset: next });
            expect(channel.describe().segments).toBe(countNeeded(channel));
          }
          expect(channel.browse(1, 1000).messages.map(({ offset }) => offset)).toEqual(kept.slice(0, 1000));
        }),
        { numRuns: 150 },
      );
      expect(compacted).toBeGreaterThan(10);
    } finally {
      Object.assign(LIMITS, { compactionSlackBytes: slack, segmentBytesMax: 1_000_000 });
    }
  });
});
