// Dead letters and quarantine over HTTP. SPEC sections DL and KO.
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { DELIVERY_REPLY_SCHEMAS } from "../../src/protocol/delivery-routes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { hibernate, passTime } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  entriesOf,
  freshChannel,
  lease,
  type MessageJson,
  NO_COUNTS,
  pathOf,
  pullTexts,
  read,
  readProblem,
  settle,
  textsOf,
  untilChannel,
} from "./service.ts";
import { listDead, post, putKeyed, tryPost } from "./delivery.ts";

interface MovedJson {
  readonly moved: number;
  readonly isMore: boolean;
  readonly next?: number;
}

/** Refuses messages until they are dead: a channel of these dead letters, at offsets from 1. */
async function createWithDead(messages: readonly object[], settings: object = {}): Promise<string> {
  const channel = await createChannel(settings);
  await read(tryPost(channel, "/messages/batch", { messages }), 201);
  const { messages: leased } = await lease(channel, { max: 99 });
  await settle(channel, { rejects: entriesOf(leased, { reason: "bad" }) });
  return channel;
}

/** A channel in which the messages used up their only attempt and stop their keys. */
async function createQuarantined(messages: readonly object[]): Promise<string> {
  const channel = await createChannel({ delivery: { maxAttempts: 1, onExhausted: "quarantine" } });
  await read(tryPost(channel, "/messages/batch", { messages }), 201);
  const { messages: leased } = await lease(channel, { max: 99 });
  await settle(channel, { retries: entriesOf(leased) });
  return channel;
}

