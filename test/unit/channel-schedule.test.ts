// Delayed messages: SPEC section SD.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  ChannelHarness,
  expectType,
  kindOf,
  refusalOf,
  sizedMessage,
  START_MS,
  textMessage,
  textsOf,
} from "./channel-harness.ts";

const MINUTE_MS = 60_000;

function open(settings: object = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

describe("src/channel/schedule: putting", () => {
  test("[SD1] a delay of 0 and a time that is over are an immediate put", () => {
    const channel = open();

    expect(channel.put(["a"], { delays: [{ afterMs: 0 }] })).toEqual({ type: "put", offset: 1, count: 1 });
    expect(channel.put(["b"], { delays: [{ atMs: 0 }] })).toEqual({ type: "put", offset: 2, count: 1 });
    expect(channel.put(["c"], { delays: [{ atMs: START_MS }] })).toEqual({ type: "put", offset: 3, count: 1 });
  });

  test("[SD1] a time as far off as may be is accepted, one further off refused and nothing stored", () => {
    const channel = open();

    expect(kindOf(channel.put(["a"], { delays: [{ afterMs: LIMITS.delayMsMax }] }))).toBe("put");
    expect(kindOf(channel.put(["b"], { delays: [{ atMs: START_MS + LIMITS.delayMsMax }] }))).toBe("put");
    const refusal = refusalOf(channel.put(["x", "y"], { delays: [undefined, { atMs: START_MS + LIMITS.delayMsMax + 1 }] }));
    expect(refusal).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/1" }] });
    expect(channel.changes).toBeUndefined();
    expect(channel.describe()).toMatchObject({ depth: 0, scheduled: { messages: 2 } });
  });

  test("[SD1] the state is refused before the delay, and the delay before the size", () => {
    const channel = open({ maxMessageBytes: 1 });
    const delays = [{ atMs: Number.MAX_SAFE_INTEGER }];

    expect(kindOf(channel.putMessages([sizedMessage(2)], { delays }))).toBe("invalid-request");
    channel.patch({ state: "closed" });
    expect(kindOf(channel.putMessages([sizedMessage(2)], { delays }))).toBe("channel-closed");
  });

  test("[SD2] a delayed message is answered with its id and time, and nobody sees it", () => {
    const channel = open();

    const outcome = expectType(
      channel.putMessages([{ ...textMessage("a"), messageId: "m" }], { delays: [{ afterMs: 500 }] }),
      "put",
    );

    expect(outcome).toEqual({
      type: "put",
      offset: null,
      count: 0,
      scheduled: [{ index: 0, scheduledId: `${START_MS + 500}-${START_MS}`, deliverAtMs: START_MS + 500 }],
    });
    expect(channel.getTexts()).toEqual([]);
    expect(channel.browseTexts()).toEqual([]);
    expect(kindOf(channel.apply({ type: "read", offset: 1 }))).toBe("unknown-message");
    expect(kindOf(channel.apply({ type: "remove-by-id", messageId: "m" }))).toBe("unknown-message");
    expect(channel.apply({ type: "purge" })).toEqual({ type: "purged", removedMessages: 0 });
    expect(channel.describe()).toMatchObject({
      depth: 0,
      isEmpty: true,
      nextOffset: 1,
      counts: { put: 0 },
      scheduled: { messages: 1, nextAtMs: START_MS + 500 },
    });
  });

  test("[SD2] [G8] a batch of both kinds is stored whole, or not at all", () => {
    const channel = open({ maxMessages: 3 });
    const delays = [{ afterMs: 200 }, undefined, { afterMs: 100 }];

    expect(channel.put(["a", "b", "c"], { delays })).toMatchObject({
      offset: 1,
      count: 1,
      scheduled: [{ index: 0 }, { index: 2 }],
    });
    expect(kindOf(channel.put(["d", "e"], { delays: [{ afterMs: 1 }] }))).toBe("channel-full");
    expect([channel.browseTexts(), channel.scheduledTexts()]).toEqual([["b"], ["c", "a"]]);
    channel.failToCommit(() => channel.cancelScheduled(channel.listScheduled().messages[0]?.scheduledId ?? ""));
    expect([channel.browseTexts(), channel.scheduledTexts()]).toEqual([["b"], ["c", "a"]]);
  });

  test("[SD2] a put whose commit failed has scheduled nothing", () => {
    const channel = open();

    channel.failToCommit(() => channel.put(["a", "b"], { delays: [{ afterMs: 100 }] }));

    expect(channel.describe()).toMatchObject({ depth: 0, scheduled: { messages: 0, bytes: 0, nextAtMs: null } });
    channel.tick(1000);
    expect(channel.browseTexts()).toEqual([]);
  });

  test("[SD2] content and labels of a message come back as they were put", () => {
    const channel = open();
    const message = { ...sizedMessage(7), key: "k", messageId: "m", headers: { a: "b" }, contentType: "x/y" };
    channel.putMessages([message], { delays: [{ afterMs: 100 }] });

    channel.evict();

    expect(channel.listScheduled().messages).toEqual([
      { ...message, scheduledId: `${START_MS + 100}-${START_MS}`, deliverAtMs: START_MS + 100, putAtMs: START_MS },
    ]);
    channel.tick(100);
    expect(channel.browse().messages).toEqual([{ ...message, offset: 1, putAtMs: START_MS + 100 }]);
  });
});

describe("src/channel/schedule: limits", () => {
  test("[SD3] scheduled messages and bytes count against the limits", () => {
    const channel = open({ maxMessages: 4, maxBytes: 10 });
    channel.putMessages([sizedMessage(5)], { delays: [{ afterMs: 1000 }] });

    expect(channel.describe()).toMatchObject({
      depth: 0,
      bytes: 0,
      utilization: 0.5,
      isFull: false,
      scheduled: { messages: 1, bytes: 5 },
    });
    expect(channel.channel.pressure).toMatchObject({ depth: 0, bytes: 0, utilization: 0.5 });
    expect(refusalOf(channel.putMessages([sizedMessage(6)]))).toMatchObject({
      kind: "channel-full",
      depth: 0,
      bytes: 0,
      scheduled: { messages: 1, bytes: 5 },
    });
    expect(kindOf(channel.putMessages([sizedMessage(5)], { delays: [{ afterMs: 2000 }] }))).toBe("put");
    expect(channel.describe()).toMatchObject({ isFull: true, isEmpty: true });
    channel.tick(1000);
    expect(channel.describe()).toMatchObject({ depth: 1, bytes: 5, utilization: 1, isFull: true });
  });

  test("[SD3] a channel grows for what is scheduled", () => {
    const channel = open({ maxMessages: 1, growth: { factor: 2, maxMessages: 4, maxBytes: 2 ** 31 } });

    for (const text of ["a", "b", "c", "d"]) expect(channel.schedule(text, 100)).not.toBe("");

    expect(kindOf(channel.put(["e"]))).toBe("channel-full");
    expect(channel.describe().limits.maxMessages).toBe(4);
  });

  test("[SD3] a cancelled message makes room for a put that waits", () => {
    const channel = open({ maxMessages: 1 });
    const id = channel.schedule("a", 1000);
    const connection = channel.connect();
    channel.put(["b"], { waitMs: 5000, origin: { connection, request: 1 } });

    channel.cancelScheduled(id);

    expect(channel.takeAnswers()).toMatchObject([{ request: 1, outcome: { type: "room" } }]);
  });
});

describe("src/channel/schedule: entering", () => {
  test("[SD4] messages enter in the order of their times, those of one time in the order of their puts", () => {
    const channel = open();
    for (const [text, afterMs] of [
      ["c", 300],
      ["a", 100],
      ["b1", 200],
      ["b2", 200],
    ] as const)
      channel.schedule(text, afterMs);
    channel.evict();
    channel.schedule("b3", 200);

    channel.nowMs += 250;

    expect(channel.put(["now"])).toMatchObject({ offset: 5 });
    expect(channel.browseTexts()).toEqual(["a", "b1", "b2", "b3", "now"]);
    channel.tick(50);
    expect(channel.browseTexts()).toEqual(["a", "b1", "b2", "b3", "now", "c"]);
    expect(channel.describe()).toMatchObject({ scheduled: { messages: 0, bytes: 0, nextAtMs: null }, counts: { put: 6 } });
  });

  test("[SD4] an entered message is found by its id and can be removed", () => {
    const channel = open();
    channel.putMessages([{ ...textMessage("a"), messageId: "m" }], { delays: [{ afterMs: 100 }] });

    channel.tick(100);

    expect(channel.apply({ type: "remove-by-id", messageId: "m" })).toEqual({ type: "removed", offset: 1 });
  });

  test("[SD5] waiting gets are served at once by the alarm", () => {
    const channel = open();
    const connection = channel.connect();
    channel.schedule("a", 100);
    channel.get({ waitMs: MINUTE_MS }, { connection, request: 7 });

    channel.tick(99);
    expect(channel.takeAnswers()).toEqual([]);
    channel.tick(1);

    expect(channel.takeAnswers().map(({ outcome }) => textsOf(outcome))).toEqual([["a"]]);
  });

  test("[SD5] a get that comes after the time finds the message though no alarm ran", () => {
    const channel = open();
    channel.schedule("a", 100);

    channel.nowMs += 100;

    expect(channel.getTexts()).toEqual(["a"]);
    expect(channel.describe()).toMatchObject({ depth: 0, counts: { put: 1, acked: 1 } });
  });

  test("[SD5] what is due fits though the limits shrank below it", () => {
    const channel = open();
    for (const text of ["a", "b", "c"]) channel.schedule(text, 100);
    channel.patch({ maxMessages: 1, maxMessageBytes: 1, maxBytes: 1 });

    channel.tick(100);

    expect(channel.describe()).toMatchObject({ depth: 3 });
    expect(channel.getTexts(3)).toEqual(["a", "b", "c"]);
  });

  test("[SD5] a clock that goes back brings no message back", () => {
    const channel = open();
    channel.schedule("a", 100);
    channel.tick(100);

    channel.tick(-MINUTE_MS);
    const later = channel.schedule("b", 10);
    channel.tick(10);

    expect(channel.browseTexts()).toEqual(["a", "b"]);
    expect(Number(later.split("-")[1])).toBeGreaterThan(START_MS);
  });

  test("[SD6] a commit takes so many messages, and the next ones the rest, in order", () => {
    const channel = open();
    const count = LIMITS.scheduledEntryMessagesMax * 2 + 5;
    const texts = Array.from({ length: count }, (_, index) => String(index));
    channel.put(texts, { delays: texts.map(() => ({ afterMs: 100 })) });
    channel.nowMs += 100;

    channel.together(() => {
      for (let again = 0; again < 3; again++) channel.channel.apply({ type: "describe" }, channel.moment);
    });
    expect(channel.channel.pressure?.depth).toBe(LIMITS.scheduledEntryMessagesMax);
    expect(channel.channel.countOverdue(channel.nowMs)).toBe(LIMITS.scheduledEntryMessagesMax + 5);
    channel.evict();
    channel.tick();
    channel.tick();

    expect(channel.channel.countOverdue(channel.nowMs)).toBe(0);
    expect(textsOf(channel.get({ max: count }))).toEqual(texts);
  });

  test("[SD6] a commit takes so many bytes, but always one message", () => {
    const channel = open({ maxMessageBytes: LIMITS.messageBytesMax });
    const half = LIMITS.scheduledEntryBytesMax / 2;
    for (const bytes of [half, half, 1, LIMITS.scheduledEntryBytesMax + 1, 1])
      channel.putMessages([sizedMessage(bytes)], { delays: [{ afterMs: 100 }] });

    const depths = Array.from({ length: 5 }, (_, index) => {
      channel.tick(index === 0 ? 100 : 0);
      return channel.channel.pressure?.depth;
    });

    expect(depths).toEqual([2, 3, 4, 5, 5]);
  });

  test("[SD6] nothing enters while operations are applied one by one", () => {
    const channel = open();
    channel.put(["a"]);
    channel.schedule("b", 100);
    channel.nowMs += 100;

    channel.channel.apply({ type: "get", max: 9 }, { ...channel.moment, isRecovering: true });
    channel.commit();

    expect(channel.changes?.schedule).toBeUndefined();
    expect(channel.getTexts(9)).toEqual(["b"]);
  });

  test("[SD7] a commit that fails leaves the message scheduled, one that stands leaves it entered", () => {
    const channel = open();
    channel.schedule("a", 100);
    channel.nowMs += 100;

    channel.failToCommit(() => channel.tick());
    channel.failToCommit(() => channel.getTexts());
    expect(channel.channel.countOverdue(channel.nowMs)).toBe(1);
    channel.tick();
    channel.evict();

    expect(channel.channel.countOverdue(channel.nowMs)).toBe(0);
    expect(channel.getTexts(9)).toEqual(["a"]);
  });
});

describe("src/channel/schedule: cancelling and listing", () => {
  test("[SD8] a message is cancelled until it enters", () => {
    const channel = open();
    const [a, b] = [channel.schedule("a", 100), channel.schedule("b", 200)];

    expect(channel.cancelScheduled(b)).toEqual({ type: "unscheduled", scheduledId: b });
    expect(refusalOf(channel.cancelScheduled(b))).toEqual({ kind: "unknown-scheduled", scheduledId: b });
    channel.nowMs += 100;

    expect(kindOf(channel.cancelScheduled(a))).toBe("unknown-scheduled");
    channel.tick(1000);
    expect(channel.browseTexts()).toEqual(["a"]);
  });

  test.each(["0-0", "999999999999999-999999999999999", `${START_MS + 100}-1`, `${START_MS + 101}-${START_MS}`])(
    "[SD8] an id that was never given is refused: %s",
    (scheduledId) => {
      const channel = open();
      channel.schedule("a", 100);

      expect(kindOf(channel.cancelScheduled(scheduledId))).toBe("unknown-scheduled");
      expect(channel.describe().scheduled.messages).toBe(1);
    },
  );

  test("[SD8] putting, cancelling and looking in one commit see each other", () => {
    const channel = open();
    channel.schedule("stored", 50);

    channel.together(() => {
      const [a, b] = [channel.schedule("a", 100), channel.schedule("b", 10)];
      expect(channel.scheduledTexts()).toEqual(["b", "stored", "a"]);
      channel.cancelScheduled(b);
      expect(kindOf(channel.cancelScheduled(b))).toBe("unknown-scheduled");
      expect(channel.describe().scheduled).toMatchObject({ messages: 2, nextAtMs: START_MS + 50 });
      channel.cancelScheduled(channel.listScheduled(1).messages[0]?.scheduledId ?? "");
      expect(channel.describe().scheduled).toMatchObject({ messages: 1, nextAtMs: START_MS + 100 });
      expect(channel.scheduledTexts()).toEqual(["a"]);
      expect(a).not.toBe("");
    });

    channel.evict();
    expect(channel.scheduledTexts()).toEqual(["a"]);
    expect(channel.describe().scheduled).toEqual({ messages: 1, bytes: 1, nextAtMs: START_MS + 100 });
  });

  test("[SD8] many that are cancelled in one commit do not hide the rest", () => {
    const channel = open();
    const ids = Array.from({ length: 90 }, (_, index) => channel.schedule(String(index), 100 + index));
    const kept = ["0", "60", "89"];

    channel.together(() => {
      for (const [index, id] of ids.entries()) if (!kept.includes(String(index))) channel.cancelScheduled(id);
      expect(channel.listScheduled(2).messages.map(({ deliverAtMs }) => deliverAtMs - START_MS)).toEqual([100, 160]);
      channel.cancelScheduled(ids[0] ?? "");
      expect(channel.describe().scheduled).toMatchObject({ messages: 2, nextAtMs: START_MS + 160 });
    });

    channel.evict();
    expect(channel.scheduledTexts()).toEqual(["60", "89"]);
  });

  test("[SD8] no id is used twice, in a later life neither", () => {
    const channel = open();
    const ids = [channel.schedule("a", 100), channel.schedule("b", 100)];
    for (const id of ids) channel.cancelScheduled(id);
    channel.evict();
    ids.push(channel.schedule("c", 100));
    channel.delete();
    channel.evict();
    channel.apply({ type: "create", settings: {} });

    ids.push(channel.schedule("d", 100));

    expect(new Set(ids).size).toBe(4);
    expect(kindOf(channel.cancelScheduled(ids[2] ?? ""))).toBe("unknown-scheduled");
  });

  test("[SD9] the list goes page by page and changes nothing", () => {
    const channel = open();
    const texts = ["a", "b", "c", "d", "e"];
    for (const [index, text] of texts.entries()) channel.schedule(text, 100 + (index >> 1));

    const first = channel.listScheduled(2);
    const second = channel.listScheduled(2, first.next ?? "");
    const third = channel.listScheduled(2, second.next ?? "");

    expect([first, second, third].map((page) => page.messages.length)).toEqual([2, 2, 1]);
    expect(third.next).toBeNull();
    expect(channel.changes).toBeUndefined();
    expect(channel.listScheduled(1, third.messages[0]?.scheduledId)).toMatchObject({ messages: [], next: null });
  });

  test("[SD9] a page ends early with what a reply can hold", () => {
    const channel = open({ maxMessageBytes: LIMITS.messageBytesMax });
    for (const bytes of [1, LIMITS.replyBytesMax, LIMITS.replyBytesMax + 1, 1])
      channel.putMessages([sizedMessage(bytes)], { delays: [{ afterMs: 100 }] });

    const lengths: number[] = [];
    for (let after: string | null | undefined; after !== null;) {
      const page = channel.listScheduled(1000, after);
      lengths.push(page.messages.length);
      after = page.next;
    }

    expect(lengths).toEqual([1, 1, 1, 1]);
  });
});

describe("src/channel/schedule: life cycle", () => {
  test("[SD10] a draining channel refuses more, waits for what is scheduled, and is closed then", () => {
    const channel = open();
    channel.schedule("a", 100);
    channel.patch({ state: "draining" });

    expect(kindOf(channel.put(["b"], { delays: [{ afterMs: 1 }] }))).toBe("channel-draining");
    channel.tick(50);
    expect(channel.describe().state).toBe("draining");
    channel.tick(50);
    expect(channel.describe().state).toBe("draining");
    expect(channel.getTexts()).toEqual(["a"]);
    expect(channel.describe().state).toBe("closed");
  });

  test("[SD10] gets wait in a draining channel while something is scheduled", () => {
    const channel = open();
    const connection = channel.connect();
    const ids = [channel.schedule("a", 100), channel.schedule("b", 200)];
    channel.patch({ state: "draining" });
    for (const request of [1, 2])
      expect(channel.get({ waitMs: MINUTE_MS }, { connection, request })).toEqual({ type: "waiting" });

    channel.tick(100);
    expect(channel.takeAnswers()).toMatchObject([{ request: 1, outcome: { type: "got" } }]);
    channel.cancelScheduled(ids[1] ?? "");

    expect(channel.takeAnswers().map(({ request, outcome }) => [request, kindOf(outcome)])).toEqual([[2, "channel-draining"]]);
    expect(channel.describe().state).toBe("closed");
  });

  test("[SD10] the alarm that lets the last message enter for a waiting get closes the channel", () => {
    const channel = open();
    const connection = channel.connect();
    channel.schedule("a", 100);
    channel.patch({ state: "draining" });
    channel.get({ waitMs: MINUTE_MS }, { connection, request: 1 });

    channel.tick(100);

    expect(channel.channel.record?.state).toBe("closed");
  });

  test("[SD10] a deletion with grace drops what is still scheduled when it is over, and counts it", () => {
    const channel = open();
    channel.put(["a"]);
    channel.schedule("b", 100);
    channel.schedule("c", MINUTE_MS);
    expect(channel.delete(5000).type).toBe("deleting");

    channel.tick(100);
    expect(channel.getTexts(9)).toEqual(["a", "b"]);
    expect(channel.channel.record?.state).toBe("draining");
    channel.tick(5000);

    expect(channel.channel.record).toMatchObject({ state: "deleted", droppedMessages: 1 });
    channel.evict();
    channel.apply({ type: "create", settings: {} });
    expect(channel.describe().scheduled).toEqual({ messages: 0, bytes: 0, nextAtMs: null });
    channel.tick(MINUTE_MS);
    expect(channel.browseTexts()).toEqual([]);
  });

  test("[SD10] force drops and counts both, also what came in the same commit", () => {
    const channel = open();
    channel.schedule("stored", 100);

    const outcome = channel.together(() => {
      channel.put(["a", "b"], { delays: [{ afterMs: 100 }] });
      return channel.delete(0);
    });

    expect(outcome).toEqual({ type: "deleted", droppedMessages: 3 });
    channel.evict();
    channel.apply({ type: "create", settings: {} });
    expect(channel.scheduledTexts()).toEqual([]);
  });

  test("[SD10] a closed channel keeps what is scheduled and lets it enter", () => {
    const channel = open();
    channel.schedule("a", 100);
    channel.patch({ state: "closed" });

    channel.tick(100);

    expect(channel.describe()).toMatchObject({ state: "closed", depth: 1, scheduled: { messages: 0 } });
    channel.patch({ state: "open" });
    expect(channel.getTexts()).toEqual(["a"]);
  });

  test("[SD10] [LC6] a channel with a scheduled message is not idle, and is from its cancelling on", () => {
    const channel = open({ expireAfterIdleMs: MINUTE_MS });
    const id = channel.schedule("a", 10 * MINUTE_MS);
    for (let minute = 0; minute < 5; minute++) channel.tick(MINUTE_MS);
    channel.evict();

    channel.cancelScheduled(id);
    channel.evict();
    channel.tick(MINUTE_MS - 1);
    expect(channel.channel.record?.isExpired).toBe(false);
    channel.tick(1);

    expect(channel.channel.record?.isExpired).toBe(true);
  });

  test("[SD11] waking reads one row of totals, and an operation before the time none", () => {
    const channel = open();
    channel.put(
      Array.from({ length: 50 }, () => "x"),
      { delays: Array.from({ length: 50 }, () => ({ afterMs: 100 })) },
    );
    const reads: string[] = [];
    const store = channel.store.schedule;
    for (const name of ["readTotals", "readEntriesAfter", "readEntry", "readBlock"] as const) {
      const read = store[name].bind(store) as (...given: unknown[]) => unknown;
      Object.defineProperty(store, name, { value: (...given: unknown[]) => (reads.push(name), read(...given)) });
    }

    channel.evict();
    channel.describe();
    channel.put(["a"]);

    expect(reads).toEqual(["readTotals"]);
  });
});

describe("src/channel/schedule: the alarm", () => {
  test("[RC8] the nearest time is among the deadlines, with those of the record", () => {
    const channel = open();
    channel.channel.settleOutbox(channel.channel.record?.outbox.version ?? 0, true, START_MS);
    channel.commit();
    expect(channel.channel.nextAlarmAtMs).toBeUndefined();

    const ids = [channel.schedule("a", 300), channel.schedule("b", 200)];
    expect(channel.channel.nextAlarmAtMs).toBe(START_MS + 200);
    expect(channel.reopen().findAlarmOnWaking(START_MS)).toBe(START_MS + 200);
    channel.cancelScheduled(ids[1] ?? "");
    expect(channel.channel.nextAlarmAtMs).toBe(START_MS + 300);
    channel.tick(300);

    expect(channel.channel.nextAlarmAtMs).toBeUndefined();
  });
});
