// Pull and settle over HTTP. SPEC sections LS, KO and RT.
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { DELIVERY_REPLY_SCHEMAS } from "../../src/protocol/delivery-routes.ts";
import type { ChannelDescription } from "../../src/protocol/description.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/settings.ts";
import { hibernate, passTime, readAlarm, runAlarm } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  entriesOf,
  freshChannel,
  lease,
  type MessageJson,
  NO_COUNTS,
  patchChannel,
  pathOf,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  settle,
  textsOf,
  untilChannel,
  untilWaiting,
} from "./service.ts";
import { listDead, post, putKeyed, tryPost } from "./delivery.ts";

const LONG_MS = 60_000;

const NOTHING_SETTLED = { acked: 0, retried: 0, extended: 0, rejected: 0, released: 0, refused: [] };

/** Entries of a settle call for those of the messages that are there. */
function list(...messages: (MessageJson | undefined)[]): object[] {
  return entriesOf(messages.filter((message) => message !== undefined));
}

describe("src/worker/delivery-routes: pull", () => {
  test("[LS1] a pull leases what is there, with an empty body one message for 30 s", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b", "c"]);
    passTime(0);

    const one = await read<Record<string, unknown>>(call("POST", pathOf(channel, "/messages/pull")));
    const rest = await lease(channel, { max: 5, leaseMs: 5000 });

    for (const reply of [one, rest]) v.parse(DELIVERY_REPLY_SCHEMAS.pulled, reply);
    expect(one).toMatchObject({ messages: [{ text: "a", attempt: 1, redelivered: false }], leaseUntilMs: Date.now() + 30_000 });
    expect(rest).toMatchObject({
      messages: [{ text: "b" }, { text: "c" }],
      leaseUntilMs: Date.now() + 5000,
      state: { depth: 3 },
    });
    expect(await lease(channel, { max: 5 })).toMatchObject({ messages: [] });
    expect(await pullTexts(channel, { max: 5 })).toEqual([]);
    expect((await describeChannel(channel)).delivery).toMatchObject({ ready: 0, leased: 3, retrying: 0, quarantined: 0 });
  });

  test("[LS1] with ack auto nothing is leased", async () => {
    const channel = await createChannel();
    await put(channel, "a");

    const pulled = await post<Record<string, unknown>>(channel, "/messages/pull", { ack: "auto" });

    expect(pulled["leaseUntilMs"]).toBeUndefined();
    expect(Object.keys((pulled["messages"] as object[])[0] ?? {})).not.toContain("leaseId");
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, counts: { acked: 1 } });
  });

  test("[LS2] bad members are refused and lease nothing", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    const cases: [object, string][] = [
      [{ leaseMs: LIMITS.leaseMsMin - 1 }, "/leaseMs"],
      [{ leaseMs: LIMITS.leaseMsMax + 1 }, "/leaseMs"],
      [{ leaseMs: 1000.5 }, "/leaseMs"],
      [{ leaseMs: "1000" }, "/leaseMs"],
      [{ leaseMs: null }, "/leaseMs"],
      [{ ack: "auto", leaseMs: 1000 }, "/leaseMs"],
      [{ ack: "manual" }, "/ack"],
      [{ detached: true }, "/detached"],
      [{ min: 2, max: 1 }, "/min"],
      [{ max: LIMITS.batchMessagesMax + 1 }, "/max"],
      [{ max: -1 }, "/max"],
      [[], ""],
    ];
    for (const [body, pointer] of cases) {
      const problem = await readProblem(tryPost(channel, "/messages/pull", body));
      const pointers = (problem["errors"] as { pointer: string }[]).map((error) => error.pointer);
      expect([JSON.stringify(body), problem.status, pointers]).toEqual([JSON.stringify(body), 400, [pointer]]);
    }
    expect((await readProblem(call("POST", pathOf(channel, "/messages/pull?max=1")))).kind).toBe("invalid-request");
    expect((await describeChannel(channel)).delivery?.leased).toBe(0);
  });

  test("[LS7] no more than maxInFlight are leased, and a larger min is refused", async () => {
    const channel = await createChannel({ delivery: { maxInFlight: 2 } });
    await putBatch(channel, ["a", "b", "c"]);

    expect(await readProblem(tryPost(channel, "/messages/pull", { min: 3 }))).toMatchObject({
      kind: "batch-too-large",
      size: 3,
      limit: 2,
      unit: "messages",
    });
    const { messages } = await lease(channel, { max: 9 });
    expect(textsOf(messages)).toEqual(["a", "b"]);
    expect((await lease(channel)).messages).toEqual([]);
    await settle(channel, { acks: entriesOf(messages.slice(1)) });
    expect(textsOf((await lease(channel, { max: 9 })).messages)).toEqual(["c"]);
  });

  test("[LS1] a long poll is served by lease when a message comes", async () => {
    const channel = await createChannel();
    const waiting = lease(channel, { max: 5, waitMs: LONG_MS, leaseMs: 60_000 });
    await untilWaiting(channel, 1);

    await putBatch(channel, ["a", "b"]);
    const pulled = await waiting;

    v.parse(DELIVERY_REPLY_SCHEMAS.pulled, pulled);
    expect(pulled.messages).toMatchObject([{ text: "a", attempt: 1 }, { text: "b" }]);
    // The leases outlive the socket over which the worker waited.
    await untilChannel(channel, ({ connections }) => connections === 0);
    expect((await describeChannel(channel)).delivery?.leased).toBe(2);
    expect(await settle(channel, { acks: entriesOf(pulled.messages) })).toMatchObject({ acked: 2, refused: [] });
  });

  test("[WT6] a long poll whose client is gone leases nothing", async () => {
    const channel = await createChannel();
    const controller = new AbortController();
    const gone = lease(channel, { waitMs: LONG_MS }, { signal: controller.signal }).catch((error: unknown) => error);
    await untilWaiting(channel, 1);

    controller.abort();
    await gone;
    await untilWaiting(channel, 0);
    await put(channel, "a");

    expect((await describeChannel(channel)).delivery).toMatchObject({ ready: 1, leased: 0 });
    expect((await lease(channel)).messages).toMatchObject([{ text: "a", attempt: 1, redelivered: false }]);
  });

  test("[LS6] a lease that ends wakes a waiting pull by the alarm", { timeout: 20_000 }, async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);
    await lease(channel, { max: 2, leaseMs: LIMITS.leaseMsMin });

    // Nothing else happens to the channel.
    const pulled = await lease(channel, { min: 2, max: 2, waitMs: LONG_MS });

    expect(pulled.messages).toMatchObject([
      { text: "a", attempt: 2, redelivered: true },
      { text: "b", attempt: 2, redelivered: true },
    ]);
  });

  test("[LS6] the alarm is set for the end of a lease while a pull waits, and survives an eviction", async () => {
    passTime(0);
    const channel = await createChannel();
    await runAlarm(channel);
    await put(channel, "a");
    const { leaseUntilMs } = await lease(channel, { leaseMs: 40_000 });
    expect(await readAlarm(channel)).toBeNull();

    const waiting = lease(channel, { waitMs: LONG_MS });
    await untilWaiting(channel, 1);
    expect(await readAlarm(channel)).toBe(leaseUntilMs);
    await hibernate(channel);
    passTime(39_999);
    await runAlarm(channel);
    expect(await readAlarm(channel)).toBe(Date.now() + 1000);
    passTime(1000);
    await runAlarm(channel);

    expect((await waiting).messages).toMatchObject([{ text: "a", attempt: 2, redelivered: true }]);
  });

  test("[LS10] a closed channel leases nothing, a draining one while messages are left", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);
    await patchChannel(channel, { state: "draining" });

    const { messages } = await lease(channel, { max: 2 });
    await settle(channel, { acks: entriesOf(messages) });

    expect((await describeChannel(channel)).state).toBe("closed");
    expect((await readProblem(tryPost(channel, "/messages/pull"))).kind).toBe("channel-closed");
    expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 0 });
  });
});