describe("src/worker/delivery-routes: dead letters", () => {
  test("[DL5] a redrive with a rate runs by the alarm, is seen in the description, and can be stopped", async () => {
    // More than a slow machine lets pass between two looks.
    const texts = Array.from({ length: 30 }, (_, index) => `${index}`);
    const channel = await createWithDead(texts.map((text) => ({ text })));
    const redrive = (json: object): Promise<Response> => tryPost(channel, "/dead-letters/redrive", json);

    const begun = await read<{ redrive: object }>(redrive({ ratePerSecond: 1 }), 202);

    v.parse(DELIVERY_REPLY_SCHEMAS.redriveJob, begun);
    expect(begun.redrive).toMatchObject({ ratePerSecond: 1, moved: 0 });
    const { redrive: running, depth } = await untilChannel(channel, (description) => description.depth > 0);
    expect(running?.moved).toBe(depth);
    expect(depth).toBeLessThan(texts.length);
    expect(await readProblem(redrive({ ratePerSecond: 5 }))).toMatchObject({ kind: "redrive-running", status: 409 });
    await hibernate(channel);
    await untilChannel(channel, (description) => description.depth > depth);
    const stopped = await read<{ redrive: { moved: number } }>(call("DELETE", pathOf(channel, "/dead-letters/redrive")));
    const { moved } = stopped.redrive;
    expect(moved).toBeGreaterThan(depth);
    expect(moved).toBeLessThan(texts.length);
    const left = { redrive: null, depth: moved, deadLetters: { messages: texts.length - moved } };
    expect(await describeChannel(channel)).toMatchObject(left);
    const problem = await readProblem(call("DELETE", pathOf(channel, "/dead-letters/redrive")));
    expect(problem).toMatchObject({ kind: "unknown-redrive", status: 404 });
    await read(redrive({ ratePerSecond: 10_000 }), 202);
    await untilChannel(channel, (description) => description.redrive === null);
    expect(await pullTexts(channel, { max: texts.length })).toEqual(texts);
  });

  test("[DL5] a rate that is none, or beside max, is refused", async () => {
    const channel = await createChannel();
    for (const ratePerSecond of [0, 1.5, LIMITS.redrivePerSecondMax + 1, null, "1"]) {
      const problem = await readProblem(tryPost(channel, "/dead-letters/redrive", { ratePerSecond }));
      expect(problem["errors"]).toMatchObject([{ pointer: "/ratePerSecond" }]);
    }
    const problem = await readProblem(tryPost(channel, "/dead-letters/redrive", { ratePerSecond: 1, max: 5 }));
    expect(problem["errors"]).toMatchObject([{ pointer: "/max" }]);
  });

  test("[DL1] they are listed in order, page by page, with what became of them", async () => {
    const channel = await createWithDead([{ text: "a", key: "k" }, { text: "b" }, { text: "c", key: "k" }]);

    const first = await listDead(channel, "?limit=2");
    const second = await listDead(channel, `?limit=2&from=${first.next}`);

    v.parse(DELIVERY_REPLY_SCHEMAS.deadLetters, first);
    expect(first).toMatchObject({
      deadLetters: [{ offset: 1, text: "a", key: "k", attempts: 1, reason: "bad" }, { text: "b" }],
      next: 3,
    });
    expect(second).toMatchObject({ deadLetters: [{ offset: 3, text: "c" }], next: null });
    expect((await listDead(channel, "?key=k")).deadLetters.map(({ offset }) => offset)).toEqual([1, 3]);
    expect((await listDead(channel, "?reason=other")).deadLetters).toEqual([]);
    expect(await describeChannel(channel)).toMatchObject({
      depth: 0,
      deadLetters: { messages: 3 },
      counts: { put: 3, deadLettered: 3 },
    });
  });

  test("[DL3] redriven ones are new messages that name their old offset, also when read", async () => {
    const channel = await createWithDead([{ text: "a" }, { text: "b" }, { text: "c" }]);

    const moved = await post<MovedJson>(channel, "/dead-letters/redrive", { max: 2 });
    const rest = await post<MovedJson>(channel, "/dead-letters/redrive");

    expect([moved, rest]).toEqual([
      { moved: 2, isMore: true, next: 3 },
      { moved: 1, isMore: false },
    ]);
    const read4 = await call("GET", pathOf(channel, "/messages/4"));
    expect([await read4.text(), read4.headers.get("Channel-Redriven-From")]).toEqual(["a", "1"]);
    expect((await lease(channel, { max: 9 })).messages).toMatchObject([
      { offset: 4, text: "a", redrivenFrom: 1, attempt: 1, redelivered: false },
      { offset: 5, text: "b", redrivenFrom: 2 },
      { offset: 6, text: "c", redrivenFrom: 3 },
    ]);
    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 6, deadLettered: 3 });
  });

  test("[DL1] they are dropped by offset, key, reason and age", async () => {
    passTime(0);
    const channel = await createWithDead([{ text: "a", key: "k" }, { text: "b" }, { text: "c" }]);
    passTime(1000);

    expect(await post(channel, "/dead-letters/drop", { olderThanMs: 1001 })).toEqual({ moved: 0, isMore: false });
    expect(await post(channel, "/dead-letters/drop", { key: "k" })).toEqual({ moved: 1, isMore: false });
    expect(await post(channel, "/dead-letters/drop", { offset: 2 })).toEqual({ moved: 1, isMore: false });
    expect(await post(channel, "/dead-letters/drop", { reason: "bad", olderThanMs: 1000 })).toEqual({ moved: 1, isMore: false });

    expect((await describeChannel(channel)).deadLetters).toEqual({ messages: 0, bytes: 0 });
  });

  test("[DL1] they survive an eviction and a purge, and end with the life", async () => {
    const channel = await createWithDead([{ text: "a" }]);
    await read(call("DELETE", pathOf(channel, "/messages")));
    await hibernate(channel);

    expect((await listDead(channel)).deadLetters).toMatchObject([{ offset: 1, text: "a" }]);
    await call("DELETE", pathOf(channel, "?force=true"));
    expect((await readProblem(call("GET", pathOf(channel, "/dead-letters")))).kind).toBe("channel-deleted");
    await read(call("PUT", pathOf(channel)), 201);
    expect(await listDead(channel)).toEqual({ deadLetters: [], next: null });
  });

  test("[DL1] bad requests are refused and move nothing", async () => {
    const channel = await createWithDead([{ text: "a" }]);
    for (const query of [
      "?limit=0",
      "?limit=1001",
      "?from=0",
      "?from=x",
      "?key=",
      `?reason=${"x".repeat(1025)}`,
      "?offset=1",
      "?limit=1&limit=1",
    ]) {
      const problem = await readProblem(call("GET", pathOf(channel, `/dead-letters${query}`)));
      expect([query, problem.kind]).toEqual([query, "invalid-request"]);
    }
    const bodies = [
      { offset: 0 },
      { offset: "1" },
      { key: "" },
      { reason: 1 },
      { reason: "\udc00" },
      { olderThanMs: -1 },
      { from: 0 },
      { max: 0 },
      { max: 1001 },
      { all: true },
      [],
    ];
    for (const verb of ["redrive", "drop"]) {
      for (const body of bodies) {
        const problem = await readProblem(tryPost(channel, `/dead-letters/${verb}`, body));
        expect([verb, JSON.stringify(body), problem.kind]).toEqual([verb, JSON.stringify(body), "invalid-request"]);
      }
    }
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, deadLetters: { messages: 1 } });
    expect((await readProblem(call("GET", pathOf(freshChannel(), "/dead-letters")))).kind).toBe("unknown-channel");
  });
});

