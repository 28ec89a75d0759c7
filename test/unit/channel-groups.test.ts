// Groups and retention: log, interest, seek, pause (SPEC GP).
import { describe, expect, test } from "vitest";
import type { GroupStart, Outcome } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, describeGroup, expectType, kindOf, refusalOf, sizedMessage, textsOf } from "./channel-harness.ts";

/** A log that holds messages with these letters as texts, and these groups at its beginning. */
function logOf(letters: string, groups: readonly string[] = [], settings: GivenSettings = {}): ChannelHarness {
  const channel = new ChannelHarness({ settings: { retention: "log", ...settings } });
  for (const group of groups) createGroup(channel, group);
  for (const letter of letters) channel.put([letter]);
  return channel;
}

function createGroup(channel: ChannelHarness, group: string, start?: GroupStart): Outcome {
  return channel.apply({ type: "create-group", group, settings: {}, ...(start !== undefined && { start }) });
}

function pull(channel: ChannelHarness, group: string, max = 10): { outcome: Outcome; texts: string[]; ids: readonly string[] } {
  const lease = { leaseMs: 30_000, isDetached: true };
  const outcome = channel.apply({ type: "get", group, max, lease });
  return { outcome, texts: textsOf(outcome), ids: expectType(outcome, "got").granted?.leaseIds ?? [] };
}

function ack(channel: ChannelHarness, ...ids: readonly string[]): void {
  const outcome = channel.settle({ acks: ids.map((leaseId) => ({ leaseId })) });
  expect(outcome).toMatchObject({ type: "settled", counts: { ack: ids.length }, refused: [] });
}

/** Everything that the equation of a group says (G3, GP3). */
function expectBalanced(channel: ChannelHarness, group: string): void {
  const { counts, depth, ready, leased, retrying, quarantined } = describeGroup(channel, group);
  const { put, acked, deadLettered, removed, dropped, expired, skipped } = counts;
  expect(put).toBe(depth + acked + deadLettered + removed + dropped + expired + skipped);
  expect(depth).toBe(ready + leased + retrying + quarantined);
  expect(Math.min(acked, depth, ready)).toBeGreaterThanOrEqual(0);
}