describe("src/worker/delivery-routes: settle", () => {
  test("[LS4] [LS5] each verb does what it says, and the reply counts them", async () => {
    passTime(0);
    const channel = await createChannel();
    await putBatch(channel, ["ack", "retry", "extend", "reject", "release"]);
    const { messages, leaseUntilMs = 0 } = await lease(channel, { max: 9 });
    const [ack, retry, extend, reject, release] = messages.map((message) => entriesOf([message])[0] ?? {});

    const settled = await settle(channel, {
      acks: [ack],
      retries: [{ ...retry, delayMs: 5000, reason: "busy" }],
      extends: [{ ...extend, leaseMs: 90_000 }],
      rejects: [{ ...reject, reason: "broken" }],
      releases: [release],
    });

    v.parse(DELIVERY_REPLY_SCHEMAS.settled, settled);
    expect(settled).toMatchObject({
      acked: 1,
      retried: 1,
      extended: 1,
      rejected: 1,
      released: 1,
      refused: [],
      state: { depth: 3 },
    });
    const { delivery, deadLetters, counts } = await describeChannel(channel);
    expect(delivery).toMatchObject({ ready: 1, leased: 1, retrying: 1 });
    expect(deadLetters).toMatchObject({ messages: 1 });
    expect(counts).toEqual({ ...NO_COUNTS, put: 5, acked: 1, deadLettered: 1 });
    expect((await lease(channel, { max: 9 })).messages).toMatchObject([{ text: "release", attempt: 1, redelivered: true }]);
    passTime(leaseUntilMs - Date.now());
    const back = await lease(channel, { max: 9 });
    expect(back.messages).toMatchObject([
      { text: "retry", attempt: 2 },
      { text: "release", attempt: 2 },
    ]);
  });

  test("[LS3] a lease that is over is refused with the cause, for its entry alone", async () => {
    passTime(0);
    const channel = await createChannel();
    await putBatch(channel, ["settled", "retried", "released", "live", "superseded", "expired"]);
    const { messages } = await lease(channel, { max: 5 });
    const [settled, retried, released, live, superseded] = messages;
    const { messages: short } = await lease(channel, { leaseMs: 1000 });
    await settle(channel, { acks: list(settled), releases: list(superseded) });
    await lease(channel);
    await settle(channel, {
      retries: entriesOf(
        [retried].flatMap((one) => one ?? []),
        { delayMs: LONG_MS },
      ),
      releases: list(released),
    });
    passTime(1000);

    const reply = await settle(channel, { acks: [...list(settled, retried, live, superseded, released), ...entriesOf(short)] });

    expect(reply).toMatchObject({ acked: 1 });
    const causes = reply.refused.map(({ pointer, problem }) => [pointer, problem.status, problem.kind, problem["cause"]]);
    expect(causes).toEqual([
      ["/acks/0/leaseId", 409, "lease-lost", "settled"],
      ["/acks/1/leaseId", 409, "lease-lost", "retried"],
      ["/acks/3/leaseId", 409, "lease-lost", "superseded"],
      ["/acks/4/leaseId", 409, "lease-lost", "released"],
      ["/acks/5/leaseId", 409, "lease-lost", "expired"],
    ]);
  });

  test("[KO1] [KO2] [KO3] messages of a key go to one reader in order, and are acked in order", async () => {
    const channel = await createChannel();
    await putKeyed(channel, "k", ["a", "b", "c"]);
    const { messages } = await lease(channel, { max: 2 });
    await put(channel, "free");
    expect(textsOf((await lease(channel, { max: 9 })).messages)).toEqual(["free"]);

    const early = await settle(channel, { acks: entriesOf(messages.slice(1)) });
    const retried = await settle(channel, { retries: entriesOf(messages.slice(0, 1), { delayMs: 0 }) });
    const late = await settle(channel, { acks: entriesOf(messages.slice(1)) });

    expect(early.refused).toMatchObject([{ problem: { kind: "out-of-order", status: 409, offset: 2, openOffset: 1 } }]);
    expect(retried.retried).toBe(1);
    expect(late.refused).toMatchObject([{ problem: { kind: "lease-lost", cause: "predecessor" } }]);
    const again = await lease(channel, { max: 9 });
    expect(again.messages).toMatchObject([
      { text: "a", attempt: 2 },
      { text: "b", attempt: 1, redelivered: true },
      { text: "c", attempt: 1, redelivered: false },
    ]);
    expect(await settle(channel, { acks: entriesOf(again.messages.toReversed()) })).toMatchObject({ acked: 3, refused: [] });
  });

  test("[LS2] a call with an id that is not ours, or twice the same, is refused whole and changes nothing", async () => {
    const [channel, other] = [await createChannel(), await createChannel()];
    for (const one of [channel, other]) await putBatch(one, ["a", "b"]);
    const { messages } = await lease(channel, { max: 2 });
    const foreign = (await lease(other)).messages[0]?.leaseId ?? "";
    const [good = "", second = ""] = messages.map(({ leaseId }) => leaseId);

    for (const bad of [foreign, second.slice(0, -1), `${second}0`, second.replace(/.$/, "x"), "", "1-1", "0-1-a-b"]) {
      const problem = await readProblem(tryPost(channel, "/messages/settle", { acks: [{ leaseId: good }, { leaseId: bad }] }));
      expect([bad, problem]).toMatchObject([bad, { kind: "invalid-lease", status: 400, pointer: "/acks/1/leaseId" }]);
    }
    const twice = await readProblem(
      tryPost(channel, "/messages/settle", { acks: [{ leaseId: good }], releases: [{ leaseId: good }] }),
    );
    expect(twice).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/releases/0/leaseId" }] });

    expect((await describeChannel(channel)).delivery?.leased).toBe(2);
    expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 2 });
  });

  test("[LS2] bad members are refused and settle nothing", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    const { messages } = await lease(channel);
    const [entry = {}] = entriesOf(messages);
    const cases: [object, string][] = [
      [{ retries: [{ ...entry, delayMs: -1 }] }, "/retries/0/delayMs"],
      [{ retries: [{ ...entry, delayMs: LIMITS.retryDelayMsMax + 1 }] }, "/retries/0/delayMs"],
      [{ extends: [entry] }, "/extends/0/leaseMs"],
      [{ extends: [{ ...entry, leaseMs: LIMITS.leaseMsMin - 1 }] }, "/extends/0/leaseMs"],
      [{ extends: [{ ...entry, leaseMs: LIMITS.leaseMsMax + 1 }] }, "/extends/0/leaseMs"],
      [{ rejects: [{ ...entry, reason: "x".repeat(LIMITS.reasonBytesMax + 1) }] }, "/rejects/0/reason"],
      [{ rejects: [{ ...entry, reason: "\ud800" }] }, "/rejects/0/reason"],
      [{ acks: [{ ...entry, reason: "why" }] }, "/acks/0/reason"],
      [{ acks: [{ leaseId: 5 }] }, "/acks/0/leaseId"],
      [{ acks: [{}] }, "/acks/0/leaseId"],
      [{ acks: ["1"] }, "/acks/0"],
      [{ acks: {} }, "/acks"],
      [{ acks: null }, "/acks"],
      [{ ack: [entry] }, "/ack"],
      [{ acks: Array.from({ length: LIMITS.settleEntriesMax + 1 }, () => entry) }, "/acks"],
    ];
    for (const [body, pointer] of cases) {
      const problem = await readProblem(tryPost(channel, "/messages/settle", body));
      const [first] = (problem["errors"] as { pointer: string }[] | undefined) ?? [];
      expect([pointer, problem.kind, first?.pointer]).toEqual([pointer, "invalid-request", pointer]);
    }
    expect((await readProblem(tryPost(channel, "/messages/settle"))).status).toBeLessThan(500);
    expect(await settle(channel, {})).toMatchObject(NOTHING_SETTLED);
    expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 1 });
  });

  test("[LS8] lease ids, attempts and delays survive an eviction of the object", async () => {
    passTime(0);
    const channel = await createChannel();
    await putBatch(channel, ["a", "b", "c"]);
    const { messages } = await lease(channel, { max: 3 });
    await settle(channel, { retries: entriesOf(messages.slice(1, 2), { delayMs: 5000 }) });
    const { delivery } = await describeChannel(channel);

    await hibernate(channel);

    expect((await describeChannel(channel)).delivery).toEqual(delivery);
    expect((await lease(channel, { max: 9 })).messages).toEqual([]);
    const settled = await settle(channel, { acks: entriesOf(messages) });
    expect(settled).toMatchObject({ acked: 2, refused: [{ problem: { cause: "retried" } }] });
    await hibernate(channel);
    passTime(5000);
    expect((await lease(channel, { max: 9 })).messages).toMatchObject([{ text: "b", attempt: 2, redelivered: true }]);
  });

  test("[LS10] removing and purging end leases; a new life knows none of the old", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);
    const { messages } = await lease(channel, { max: 2 });
    await read(call("DELETE", pathOf(channel, "/messages/1")));
    await read(call("DELETE", pathOf(channel, "/messages")));

    const { refused } = await settle(channel, { acks: entriesOf(messages) });
    expect(refused.map(({ problem }) => problem["cause"])).toEqual(["settled", "settled"]);
    await call("DELETE", pathOf(channel, "?force=true"));
    expect((await readProblem(tryPost(channel, "/messages/settle", {}))).kind).toBe("channel-deleted");
    await read(call("PUT", pathOf(channel)), 201);
    await put(channel, "c");
    const problem = await readProblem(tryPost(channel, "/messages/settle", { acks: entriesOf(messages) }));
    expect(problem).toMatchObject({ kind: "invalid-lease", pointer: "/acks/0/leaseId" });
  });

  test("[LS11] a batch of 100 that is put, pulled and settled as a whole costs three rows", { timeout: 60_000 }, async () => {
    const channel = await createChannel();
    const texts = Array.from({ length: 100 }, (_, index) => String(index));
    const written = async (): Promise<number> => (await describeChannel(channel)).rows.written;
    const round = async (): Promise<void> => {
      await putBatch(channel, texts);
      const { messages } = await lease(channel, { max: 100 });
      expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 100 });
    };
    for (let warmUp = 0; warmUp < 3; warmUp++) await round();
    // Tells the directory, which is a row of its own.
    await runAlarm(channel);

    const before = await written();
    for (let count = 0; count < 100; count++) await round();

    expect((await written()) - before).toBeLessThanOrEqual(300);
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, segments: 0, counts: { put: 10_300, acked: 10_300 } });
  });
});