describe("src/worker/delivery-routes: quarantine", () => {
  test("[RT2] it is listed, and released with its attempts counted anew", async () => {
    const channel = await createQuarantined([{ text: "a", key: "k" }, { text: "b" }]);
    await putKeyed(channel, "k", ["later"]);

    const shown = await read<{ messages: MessageJson[] }>(call("GET", pathOf(channel, "/quarantine")));
    v.parse(DELIVERY_REPLY_SCHEMAS.quarantined, shown);
    expect(shown.messages).toMatchObject([
      { offset: 1, text: "a", attempts: 1 },
      { offset: 2, text: "b", attempts: 1 },
    ]);
    expect((await lease(channel, { max: 9 })).messages).toEqual([]);
    await hibernate(channel);
    expect(await post(channel, "/quarantine/release", { key: "k" })).toEqual({ moved: 1, isMore: false });

    expect((await lease(channel, { max: 9 })).messages).toMatchObject([
      { text: "a", attempt: 1, redelivered: true },
      { text: "later", attempt: 1, redelivered: false },
    ]);
    expect((await describeChannel(channel)).delivery).toMatchObject({ leased: 2, quarantined: 1 });
  });

  test("[RT2] what is dropped counts as removed, and its key goes on", async () => {
    const channel = await createQuarantined([{ text: "a", key: "k" }]);
    await putKeyed(channel, "k", ["later"]);

    expect(await post(channel, "/quarantine/drop", { offset: 1 })).toEqual({ moved: 1, isMore: false });

    expect(textsOf((await lease(channel)).messages)).toEqual(["later"]);
    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 2, removed: 1 });
  });

  test("[RT2] bad requests are refused and change nothing", async () => {
    const channel = await createQuarantined([{ text: "a" }]);
    for (const verb of ["release", "drop"]) {
      for (const body of [{}, { offset: 0 }, { offset: 1, key: "k" }, { key: "" }, { offset: null }, { id: 1 }, []]) {
        const problem = await readProblem(tryPost(channel, `/quarantine/${verb}`, body));
        expect([verb, JSON.stringify(body), problem.kind]).toEqual([verb, JSON.stringify(body), "invalid-request"]);
      }
      expect(await readProblem(tryPost(channel, `/quarantine/${verb}`, { offset: 2 }))).toMatchObject({
        kind: "unknown-message",
        status: 404,
      });
      expect(await post(channel, `/quarantine/${verb}`, { key: "none" })).toEqual({ moved: 0, isMore: false });
    }
    expect((await readProblem(call("GET", pathOf(channel, "/quarantine?limit=0")))).kind).toBe("invalid-request");
    expect((await describeChannel(channel)).delivery?.quarantined).toBe(1);
  });
});
