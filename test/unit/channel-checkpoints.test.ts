// Checkpoints of a channel, SPEC section CP: versions, conditions, bounds, lists, and what becomes of them with the channel.
import { describe, expect, test } from "vitest";
import { Checkpoints } from "../../src/channel/checkpoints.ts";
import type { CheckpointCondition, CheckpointWrite, Outcome } from "../../src/channel/operation.ts";
import { decodeUtf8, encodeUtf8 } from "../../src/protocol/bytes.ts";
import type { CheckpointEntry } from "../../src/protocol/checkpoint.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { NO_CHANGES } from "../store-contract.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, START_MS } from "./channel-harness.ts";

const IDLE_MS = LIMITS.expireAfterIdleMsMin;

function channelWith(settings: GivenSettings = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

function writeOf(name: string, text = "", ifMatch?: CheckpointCondition): CheckpointWrite {
  return { name, value: encodeUtf8(text), contentType: "text/plain", ...(ifMatch !== undefined && { ifMatch }) };
}

function write(channel: ChannelHarness, name: string, text = "", ifMatch?: CheckpointCondition): Outcome {
  return channel.apply({ type: "write-checkpoint", write: writeOf(name, text, ifMatch) });
}

function remove(channel: ChannelHarness, name: string, ifMatch?: CheckpointCondition): Outcome {
  return channel.apply({ type: "delete-checkpoint", name, ...(ifMatch !== undefined && { ifMatch }) });
}

function versionOf(outcome: Outcome): number {
  return expectType(outcome, "checkpoint-written").checkpoint.version;
}

/** A channel whose checkpoint "there" has version 2, on waking. */
function twiceWritten(): ChannelHarness {
  const channel = channelWith();
  for (const text of ["1", "2"]) write(channel, "there", text);
  channel.evict();
  return channel;
}

/** The text and the version of a checkpoint, or why there is none. */
function look(channel: ChannelHarness, name: string): unknown {
  const outcome = channel.apply({ type: "read-checkpoint", name });
  if (outcome.type !== "checkpoint") return kindOf(outcome);
  const { value, version } = outcome.checkpoint;
  return [decodeUtf8(value), version];
}

function list(
  channel: ChannelHarness,
  { limit = 100, ...range }: { after?: string; prefix?: string; limit?: number } = {},
): { names: string[]; next: string | null; entries: readonly CheckpointEntry[] } {
  const { checkpoints, next } = expectType(channel.apply({ type: "list-checkpoints", limit, ...range }), "checkpoints");
  return { names: checkpoints.map(({ name }) => name), next, entries: checkpoints };
}

/** Checkpoints over a store that they are committed to by hand. */
function standalone(): { checkpoints: Checkpoints; commit: () => void } {
  const store = new MemoryStore();
  const checkpoints = new Checkpoints(store.checkpoints);
  return { checkpoints, commit: () => store.commit({ ...NO_CHANGES, checkpoints: checkpoints.takeChanges() }) };
}

describe("src/channel/checkpoints: values and versions", () => {
  test("[CP1] a checkpoint is read as it was written, from memory of its own, also after an eviction", () => {
    const channel = channelWith();
    const value = Uint8Array.from([9, 1, 2, 3, 9]).subarray(1, 4);
    const operation = { type: "write-checkpoint", write: { name: "a", value, contentType: "image/png" } } as const;

    const outcome = channel.apply(operation);
    value.fill(0);
    channel.evict();

    const entry = { name: "a", version: 1, contentType: "image/png", bytes: 3, updatedAtMs: START_MS };
    expect(outcome).toEqual({ type: "checkpoint-written", isCreated: true, checkpoint: entry });
    const read = expectType(channel.apply({ type: "read-checkpoint", name: "a" }), "checkpoint");
    expect(read.checkpoint).toEqual({ ...entry, value: Uint8Array.from([1, 2, 3]) });
  });

  test("[CP1] a commit holds the value once, and later commits do not hold it", () => {
    const channel = channelWith();

    channel.together(() => ["1", "2", "3"].forEach((text) => write(channel, "a", text)));
    const first = channel.changes?.checkpoints;
    channel.put(["x"]);

    expect(first?.write.map(({ version, value }) => [version, decodeUtf8(value)])).toEqual([[3, "3"]]);
    expect(channel.changes?.checkpoints).toBeUndefined();
  });

  test("[CP2] versions of a name rise by one, whatever happens to other names", () => {
    const channel = channelWith();

    const versions = ["a", "b", "a", "a", "b"].map((name) => versionOf(write(channel, name)));

    expect(versions).toEqual([1, 1, 2, 3, 2]);
  });

  test("[CP2] a name that was deleted goes on above its versions: at once, later, after an eviction", () => {
    const channel = channelWith();
    for (const text of ["1", "2", "3"]) write(channel, "a", text);
    write(channel, "b");

    expect(remove(channel, "a")).toEqual({ type: "checkpoint-deleted", name: "a", version: 3 });
    channel.evict();
    expect([versionOf(write(channel, "a")), versionOf(write(channel, "b"))]).toEqual([4, 2]);
    const again = channel.together(() => [remove(channel, "a"), remove(channel, "b"), write(channel, "b"), write(channel, "a")]);
    expect(again.slice(2).map(versionOf)).toEqual([5, 5]);
    channel.evict();
    expect([look(channel, "a"), look(channel, "b")]).toEqual([
      ["", 5],
      ["", 5],
    ]);
  });

  test("[CP2] what a failed commit wrote or deleted never was", () => {
    const channel = channelWith();
    write(channel, "a", "kept");

    channel.failToCommit(() => {
      write(channel, "a", "lost");
      remove(channel, "a");
      write(channel, "b");
    });

    expect([look(channel, "a"), look(channel, "b")]).toEqual([["kept", 1], "unknown-checkpoint"]);
    expect(versionOf(write(channel, "a"))).toBe(2);
    expect(versionOf(write(channel, "b"))).toBe(1);
  });

  test("[CP7] a name that is not there is unknown: never written, or deleted in the same commit", () => {
    const channel = channelWith();
    write(channel, "a");

    const [read, removed] = channel.together(() => {
      remove(channel, "a");
      return [look(channel, "a"), remove(channel, "a")];
    });

    expect(refusalOf(removed)).toEqual({ kind: "unknown-checkpoint", checkpoint: "a" });
    expect([read, look(channel, "a"), look(channel, "never")]).toEqual(Array(3).fill("unknown-checkpoint"));
  });
});

describe("src/channel/checkpoints: conditions", () => {
  test.each<[CheckpointCondition, "there" | "gone"]>([
    [2, "there"],
    ["present", "there"],
    ["absent", "gone"],
  ])("[CP3] a write that expects %j is accepted where the checkpoint is %s", (condition, name) => {
    const channel = twiceWritten();

    expect(kindOf(write(channel, name, "new", condition))).toBe("checkpoint-written");
    expect(look(channel, name)).toEqual(["new", name === "there" ? 3 : 1]);
  });

  test.each<[CheckpointCondition, "there" | "gone"]>([
    [1, "there"],
    [3, "there"],
    [0, "there"],
    ["absent", "there"],
    [1, "gone"],
    [0, "gone"],
    ["present", "gone"],
  ])("[CP3] a write that expects %j is a conflict where the checkpoint is %s, and changes nothing", (condition, name) => {
    const channel = twiceWritten();

    const refusal = refusalOf(write(channel, name, "new", condition));

    const current = name === "there" ? 2 : null;
    expect(refusal).toEqual({ kind: "checkpoint-conflict", checkpoint: name, current });
    expect([channel.changes, look(channel, "there"), look(channel, "gone")]).toEqual([undefined, ["2", 2], "unknown-checkpoint"]);
  });

  test("[CP3] a deletion that expects another version, or any where there is none, is a conflict", () => {
    const channel = channelWith();
    for (const text of ["1", "2"]) write(channel, "a", text);

    expect(refusalOf(remove(channel, "a", 1))).toEqual({ kind: "checkpoint-conflict", checkpoint: "a", current: 2 });
    expect(refusalOf(remove(channel, "b", "present"))).toEqual({ kind: "checkpoint-conflict", checkpoint: "b", current: null });
    expect(look(channel, "a")).toEqual(["2", 2]);
    expect(kindOf(remove(channel, "a", 2))).toBe("checkpoint-deleted");
  });

  test("[CP3] of writes in one commit that expect the same version one wins", () => {
    const channel = channelWith();
    write(channel, "a");

    const kinds = channel.together(() => ["x", "y", "z"].map((text) => kindOf(write(channel, "a", text, 1))));

    expect(kinds).toEqual(["checkpoint-written", "checkpoint-conflict", "checkpoint-conflict"]);
    expect(look(channel, "a")).toEqual(["x", 2]);
  });
});

describe("src/channel/checkpoints: bounds and lists of writes", () => {
  test("[CP4] a value of checkpointBytesMax is taken, one byte more is refused, before what it expects", () => {
    const channel = channelWith();
    const put = (bytes: number): Outcome => {
      const value = new Uint8Array(bytes);
      return channel.apply({ type: "write-checkpoint", write: { name: "a", value, contentType: "a/b", ifMatch: "absent" } });
    };

    expect(kindOf(put(LIMITS.checkpointBytesMax))).toBe("checkpoint-written");
    const limit = LIMITS.checkpointBytesMax;
    expect(refusalOf(put(limit + 1))).toEqual({ kind: "checkpoint-too-large", checkpoint: "a", bytes: limit + 1, limit });
  });

  test("[CP4] a channel keeps checkpointsMax, in commits and after an eviction; one that is there can be written on", () => {
    const channel = channelWith();
    channel.together(() => {
      for (let index = 1; index < LIMITS.checkpointsMax; index++) write(channel, `n${index}`);
    });
    channel.evict();

    const kinds = channel.together(() => ["last", "more", "last"].map((name) => kindOf(write(channel, name))));

    expect(kinds).toEqual(["checkpoint-written", "too-many-checkpoints", "checkpoint-written"]);
    const [size, limit] = [LIMITS.checkpointsMax + 1, LIMITS.checkpointsMax];
    channel.evict();
    const refusal = refusalOf(write(channel, "more"));
    expect(refusal).toEqual({ kind: "too-many-checkpoints", checkpoint: "more", size, limit, unit: "checkpoints" });
    remove(channel, "n7");
    expect(kindOf(write(channel, "more"))).toBe("checkpoint-written");
  });

  test("[CP4] the values of a channel have checkpointsBytesMax together; what is replaced or deleted makes room", () => {
    const channel = channelWith();
    const full = { value: new Uint8Array(LIMITS.checkpointBytesMax), contentType: "a/b" };
    const put = (name: string): Outcome => channel.apply({ type: "write-checkpoint", write: { name, ...full } });
    const fitting = LIMITS.checkpointsBytesMax / LIMITS.checkpointBytesMax;
    for (let index = 1; index <= fitting; index++) put(`n${index}`);
    channel.evict();

    const limit = LIMITS.checkpointsBytesMax;
    const refusal = { kind: "too-many-checkpoints", checkpoint: "x", size: limit + 1, limit, unit: "bytes" };
    expect(refusalOf(write(channel, "x", "1"))).toEqual(refusal);
    expect([kindOf(write(channel, "x")), kindOf(put("n1"))]).toEqual(["checkpoint-written", "checkpoint-written"]);
    write(channel, "n1", "small");
    expect(kindOf(write(channel, "x", "1"))).toBe("checkpoint-written");
    expect(kindOf(put("y"))).toBe("too-many-checkpoints");
    remove(channel, "n2");
    expect(kindOf(put("y"))).toBe("checkpoint-written");
  });

  test("[CP5] writes are judged together, each after those before it, and judging changes nothing", () => {
    const { checkpoints, commit } = standalone();
    checkpoints.apply([writeOf("a", "1"), writeOf("b", "1")], 1);
    commit();
    const writes = [
      writeOf("a", "2", 1),
      writeOf("a", "3", 2),
      writeOf("a", "4", 2),
      writeOf("c", "", "absent"),
      writeOf("b", "2", 9),
    ];

    const faults = checkpoints.judge(writes);

    expect(faults).toEqual([
      { index: 2, refusal: { kind: "checkpoint-conflict", checkpoint: "a", current: 3 } },
      { index: 4, refusal: { kind: "checkpoint-conflict", checkpoint: "b", current: 1 } },
    ]);
    expect(checkpoints.takeChanges()).toBeUndefined();
    expect(checkpoints.judge(writes)).toEqual(faults);
  });

  test("[CP5] writes without fault become what judging foresaw, in one commit", () => {
    const { checkpoints, commit } = standalone();
    const writes = [writeOf("a", "1", "absent"), writeOf("b", "x"), writeOf("a", "2", 1), writeOf("a", "3", 2)];

    expect(checkpoints.judge(writes)).toEqual([]);
    const entries = checkpoints.apply(writes, 5);
    commit();

    expect(entries.map(({ name, version, updatedAtMs }) => [name, version, updatedAtMs])).toEqual([
      ["a", 1, 5],
      ["b", 1, 5],
      ["a", 2, 5],
      ["a", 3, 5],
    ]);
    expect(checkpoints.judge([writeOf("a", "", 3), writeOf("b", "", 1)])).toEqual([]);
  });

  test("[CP5] each write that has no room is named, and those after it are judged without it", () => {
    const { checkpoints, commit } = standalone();
    const names = Array.from({ length: LIMITS.checkpointsMax - 1 }, (_, index) => `n${index}`);
    checkpoints.apply(
      names.map((name) => writeOf(name)),
      1,
    );
    commit();

    const faults = checkpoints.judge(["x", "y", "z", "x", "n0"].map((name) => writeOf(name)));

    expect(faults.map(({ index, refusal }) => [index, refusal.kind])).toEqual([
      [1, "too-many-checkpoints"],
      [2, "too-many-checkpoints"],
    ]);
    expect(checkpoints.judge([])).toEqual([]);
  });
});

describe("src/channel/checkpoints: lists", () => {
  test("[CP6] pages hold all names in order, also of a commit that is not written yet", () => {
    const channel = channelWith();
    for (const name of ["d", "b", "e", "a"]) write(channel, name, name);
    channel.evict();

    const [first, second, third] = channel.together(() => {
      write(channel, "c");
      write(channel, "b", "longer");
      remove(channel, "a");
      remove(channel, "e");
      return [list(channel, { limit: 2 }), list(channel, { limit: 2, after: "c" }), list(channel, { limit: 3 })];
    });

    expect([first?.names, first?.next]).toEqual([["b", "c"], "c"]);
    expect([second?.names, second?.next]).toEqual([["d"], null]);
    expect([third?.names, third?.next]).toEqual([["b", "c", "d"], null]);
    expect(first?.entries[0]).toEqual({ name: "b", version: 2, bytes: 6, contentType: "text/plain", updatedAtMs: START_MS });
    expect(list(channel).entries).toEqual([...(third?.entries ?? [])]);
  });

  test("[CP6] a page is full though the commit deleted what came first", () => {
    const channel = channelWith();
    for (const name of ["a", "b", "c", "d", "e"]) write(channel, name);

    const page = channel.together(() => {
      for (const name of ["a", "b", "c"]) remove(channel, name);
      return list(channel, { limit: 1 });
    });

    expect([page.names, page.next]).toEqual([["d"], "d"]);
  });

  test("[CP6] a prefix and a name to begin after select", () => {
    const channel = channelWith();
    for (const name of ["a", "a.1", "a.2", "a.3", "b.1"]) write(channel, name);

    expect(channel.together(() => [write(channel, "a.4"), list(channel, { prefix: "a." })][1])).toMatchObject({
      names: ["a.1", "a.2", "a.3", "a.4"],
    });
    expect(list(channel, { prefix: "a.", after: "a.2" }).names).toEqual(["a.3", "a.4"]);
    expect(list(channel, { prefix: "c" })).toEqual({ names: [], next: null, entries: [] });
  });
});

describe("src/channel/channel: checkpoints and the life of the channel", () => {
  test.each(["open", "draining", "closed"] as const)("[CP7] a channel that is %s takes and shows checkpoints", (state) => {
    const channel = channelWith();
    channel.put(["a"]);
    channel.patch({ state });

    expect(kindOf(write(channel, "a", "x"))).toBe("checkpoint-written");
    expect([look(channel, "a"), list(channel).names]).toEqual([["x", 1], ["a"]]);
    expect(kindOf(remove(channel, "a"))).toBe("checkpoint-deleted");
  });

  test("[CP7] a deleted channel refuses them, in the same commit too", () => {
    const channel = channelWith();
    write(channel, "a");

    const kinds = channel.together(() => {
      channel.delete();
      return [kindOf(write(channel, "a")), look(channel, "a"), kindOf(remove(channel, "a"))];
    });

    expect(kinds).toEqual(Array(3).fill("channel-deleted"));
  });

  test.each(["in one commit", "in several commits"])(
    "[CP9] a new life begins without checkpoints and at version 1, %s",
    (how) => {
      const channel = channelWith();
      for (const name of ["a", "a", "b", "c"]) write(channel, name);
      remove(channel, "c");
      const live = (): unknown[] => {
        channel.delete();
        channel.apply({ type: "create", settings: {} });
        return [look(channel, "a"), list(channel).names, versionOf(write(channel, "b")), versionOf(write(channel, "c"))];
      };

      const seen = how === "in one commit" ? channel.together(live) : live();
      channel.evict();

      expect(seen).toEqual(["unknown-checkpoint", [], 1, 1]);
      expect(list(channel).names).toEqual(["b", "c"]);
    },
  );

  test("[CP9] an expired channel forgets its checkpoints, a purged one keeps them", () => {
    const channel = channelWith({ expireAfterIdleMs: IDLE_MS });
    write(channel, "a");
    channel.put(["x"]);
    channel.apply({ type: "purge" });
    const purged = look(channel, "a");
    channel.tick(IDLE_MS);

    channel.apply({ type: "create", settings: {} });

    expect([purged, look(channel, "a")]).toEqual([["", 1], "unknown-checkpoint"]);
  });

  test.each<[string, (channel: ChannelHarness) => Outcome]>([
    ["write", (channel) => write(channel, "a", "2")],
    ["deletion", (channel) => remove(channel, "a")],
  ])("[CP8] a %s begins the idle time anew, also over an eviction; what is kept does not hold the channel", (_name, change) => {
    const channel = channelWith({ expireAfterIdleMs: IDLE_MS });
    for (const name of ["a", "b"]) write(channel, name);
    channel.nowMs += 10 * IDLE_MS;
    channel.together(() => {
      change(channel);
      channel.tick();
    });
    channel.channel.settleOutbox(channel.channel.record?.outbox.version ?? 0, true, channel.nowMs);
    channel.commit();
    channel.evict();
    expect(channel.channel.nextAlarmAtMs).toBe(channel.nowMs + IDLE_MS);

    channel.tick(IDLE_MS - 1);
    const early = channel.channel.record?.state;
    channel.tick(1);

    expect([early, channel.channel.record?.state, channel.channel.record?.isExpired]).toEqual(["open", "deleted", true]);
  });

  test("[CP8] reading, listing and refusals are no use", () => {
    const channel = channelWith({ expireAfterIdleMs: IDLE_MS });
    write(channel, "a");
    channel.nowMs += IDLE_MS;
    for (const refused of [write(channel, "a", "", "absent"), remove(channel, "b")]) expect(refused.type).toBe("refused");
    look(channel, "a");
    list(channel);

    channel.tick();

    expect(channel.channel.record?.state).toBe("deleted");
  });
});
