// Snapshots and restores of a channel over the memory store. SPEC section SN.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, textMessage, textsOf } from "./channel-harness.ts";
import { beginRestore, beginSnapshot, readPages, restore } from "./snapshot-steps.ts";

function openChannel(settings: GivenSettings = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

/** A channel with something of everything. */
function fillChannel(): ChannelHarness {
  const harness = openChannel({ delivery: { maxAttempts: 1, onExhausted: "quarantine" } });
  harness.putMessages(["a", "b", "c", "d", "e"].map((text) => ({ ...textMessage(text), key: text, messageId: `id-${text}` })));
  harness.put(["numbered"], { producer: { id: "p", epoch: 2, seq: 1 } });
  harness.put(["keyed"], { idempotencyKey: "once" });
  harness.schedule("later", 3_600_000);
  const write = { name: "totals", value: encodeUtf8("7"), contentType: "text/plain" };
  harness.apply({ type: "write-checkpoint", write });
  const { granted } = expectType(harness.pull({ max: 3 }), "got");
  const [first = "", second = ""] = granted?.leaseIds ?? [];
  harness.settle({ acks: [{ leaseId: first }], rejects: [{ leaseId: second, reason: "bad" }] });
  harness.tick(30_000);
  harness.apply({ type: "remove", offset: 5 });
  return harness;
}

describe("channel/snapshots", () => {
  test("[SN1] [SN8] a restored channel has everything that the first had, and goes on where it stood", () => {
    const source = fillChannel();
    const pages = readPages(source, beginSnapshot(source));
    const target = restore(pages, source.nowMs);

    expect(pages.length).toBeGreaterThan(2);
    expect(target.browse()).toEqual(source.browse());
    expect({ ...target.describe(), life: "" }).toEqual({ ...source.describe(), life: "" });
    expect(target.apply({ type: "read-checkpoint", name: "totals" })).toEqual(
      source.apply({ type: "read-checkpoint", name: "totals" }),
    );
    expect(target.apply({ type: "dead-letters", fromOffset: 1, limit: 10, filter: {} })).toEqual(
      source.apply({ type: "dead-letters", fromOffset: 1, limit: 10, filter: {} }),
    );
    const quarantine = expectType(target.apply({ type: "quarantine", limit: 10 }), "quarantine");
    expect(quarantine.messages.map(({ message }) => message.offset)).toEqual([3]);
    expect(target.scheduledTexts()).toEqual(["later"]);
    expect(target.put(["numbered"], { producer: { id: "p", epoch: 2, seq: 1 } })).toMatchObject({ offset: 6, isDuplicate: true });
    expect(target.put(["keyed"], { idempotencyKey: "once" })).toMatchObject({ offset: 7, isDuplicate: true });
    expect(target.apply({ type: "remove-by-id", messageId: "id-d" })).toEqual({ type: "removed", offset: 4 });
    expect(target.put(["next"])).toMatchObject({ type: "put", offset: 8 });
  });

  test("[SN8] leases have ended, their attempts count, and their ids are another life's", () => {
    const source = openChannel();
    source.put(["a", "b"]);
    const { granted } = expectType(source.pull({ max: 1 }), "got");
    const target = restore(readPages(source, beginSnapshot(source)), source.nowMs);

    expect(kindOf(target.settle({ acks: [{ leaseId: granted?.leaseIds[0] ?? "" }] }))).toBe("invalid-lease");
    const again = expectType(target.pull({ max: 2 }), "got");
    expect(textsOf(again)).toEqual(["a", "b"]);
    expect(again.granted).toMatchObject({ attempts: [2, 1], redelivered: [true, false] });
    target.evict();
    expect(expectType(target.pull({ max: 2 }), "got").messages).toEqual([]);
  });

  test.each([
    ["dead-letter", { depth: 0, counts: { deadLettered: 1 } }, "expired"],
    ["quarantine", { depth: 1, counts: { deadLettered: 0 } }, undefined],
  ] as const)("[SN8] [RT2] the attempt whose lease ends so may have been the last: %s", (onExhausted, facts, reason) => {
    const source = openChannel({ delivery: { maxAttempts: 1, onExhausted } });
    source.put(["a"]);
    source.pull({ max: 1 });
    const target = restore(readPages(source, beginSnapshot(source)), source.nowMs);

    expect(expectType(target.pull(), "got").messages).toEqual([]);
    expect(target.describe()).toMatchObject(facts);
    target.evict();
    expect(target.describe()).toMatchObject(facts);
    const letters = target.apply({ type: "dead-letters", fromOffset: 1, limit: 10, filter: {} });
    expect(expectType(letters, "dead-letter-page").letters[0]?.reason).toBe(reason);
  });

  test("[SN2] what changes while it is read does not show, and a page that was read is read again", () => {
    const source = openChannel();
    for (let index = 0; index < 20; index++) source.put([`message ${index}`]);
    const before = source.browseTexts();
    const snapshotId = beginSnapshot(source);
    const pages = readPages(source, snapshotId, 300, () => {
      source.getTexts(5);
      source.put(["new"]);
      source.evict();
    });

    expect(pages.length).toBeGreaterThan(4);
    expect(restore(pages, source.nowMs).browseTexts()).toEqual(before);
    const again = source.apply({ type: "read-snapshot", snapshotId, page: pages.length, bytesMax: 300 });
    expect(again).toMatchObject({ type: "snapshot-page", bytes: pages.at(-1), isLast: true });
    expect(kindOf(source.apply({ type: "read-snapshot", snapshotId, page: pages.length + 1 }))).toBe("invalid-request");
    expect(kindOf(source.apply({ type: "read-snapshot", snapshotId, page: 1 }))).toBe("invalid-request");
  });

  test("[SN2] a page that is read again with another size is refused, since it would be another page", () => {
    const source = openChannel();
    for (let index = 0; index < 20; index++) source.put([`message ${index}`]);
    const snapshotId = beginSnapshot(source);
    const readWith = (page: number, bytesMax?: number): unknown =>
      source.apply({ type: "read-snapshot", snapshotId, page, ...(bytesMax !== undefined && { bytesMax }) });
    const first = readWith(1, 300);

    for (const bytesMax of [301, undefined]) {
      expect(readWith(1, bytesMax)).toMatchObject({
        refusal: { kind: "invalid-request", errors: [{ pointer: "/query/maxBytes" }] },
      });
    }
    source.evict();
    expect(readWith(1, 300)).toEqual(first);
    expect(readWith(2, 400)).toMatchObject({ type: "snapshot-page", page: 2 });
    expect(readWith(2, 300)).toMatchObject({
      refusal: { errors: [{ pointer: "/query/maxBytes", detail: expect.stringContaining("400") as string }] },
    });
  });

  test("[SN3] it ends when told, when it is not read for a minute, and with the life; one is open at most", () => {
    const source = openChannel();
    const first = beginSnapshot(source);
    expect(refusalOf(source.apply({ type: "begin-snapshot" }))).toMatchObject({ kind: "too-many-snapshots", limit: 1 });
    expect(kindOf(source.apply({ type: "end-snapshot", snapshotId: first }))).toBe("snapshot-ended");
    expect(kindOf(source.apply({ type: "end-snapshot", snapshotId: first }))).toBe("unknown-snapshot");

    source.channel.settleOutbox(source.channel.record?.outbox.version ?? 0, true, source.nowMs);
    const second = beginSnapshot(source);
    expect(source.channel.nextDueAtMs).toBe(source.nowMs + LIMITS.snapshotIdleMs);
    source.tick(LIMITS.snapshotIdleMs - 1);
    expect(kindOf(source.apply({ type: "read-snapshot", snapshotId: second, page: 1 }))).toBe("snapshot-page");
    source.tick(LIMITS.snapshotIdleMs - 1);
    expect(kindOf(source.apply({ type: "read-snapshot", snapshotId: second, page: 1 }))).toBe("snapshot-page");
    source.tick(LIMITS.snapshotIdleMs);
    expect(kindOf(source.apply({ type: "read-snapshot", snapshotId: second, page: 1 }))).toBe("unknown-snapshot");

    const third = beginSnapshot(source);
    source.delete();
    source.apply({ type: "create", settings: {} });
    expect(kindOf(source.apply({ type: "read-snapshot", snapshotId: third, page: 1 }))).toBe("unknown-snapshot");
  });

  test("[SN3] a snapshot whose commit fails was never begun", () => {
    const source = openChannel();
    source.failToCommit(() => source.apply({ type: "begin-snapshot" }));
    expect(kindOf(source.apply({ type: "begin-snapshot" }))).toBe("snapshot-begun");
  });

  test("[SN6] a page that is flipped at any byte, cut, swapped or left out is refused and changes nothing", () => {
    const source = openChannel();
    for (let index = 0; index < 6; index++) source.put([`message ${index}`]);
    const pages = readPages(source, beginSnapshot(source), 200);
    const target = new ChannelHarness();
    const restoreId = beginRestore(target);
    const stage = (page: number, bytes: Uint8Array): string =>
      kindOf(target.apply({ type: "stage-page", restoreId, page, bytes }));

    for (const [index, bytes] of pages.entries()) {
      const number = index + 1;
      for (let place = 0; place < bytes.byteLength; place++) {
        const flipped = new Uint8Array(bytes);
        flipped[place] = (flipped[place] ?? 0) ^ 0x01;
        expect(stage(number, flipped)).toBe("snapshot-invalid");
      }
      for (let length = 0; length < bytes.byteLength; length++) {
        expect(stage(number, bytes.subarray(0, length))).toBe("snapshot-invalid");
      }
      const other = pages[number] ?? new Uint8Array(0);
      expect([stage(number, other), stage(number + 1, other)]).toEqual(["snapshot-invalid", "snapshot-invalid"]);
      expect(kindOf(target.apply({ type: "commit-restore", restoreId }))).toBe("snapshot-invalid");
      expect(kindOf(target.apply({ type: "describe" }))).toBe("unknown-channel");
      expect(stage(number, bytes)).toBe("page-staged");
      expect(stage(number, bytes)).toBe("page-staged");
    }
    expect(kindOf(target.apply({ type: "commit-restore", restoreId }))).toBe("restored");
    expect(target.browseTexts()).toEqual(source.browseTexts());
  });

  test("[SN6] pages of different snapshots do not mix", () => {
    const source = openChannel();
    for (let index = 0; index < 6; index++) source.put([`message ${index}`]);
    const first = beginSnapshot(source);
    const [head = new Uint8Array(0)] = readPages(source, first, 200);
    source.apply({ type: "end-snapshot", snapshotId: first });
    source.put(["more"]);
    source.patch({ maxMessages: 50 });
    const pages = readPages(source, beginSnapshot(source), 200);
    const target = new ChannelHarness();
    const restoreId = beginRestore(target);
    target.apply({ type: "stage-page", restoreId, page: 1, bytes: head });

    const mixed = target.apply({ type: "stage-page", restoreId, page: 2, bytes: pages[1] ?? head });
    expect(refusalOf(mixed)).toEqual({ kind: "snapshot-invalid", reason: "hash", page: 2 });
  });

  test("[SN6] [SN7] a channel that exists, or was created meanwhile, is not restored into; a tombstone is", () => {
    const source = openChannel();
    source.put(["kept"]);
    const pages = readPages(source, beginSnapshot(source));
    expect(kindOf(source.apply({ type: "begin-restore" }))).toBe("channel-exists");

    const target = openChannel();
    target.put(["old"]);
    target.delete();
    const restoreId = beginRestore(target);
    expect(kindOf(target.apply({ type: "begin-restore" }))).toBe("too-many-snapshots");
    for (const [index, bytes] of pages.entries()) target.apply({ type: "stage-page", restoreId, page: index + 1, bytes });
    target.apply({ type: "create", settings: {} });
    expect(kindOf(target.apply({ type: "commit-restore", restoreId }))).toBe("channel-exists");
    expect(target.browseTexts()).toEqual([]);
    target.delete();
    expect(kindOf(target.apply({ type: "commit-restore", restoreId }))).toBe("restored");
    expect(target.browseTexts()).toEqual(["kept"]);
    expect(kindOf(target.apply({ type: "commit-restore", restoreId }))).toBe("unknown-restore");
  });

  test("[SN7] a restore whose commit fails has changed nothing and can be committed again", () => {
    const source = fillChannel();
    const pages = readPages(source, beginSnapshot(source));
    const target = new ChannelHarness();
    const restoreId = beginRestore(target);
    for (const [index, bytes] of pages.entries()) {
      target.failToCommit(() => target.apply({ type: "stage-page", restoreId, page: index + 1, bytes }));
      target.apply({ type: "stage-page", restoreId, page: index + 1, bytes });
    }
    target.failToCommit(() => target.apply({ type: "commit-restore", restoreId }));
    expect(kindOf(target.apply({ type: "describe" }))).toBe("unknown-channel");
    expect(kindOf(target.apply({ type: "commit-restore", restoreId }))).toBe("restored");
    expect(target.browse()).toEqual(source.browse());
  });

  test("[SN9] a restore that is aborted or not fed for an hour is dropped, and nothing is left", () => {
    const target = new ChannelHarness();
    const first = beginRestore(target);
    expect(target.channel.isForgotten(target.nowMs)).toBe(false);
    expect(kindOf(target.apply({ type: "abort-restore", restoreId: first }))).toBe("restore-aborted");
    expect(target.channel.isForgotten(target.nowMs)).toBe(true);
    const second = beginRestore(target);
    expect(target.channel.nextDueAtMs).toBe(target.nowMs + LIMITS.restoreIdleMs);
    target.tick(LIMITS.restoreIdleMs);
    expect(kindOf(target.apply({ type: "abort-restore", restoreId: second }))).toBe("unknown-restore");
    expect(target.channel.isForgotten(target.nowMs)).toBe(true);
  });
});