describe("src/channel/groups", () => {
  test("[GP2] in a log each group gets every message once, at its own pace, and the messages stay", () => {
    const channel = logOf("abc", ["x", "y"]);

    ack(channel, ...pull(channel, "x", 2).ids);
    ack(channel, ...pull(channel, "y", 3).ids);
    channel.evict();

    expect(pull(channel, "x").texts).toEqual(["c"]);
    expect(pull(channel, "y").texts).toEqual([]);
    expect(channel.browseTexts()).toEqual(["a", "b", "c"]);
    expect(describeGroup(channel, "x")).toMatchObject({ depth: 1, leased: 1, counts: { put: 3, acked: 2 } });
  });

  test("[GP2] what is acked ahead of the head stays acked, also after an eviction", () => {
    const channel = logOf("abcde", ["x"]);
    const { ids } = pull(channel, "x");

    ack(channel, ids[1] ?? "", ids[3] ?? "");
    channel.evict();
    channel.settle({ releases: [0, 2, 4].map((index) => ({ leaseId: ids[index] ?? "" })) });

    expect(pull(channel, "x").texts).toEqual(["a", "c", "e"]);
    expectBalanced(channel, "x");
  });

  test("[GP2] a new group begins with the next message, or where it is told to", () => {
    const channel = logOf("abc");
    channel.nowMs += 1_000;
    channel.put(["d"]);
    const starts: Record<string, GroupStart | undefined> = {
      none: undefined,
      first: { at: "first" },
      last: { at: "last" },
      offset: { offset: 2 },
      time: { timeMs: channel.nowMs },
      future: { timeMs: channel.nowMs + 1 },
    };
    for (const [name, start] of Object.entries(starts)) expect(kindOf(createGroup(channel, name, start))).toBe("group-created");
    channel.put(["e"]);

    expect(Object.keys(starts).map((name) => pull(channel, name).texts.join(""))).toEqual(["e", "abcde", "e", "bcde", "de", "e"]);
    for (const name of Object.keys(starts)) expectBalanced(channel, name);
  });

  test("[GP1] a queue has one group, and no other can be made or named", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.put(["a"]);

    expect(kindOf(createGroup(channel, "x"))).toBe("wrong-retention");
    expect(refusalOf(channel.apply({ type: "get", group: "x" }))).toMatchObject({ kind: "wrong-retention", retention: "queue" });
    expect(kindOf(channel.apply({ type: "seek-group", group: "default", to: { at: "first" } }))).toBe("wrong-retention");
    expect(kindOf(channel.apply({ type: "delete-group", group: "default" }))).toBe("wrong-retention");
    expect(textsOf(channel.apply({ type: "get", group: "default" }))).toEqual(["a"]);
    expect(channel.apply({ type: "list-groups", limit: 10 })).toMatchObject({
      groups: [{ group: "default", depth: 0, createdAtMs: channel.describe().createdAtMs }],
      next: null,
    });
  });

  test("[GP1] the retention of a channel does not change", () => {
    const channel = logOf("a");

    expect(refusalOf(channel.patch({ retention: "queue" }))).toMatchObject({
      kind: "settings-conflict",
      conflicts: ["retention"],
    });
    expect(channel.patch({ retention: "log", maxAgeMs: 1_000 }).type).toBe("patched");
  });

  test("[GP2] a group that nobody made is unknown; making one that exists changes nothing", () => {
    const channel = logOf("a", ["x"]);
    ack(channel, ...pull(channel, "x").ids);

    expect(refusalOf(channel.apply({ type: "get", group: "y" }))).toEqual({ kind: "unknown-group", group: "y" });
    expect(refusalOf(channel.apply({ type: "get" }))).toEqual({ kind: "unknown-group", group: "default" });
    expect(createGroup(channel, "x", { at: "first" })).toMatchObject({ type: "group", description: { depth: 0 } });
  });

  test("[GP2] groups are listed in the order of their names, in pages", () => {
    const channel = logOf("", ["b", "a", "c"]);
    const list = (after?: string): Outcome =>
      channel.apply({ type: "list-groups", limit: 2, ...(after !== undefined && { after }) });

    expect(list()).toMatchObject({ groups: [{ group: "a" }, { group: "b" }], next: "b" });
    expect(list("b")).toMatchObject({ groups: [{ group: "c" }], next: null });
  });

  test("[GP2] a deleted group is gone with its leases; one of the same name begins anew", () => {
    const channel = logOf("ab", ["x", "y"]);
    const { ids } = pull(channel, "x");
    channel.apply({ type: "delete-group", group: "x" });

    expect(channel.settle({ acks: ids.map((leaseId) => ({ leaseId })) })).toMatchObject({ counts: { ack: 0 } });
    createGroup(channel, "x", { at: "first" });
    channel.evict();

    expect(pull(channel, "x").texts).toEqual(["a", "b"]);
    expect(pull(channel, "y").texts).toEqual(["a", "b"]);
  });

  test("[GP2] the leases of one group do not settle messages of another", () => {
    const channel = logOf("a", ["x", "y"]);
    const ofX = pull(channel, "x").ids[0] ?? "";
    pull(channel, "y");

    const forged = channel.settle({ acks: [{ leaseId: ofX.replace(/^1-/, "2-") }] });

    expect(forged).toMatchObject({ counts: { ack: 0 }, refused: [{ refusal: { kind: "lease-lost", cause: "superseded" } }] });
  });

  test("[GP2] a group has settings of its own over the channel's", () => {
    const channel = logOf("a", [], { delivery: { maxAttempts: 5, maxInFlight: 7 } });
    channel.apply({ type: "create-group", group: "x", settings: { maxAttempts: 1 }, start: { at: "first" } });
    channel.evict();

    expect(describeGroup(channel, "x").settings).toMatchObject({ maxAttempts: 1, maxInFlight: 7 });
    channel.settle({ retries: [{ leaseId: pull(channel, "x").ids[0] ?? "" }] });
    expect(describeGroup(channel, "x").counts).toMatchObject({ deadLettered: 1 });
    expect(channel.apply({ type: "dead-letters", fromOffset: 1, limit: 9, filter: { group: "x" } })).toMatchObject({
      letters: [{ group: "x", offset: 1 }],
    });
    expectBalanced(channel, "x");
  });

  test("[DL1] two groups may give up the same message", () => {
    const channel = logOf("ab", ["x", "y"]);
    for (const group of ["x", "y"]) {
      channel.settle({ rejects: pull(channel, group).ids.map((leaseId) => ({ leaseId, reason: group })) });
    }
    channel.evict();

    const page = expectType(channel.apply({ type: "dead-letters", fromOffset: 1, limit: 1, filter: {} }), "dead-letter-page");

    expect(page.letters.map(({ offset, reason }) => `${offset}${reason}`)).toEqual(["1x", "1y"]);
    expect(page.nextOffset).toBe(2);
    expect(channel.describe()).toMatchObject({ deadLetters: { messages: 4 } });
  });

  test("[GP5] a paused group hands out nothing, and a get that waits is served when it goes on", () => {
    const channel = logOf("ab", ["x"]);
    const held = pull(channel, "x", 1);
    channel.apply({ type: "change-group", group: "x", isPaused: true });
    channel.evict();
    const connection = channel.connect();

    expect(pull(channel, "x").texts).toEqual([]);
    expect(channel.apply({ type: "get", group: "x", waitMs: 9_000 }, { connection, request: 1 }).type).toBe("waiting");
    ack(channel, ...held.ids);
    expect(channel.takeAnswers()).toEqual([]);
    channel.apply({ type: "change-group", group: "x", isPaused: false });

    expect(channel.takeAnswers().map(({ outcome }) => textsOf(outcome))).toEqual([["b"]]);
  });

  test("[GP8] gets of different groups do not wait for each other", () => {
    const channel = logOf("", ["x", "y"]);
    const connection = channel.connect();
    channel.apply({ type: "get", group: "x", min: 2, max: 2, waitMs: 9_000 }, { connection, request: 1 });
    channel.apply({ type: "get", group: "y", waitMs: 9_000 }, { connection, request: 2 });
    channel.evict();

    channel.put(["a"]);
    expect(channel.takeAnswers().map(({ request, outcome }) => [request, textsOf(outcome)])).toEqual([[2, ["a"]]]);
    channel.put(["b"]);

    expect(channel.takeAnswers().map(({ request, outcome }) => [request, textsOf(outcome)])).toEqual([[1, ["a", "b"]]]);
  });

  test("[GP4] a seek forwards skips, and leases on what was passed end", () => {
    const channel = logOf("abcdef", ["x"]);
    const { ids } = pull(channel, "x", 4);
    ack(channel, ids[1] ?? "");

    channel.apply({ type: "seek-group", group: "x", to: { offset: 4 } });
    channel.evict();

    expect(channel.settle({ acks: [{ leaseId: ids[0] ?? "" }] })).toMatchObject({ counts: { ack: 0 } });
    expect(describeGroup(channel, "x")).toMatchObject({ depth: 3, leased: 1, counts: { put: 6, acked: 1, skipped: 2 } });
    expect(pull(channel, "x").texts).toEqual(["e", "f"]);
    ack(channel, ids[3] ?? "");
    expectBalanced(channel, "x");
  });

  test("[GP4] a seek back hands out again, and the account begins anew", () => {
    const channel = logOf("abcd", ["x"]);
    const { ids } = pull(channel, "x");
    ack(channel, ...ids.slice(0, 3));

    channel.apply({ type: "seek-group", group: "x", to: { offset: 2 } });
    channel.evict();

    expect(channel.settle({ acks: [{ leaseId: ids[3] ?? "" }] })).toMatchObject({ counts: { ack: 0 } });
    expect(describeGroup(channel, "x")).toMatchObject({ depth: 3, leased: 0, counts: { put: 3, acked: 0 } });
    const again = pull(channel, "x");
    expect(again.texts).toEqual(["b", "c", "d"]);
    ack(channel, ...again.ids);
    expectBalanced(channel, "x");
  });

  test("[GP4] a seek to the head hands out again what was leased there and what was acked ahead of it", () => {
    const channel = logOf("abcd", ["x"]);
    const { ids } = pull(channel, "x", 3);
    ack(channel, ...ids.slice(1));

    channel.apply({ type: "seek-group", group: "x", to: { at: "first" } });
    channel.evict();

    expect(channel.settle({ acks: [{ leaseId: ids[0] ?? "" }] })).toMatchObject({ counts: { ack: 0 } });
    expect(describeGroup(channel, "x")).toMatchObject({ depth: 4, leased: 0, counts: { put: 4, acked: 0 } });
    expect(pull(channel, "x").texts).toEqual(["a", "b", "c", "d"]);
    expectBalanced(channel, "x");
  });

  test("[GP4] a seek to the end of a group that is there changes nothing", () => {
    const channel = logOf("ab", ["x"]);
    ack(channel, ...pull(channel, "x").ids);

    channel.apply({ type: "seek-group", group: "x", to: { at: "last" } });

    expect(describeGroup(channel, "x")).toMatchObject({ depth: 0, counts: { put: 2, acked: 2 } });
  });

  test("[GP4] what was removed is not there to be handed out after a seek back", () => {
    const channel = logOf("abcd", ["x"]);
    ack(channel, ...pull(channel, "x").ids);
    channel.apply({ type: "remove", offset: 3 });

    channel.apply({ type: "seek-group", group: "x", to: { at: "first" } });

    expect(describeGroup(channel, "x").depth).toBe(3);
    expect(pull(channel, "x").texts).toEqual(["a", "b", "d"]);
  });

  test("[GP4] a seek before the first or past the next offset is refused and changes nothing", () => {
    const channel = logOf("abc", ["x"], { maxMessages: 2 });
    ack(channel, ...pull(channel, "x").ids);

    for (const offset of [1, 5]) {
      const refusal = refusalOf(channel.apply({ type: "seek-group", group: "x", to: { offset } }));
      expect(refusal).toEqual({ kind: "seek-out-of-range", firstOffset: 2, nextOffset: 4 });
    }
    expect(describeGroup(channel, "x").depth).toBe(0);
    expect(kindOf(createGroup(channel, "y", { offset: 1 }))).toBe("seek-out-of-range");
    expect(channel.apply({ type: "seek-group", group: "x", to: { offset: 4 } })).toMatchObject({ description: { depth: 0 } });
  });

  test("[GP3] a removed message counts in every group that had not done with it", () => {
    const channel = logOf("abc", ["x", "y", "z"]);
    const { ids } = pull(channel, "x", 2);
    ack(channel, ids[1] ?? "");
    pull(channel, "y", 2);

    channel.apply({ type: "remove", offset: 2 });
    channel.evict();

    expect(["x", "y", "z"].map((group) => describeGroup(channel, group).counts.removed)).toEqual([0, 1, 1]);
    expect(["x", "y", "z"].map((group) => describeGroup(channel, group).depth)).toEqual([2, 2, 2]);
    for (const group of ["x", "y", "z"]) expectBalanced(channel, group);
    expect(pull(channel, "z").texts).toEqual(["a", "c"]);
  });

  test("[GP3] what was removed before a group came, or came back to it, does not count, wherever it was stored", () => {
    const channel = logOf("a", ["x"]);
    channel.put(["b", "c", "d"]);
    ack(channel, ...pull(channel, "x", 3).ids);
    channel.apply({ type: "remove", offset: 2 });

    createGroup(channel, "y", { offset: 2 });
    channel.apply({ type: "seek-group", group: "x", to: { at: "first" } });
    channel.evict();

    expect(describeGroup(channel, "x")).toMatchObject({ headOffset: 1, depth: 3, counts: { put: 3, acked: 0, removed: 0 } });
    // Its head is the first record that is there.
    expect(describeGroup(channel, "y")).toMatchObject({ headOffset: 3, depth: 2, counts: { put: 2, acked: 0, removed: 0 } });
  });

  test("[GP3] a purge counts as removed in every group, and they go on behind it", () => {
    const channel = logOf("abc", ["x"]);
    const { ids } = pull(channel, "x", 2);
    ack(channel, ids[0] ?? "");

    channel.apply({ type: "purge" });
    channel.put(["d"]);
    channel.evict();

    expect(describeGroup(channel, "x")).toMatchObject({ depth: 1, leased: 0, counts: { put: 4, acked: 1, removed: 2 } });
    expect(pull(channel, "x").texts).toEqual(["d"]);
  });

  test("[GP1] [GP6] a log gives up its oldest messages beyond maxMessages; a group that had not done with them counts them as dropped", () => {
    const channel = logOf("", ["slow", "fast"], { maxMessages: 3 });
    for (const letter of "abcdef") {
      channel.put([letter]);
      ack(channel, ...pull(channel, "fast").ids);
      if (letter === "b") pull(channel, "slow", 1);
    }
    channel.evict();

    expect(channel.browseTexts()).toEqual(["d", "e", "f"]);
    expect(channel.describe()).toMatchObject({ depth: 3, isFull: true, counts: { put: 6, dropped: 3 } });
    expect(describeGroup(channel, "slow")).toMatchObject({ depth: 3, leased: 0, counts: { dropped: 3 } });
    expect(describeGroup(channel, "fast").counts).toMatchObject({ acked: 6, dropped: 0 });
    expect(pull(channel, "slow").texts).toEqual(["d", "e", "f"]);
    for (const group of ["slow", "fast"]) expectBalanced(channel, group);
  });

  test("[GP1] a log gives up its oldest messages beyond maxBytes and maxAgeMs", () => {
    const channel = logOf("", [], { maxBytes: 250, maxMessageBytes: 200, maxAgeMs: 10_000 });
    for (let put = 0; put < 4; put++) {
      channel.putMessages([sizedMessage(100)]);
      channel.tick(1_000);
    }
    expect(channel.describe()).toMatchObject({ depth: 2, bytes: 200, firstOffset: 3 });

    channel.tick(8_001);

    expect(channel.describe()).toMatchObject({ depth: 1, firstOffset: 4, counts: { put: 4, dropped: 3 } });
  });

  test("[GP1] the answer to a shrink of a log shows what it keeps by its new limits", () => {
    const channel = logOf("abcd", ["x"]);

    const outcome = channel.apply({ type: "patch", patch: { maxMessages: 2 } });

    expect(expectType(outcome, "patched").facts).toMatchObject({ depth: 2, counts: { put: 4, dropped: 2 } });
  });

  test("[DL1] a message that dies again after a seek back is one dead letter, also where the first one was dropped meanwhile", () => {
    const channel = logOf("ab", ["x"], { delivery: { maxAttempts: 1 } });
    const rejectFirst = (reason: string): void => {
      const [leaseId = ""] = pull(channel, "x", 1).ids;
      channel.settle({ rejects: [{ leaseId, reason }] });
    };
    rejectFirst("once");
    channel.apply({ type: "seek-group", group: "x", to: { at: "first" } });
    rejectFirst("twice");
    expect(channel.changes?.deadLetters).toMatchObject({ delete: [{ offset: 1, groupId: 1 }], insert: [{ reason: "twice" }] });
    expect(channel.describe().deadLetters).toEqual({ messages: 1, bytes: 1 });

    channel.apply({ type: "seek-group", group: "x", to: { at: "first" } });
    channel.together(() => {
      channel.apply({ type: "drop-dead-letters", fromOffset: 1, max: 10, filter: {} });
      rejectFirst("thrice");
    });

    expect(channel.changes?.deadLetters).toMatchObject({ delete: [{ offset: 1, groupId: 1 }], insert: [{ reason: "thrice" }] });
    channel.evict();
    expect(channel.describe().deadLetters).toEqual({ messages: 1, bytes: 1 });
  });

  test("[GP2] a head on a control record that is superseded goes on", () => {
    const channel = logOf("", ["x"]);
    channel.patch({ maxMessages: 10 });
    expect(describeGroup(channel, "x").headOffset).toBe(1);

    channel.patch({ maxMessages: 11 });

    expect(describeGroup(channel, "x").headOffset).toBe(2);
  });

  test("[GP4] a seek by time goes to the first record that is there, and not to one before it that was removed", () => {
    const channel = logOf("a", ["x"]);
    channel.put(["b"]);
    ack(channel, ...pull(channel, "x").ids);
    channel.apply({ type: "remove", offset: 2 });
    channel.nowMs += 1_000;
    const timeMs = channel.nowMs;
    channel.put(["c"]);
    pull(channel, "x");

    channel.apply({ type: "seek-group", group: "x", to: { timeMs: timeMs - 1 } });

    expect(describeGroup(channel, "x")).toMatchObject({ headOffset: 3, depth: 1, leased: 0, counts: { put: 1, removed: 0 } });
    expect(pull(channel, "x").texts).toEqual(["c"]);
  });

  test("[GP9] rows of what a group has done are deleted when its head has passed them, also where the log has nothing", () => {
    const perRow = LIMITS.doneOffsetsPerRow;
    Object.assign(LIMITS, { doneOffsetsPerRow: 2 });
    try {
      const channel = logOf("abcdefgh", ["x"]);
      for (const offset of [4, 5, 7]) channel.apply({ type: "remove", offset });
      channel.evict();

      ack(channel, ...pull(channel, "x").ids);

      expect(channel.changes?.groups?.deleteDone.map(({ bucket }) => bucket).sort()).toEqual([2, 3]);
    } finally {
      Object.assign(LIMITS, { doneOffsetsPerRow: perRow });
    }
  });

  test("[GP8] who waits in a group that is deleted is told which is not there", () => {
    const channel = logOf("", ["x", "y"]);
    const connection = channel.connect();
    channel.apply({ type: "get", group: "y", waitMs: 9_000 }, { connection, request: 1 });
    channel.apply({ type: "get", group: "x", waitMs: 9_000 }, { connection, request: 2 });

    channel.apply({ type: "delete-group", group: "x" });

    const refusal = { kind: "unknown-group", group: "x" };
    expect(channel.takeAnswers()).toEqual([{ connection, request: 2, outcome: { type: "refused", refusal } }]);
  });

  test("[GP8] a draining log closes when every group has done with it", () => {
    const channel = logOf("a", ["x", "y"]);
    channel.patch({ state: "draining" });
    ack(channel, ...pull(channel, "x").ids);
    expect(channel.describe().state).toBe("draining");

    ack(channel, ...pull(channel, "y").ids);

    expect(channel.describe().state).toBe("closed");
  });

  test("[GP9] at most so many groups", () => {
    const channel = logOf("");
    for (let made = 0; made < LIMITS.groupsMax; made++) createGroup(channel, `g${made}`);

    expect(refusalOf(createGroup(channel, "more"))).toEqual({ kind: "too-many-groups", limit: LIMITS.groupsMax });
    channel.apply({ type: "delete-group", group: "g7" });
    expect(kindOf(createGroup(channel, "more"))).toBe("group-created");
  });
});