describe("src/protocol/settings: delivery", () => {
  test("[RT2] members that are not given are the defaults, and a patch changes what it names", async () => {
    const { delivery } = DEFAULT_SETTINGS;
    const channel = await createChannel({ delivery: { maxAttempts: 3 } });
    expect((await describeChannel(channel)).settings.delivery).toEqual({ ...delivery, maxAttempts: 3 });

    const patched = await patchChannel(channel, { delivery: { retryDelaysMs: [0, 1000], onExhausted: "quarantine" } });

    const changed = { ...delivery, maxAttempts: 3, retryDelaysMs: [0, 1000], onExhausted: "quarantine" };
    expect(patched.settings.delivery).toEqual(changed);
    const confirmed = await read<ChannelDescription>(
      call("PUT", pathOf(channel), { json: { delivery: { retryDelaysMs: [0, 1000] } } }),
    );
    expect(confirmed.settings.delivery).toEqual(changed);
    expect((await patchChannel(channel, { delivery: { retryDelaysMs: null } })).settings.delivery.retryDelaysMs).toBeNull();
  });

  test("[LC8] other settings are a conflict that names the members", async () => {
    const channel = await createChannel({ delivery: { maxAttempts: 3 } });

    const json = { delivery: { maxAttempts: 4, maxInFlight: 5, retryDelaysMs: null } };
    const problem = await readProblem(call("PUT", pathOf(channel), { json }));

    expect(problem).toMatchObject({ kind: "settings-conflict", conflicts: ["delivery.maxAttempts", "delivery.maxInFlight"] });
    expect((await describeChannel(channel)).settings.delivery.maxAttempts).toBe(3);
  });

  test("[AD1] bad values are refused where a channel is made and where it is changed", async () => {
    const channel = await createChannel();
    const cases: [object, string][] = [
      [{ maxAttempts: -2 }, "/delivery/maxAttempts"],
      [{ maxAttempts: LIMITS.maxAttemptsMax + 1 }, "/delivery/maxAttempts"],
      [{ maxAttempts: 1.5 }, "/delivery/maxAttempts"],
      [{ maxAttempts: null }, "/delivery/maxAttempts"],
      [{ retryDelaysMs: [] }, "/delivery/retryDelaysMs"],
      [{ retryDelaysMs: [-1] }, "/delivery/retryDelaysMs/0"],
      [{ retryDelaysMs: [LIMITS.retryDelayMsMax + 1] }, "/delivery/retryDelaysMs/0"],
      [{ retryDelaysMs: Array.from({ length: LIMITS.retryDelaysMax + 1 }, () => 0) }, "/delivery/retryDelaysMs"],
      [{ onExhausted: "drop" }, "/delivery/onExhausted"],
      [{ maxInFlight: 0 }, "/delivery/maxInFlight"],
      [{ maxInFlight: LIMITS.inFlightMax + 1 }, "/delivery/maxInFlight"],
      [{ attempts: 1 }, "/delivery/attempts"],
    ];
    for (const [delivery, pointer] of cases) {
      const replies = [
        call("PUT", pathOf(freshChannel()), { json: { delivery } }),
        call("PATCH", pathOf(channel), { json: { delivery } }),
      ];
      for (const problem of await Promise.all(replies.map((reply) => readProblem(reply)))) {
        expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer }] });
      }
    }
    expect((await describeChannel(channel)).settings).toEqual(DEFAULT_SETTINGS);
  });

  test("[RT1] [RT2] the delays and the number of attempts are those of the settings", async () => {
    passTime(0);
    const channel = await createChannel({ delivery: { maxAttempts: 2, retryDelaysMs: [3000] } });
    await put(channel, "a");
    const first = await lease(channel);
    await settle(channel, { retries: entriesOf(first.messages) });

    passTime(2999);
    expect((await lease(channel)).messages).toEqual([]);
    passTime(1);
    const { messages } = await lease(channel);
    expect(messages).toMatchObject([{ attempt: 2 }]);
    await settle(channel, { retries: entriesOf(messages, { reason: "still busy" }) });

    expect((await listDead(channel)).deadLetters).toMatchObject([{ text: "a", attempts: 2, reason: "still busy" }]);
    expect((await describeChannel(channel)).delivery).toMatchObject({ ready: 0, leased: 0 });
  });
});
