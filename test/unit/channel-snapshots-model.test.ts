// Whatever happened before a snapshot and happens while it is read: a channel that is restored from it does what the first did at that
// moment. Method: two channels get the same operations; one stops at the moment, the other goes on and is read.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { NO_CHANGES } from "../store-contract.ts";
import { ChannelHarness } from "./channel-harness.ts";
import { drawFrom, RandomOperations, RETENTIONS, settingsOf } from "./snapshot-operations.ts";
import { beginSnapshot, readPages, restore } from "./snapshot-steps.ts";

const LONG_MS = 60_000;

/** Ends all leases as a restore does: what it does to one is shown elsewhere, and here that nothing else differs. */
function endLeases({ harness }: { readonly harness: ChannelHarness }): ChannelHarness {
  const { record } = harness.channel;
  if (record !== undefined) harness.store.commit({ ...NO_CHANGES, channel: { ...record, leasesEndedAtMs: 0 } });
  harness.evict();
  return harness;
}

/** All that can be seen of a channel, the last of it by taking it. */
function observe(harness: ChannelHarness): unknown {
  const scheduled = harness.listScheduled();
  harness.tick(LONG_MS);
  const facts = { ...harness.describe(), life: "" };
  const groups = harness.apply({ type: "list-groups", limit: 100 });
  const names = groups.type === "groups" ? groups.groups.map(({ group }) => group) : [];
  const looks = [
    harness.browse(),
    harness.apply({ type: "dead-letters", fromOffset: 1, limit: 100, filter: {} }),
    ...["c0", "c1", "c2"].map((name) => harness.apply({ type: "read-checkpoint", name })),
  ];
  const duplicates = [
    ...["p0", "p1", "p2"].map((id) => harness.put(["?"], { producer: { id, epoch: 1, seq: 1 } })),
    ...["once 0", "once 1", "once 2"].map((idempotencyKey) => harness.put(["?"], { idempotencyKey })),
  ];
  const taken = names.map((group) => {
    const got = harness.apply({ type: "get", max: 1000, group, lease: { leaseMs: 30_000, isDetached: true } });
    if (got.type !== "got") return got;
    const { messages, controls, granted } = got;
    return { messages, controls, attempts: granted?.attempts, redelivered: granted?.redelivered };
  });
  const removed = Array.from({ length: 9 }, (_, id) => harness.apply({ type: "remove-by-id", messageId: `id ${id}` }));
  const counts = { ...facts, groups, names };
  return { scheduled, counts, looks, duplicates, taken, removed, next: harness.put(["next"]) };
}

test.each(RETENTIONS)(
  "[SN1] [SN2] [SN8] a restored channel does what the first did at the moment of the snapshot: %s",
  (retention) => {
    const numbers = fc.array(fc.nat(10_000), { minLength: 5, maxLength: 60 });
    fc.assert(
      fc.property(numbers, fc.nat(60), fc.integer({ min: 50, max: 2000 }), fc.boolean(), (drawn, steps, bytesMax, evicts) => {
        const [stopped, source] = [0, 1].map(() => {
          const harness = new ChannelHarness({ settings: settingsOf(retention) });
          return { harness, operations: new RandomOperations(harness, drawFrom(drawn)) };
        });
        if (stopped === undefined || source === undefined) return;
        for (let step = 0; step < steps; step++) for (const { operations } of [stopped, source]) operations.step();
        const snapshotId = beginSnapshot(source.harness);
        const { nowMs } = source.harness;
        const pages = readPages(source.harness, snapshotId, bytesMax, () => {
          // Reading goes on for as long as it takes, but not for a minute between pages.
          const before = source.harness.nowMs;
          source.operations.step();
          source.harness.nowMs = before;
          if (evicts) source.harness.evict();
        });
        const target = restore(pages, nowMs, (harness) => {
          if (evicts) harness.evict();
        });

        expect(observe(target)).toEqual(observe(endLeases(stopped)));
      }),
      { numRuns: 100 },
    );
  },
);