function interestOf(groups: readonly string[], settings: GivenSettings = {}): ChannelHarness {
  const channel = new ChannelHarness({ settings: { retention: "interest", ...settings } });
  for (const group of groups) createGroup(channel, group);
  return channel;
}

describe("src/channel/groups: interest", () => {
  test("[GP1] a message is deleted when every group has done with it", () => {
    const channel = interestOf(["x", "y"]);
    channel.put(["a", "b"]);

    ack(channel, ...pull(channel, "x").ids);
    expect(channel.describe()).toMatchObject({ depth: 2, counts: { acked: 0 } });
    ack(channel, ...pull(channel, "y", 1).ids);
    channel.evict();

    expect(channel.browseTexts()).toEqual(["b"]);
    expect(channel.describe()).toMatchObject({ depth: 1, counts: { put: 2, acked: 1, dropped: 0 } });
    for (const group of ["x", "y"]) expectBalanced(channel, group);
  });

  test("[GP1] a slow group makes the producers wait, and is passed when it is deleted", () => {
    const channel = interestOf(["x", "y"], { maxMessages: 2 });
    channel.put(["a", "b"]);
    ack(channel, ...pull(channel, "x").ids);
    expect(kindOf(channel.put(["c"]))).toBe("channel-full");

    channel.apply({ type: "delete-group", group: "y" });

    expect(kindOf(channel.put(["c"]))).toBe("put");
    expect(pull(channel, "x").texts).toEqual(["c"]);
  });

  test("[GP7] with nobody registered a put is refused, or waits for somebody", () => {
    const channel = interestOf([]);
    const connection = channel.connect();

    expect(refusalOf(channel.put(["a"]))).toEqual({ kind: "no-readers", retryAfterMs: 1000 });
    expect(channel.reserve(1, 1, { connection, request: 1 }, 9_000).type).toBe("waiting");
    createGroup(channel, "x");

    expect(channel.takeAnswers().map(({ outcome }) => outcome.type)).toEqual(["room"]);
  });

  test("[GP1] what a get that waited was the last to take makes room at once", () => {
    const channel = interestOf(["x"], { maxMessages: 1 });
    const connection = channel.connect();
    channel.put(["a"]);
    channel.apply({ type: "get", group: "x", lease: { leaseMs: 1_000, isDetached: true } });
    channel.reserve(1, 1, { connection, request: 1 }, 9_000);
    channel.apply({ type: "get", group: "x", waitMs: 9_000 }, { connection, request: 2 });

    channel.tick(1_000);

    expect(channel.takeAnswers().map(({ request, outcome }) => [request, outcome.type])).toEqual([
      [2, "got"],
      [1, "room"],
    ]);
  });

  test("[GP7] with nobody registered no dead letter is put again, since nobody would get it", () => {
    const channel = interestOf(["x"]);
    channel.put(["a"]);
    const [leaseId = ""] = pull(channel, "x").ids;
    channel.settle({ rejects: [{ leaseId }] });
    channel.apply({ type: "delete-group", group: "x" });

    const redrive = { type: "redrive", fromOffset: 1, max: 10, filter: {} } as const;
    expect(kindOf(channel.apply(redrive))).toBe("no-readers");
    expect(channel.describe().deadLetters.messages).toBe(1);
    createGroup(channel, "y");

    expect(channel.apply(redrive)).toMatchObject({ type: "moved", moved: 1 });
    expect(pull(channel, "y").texts).toEqual(["a"]);
  });

  test("[GP7] with whenNoGroups drop it is taken and dropped", () => {
    const channel = interestOf([], { whenNoGroups: "drop" });

    expect(kindOf(channel.put(["a"]))).toBe("put");
    createGroup(channel, "x");
    channel.put(["b"]);

    expect(channel.describe()).toMatchObject({ depth: 1, counts: { put: 2, acked: 0, dropped: 1 } });
    expect(pull(channel, "x").texts).toEqual(["b"]);
  });
});
