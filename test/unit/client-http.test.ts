// The client over HTTP against a service that the test plays: what is sent, and what replies and failures become.
import { describe, expect, test } from "vitest";
import {
  type Channel,
  EdgeChannel,
  type EdgeChannelOptions,
  type MessageBody,
  type PutGiven,
  type SettleRequest,
} from "../../src/client/index.ts";
import { connectBinding } from "../../src/client/service-binding.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import { FRAME_MEDIA_TYPE } from "../../src/protocol/version.ts";
import { readPutBody, serverFrame, textRecord } from "../binary-frames.ts";
import { errorOf, TRANSPORTS } from "../client-calls.ts";
import { isSettled, STATE } from "./client-doubles.ts";
import {
  type Answer,
  breakOff,
  cutOff,
  failOnTheWay,
  FakeService,
  neverAnswer,
  replyFrame,
  replyJson,
  replyPage,
  replyProblem,
} from "./fake-service.ts";

const BASE = "http://service.test/under/v1/channels/c";
const NO_SETTLES: readonly unknown[] = [null, undefined, { acks: "l" }, { acks: [null] }, { retries: {} }, { checkpoint: 1 }];
const STORED = { offset: 1, count: 1, state: STATE };

function open(answers: readonly Answer[], options: EdgeChannelOptions = {}): { service: FakeService; channel: Channel } {
  const service = new FakeService(...answers);
  const client = EdgeChannel.connect("http://service.test/under/", { fetch: service.fetch, retries: 0, ...options });
  return { service, channel: client.channel("c") };
}

describe("src/client/http-transport: requests", () => {
  test("puts carry their conditions in the address and in headers, and each body as what it is", async () => {
    const { service, channel } = open([replyJson(STORED, 201), replyJson({ ...STORED, duplicate: true }, 201)]);
    const bytes = { body: new Uint8Array([1]), key: "k", delayMs: 5 };

    const receipts = [
      await channel.put("a", { waitMs: 5, expectedOffset: 7, producer: { id: "p", epoch: 0, seq: 3 } }),
      await channel.putBatch([bytes], { idempotencyKey: 'a "b\\' }),
    ];

    expect(receipts.map(({ isDuplicate }) => isDuplicate)).toEqual([false, true]);
    expect(service.sent).toEqual([
      {
        method: "POST",
        url: `${BASE}/messages/batch?waitMs=5&expectedOffset=7`,
        headers: { "Content-Type": "application/json", "Producer-Id": "p", "Producer-Epoch": "0", "Producer-Seq": "3" },
        body: { messages: [{ text: "a" }] },
        redirect: "manual",
      },
      {
        method: "POST",
        url: `${BASE}/messages/batch`,
        headers: { "Content-Type": "application/json", "Idempotency-Key": String.raw`"a \"b\\"` },
        body: { messages: [{ base64: "AQ==", key: "k", delayMs: 5 }] },
        redirect: "manual",
      },
    ]);
  });

  test("more than one message go in a binary frame, with their conditions in headers", async () => {
    const { service, channel } = open([replyJson(STORED, 201)]);

    await channel.putBatch([{ json: null }, { body: new Uint8Array([1]), key: "k" }], { waitMs: 5, idempotencyKey: "i" });

    const [sent] = service.sent;
    expect(sent).toMatchObject({
      url: `${BASE}/messages/batch?waitMs=5`,
      headers: { "Content-Type": FRAME_MEDIA_TYPE, "Idempotency-Key": '"i"' },
    });
    expect(readPutBody(sent?.body as Uint8Array)).toMatchObject([
      { presentation: "json", body: encodeUtf8("null") },
      { presentation: "bytes", body: new Uint8Array([1]), key: "k" },
    ]);
  });

  test("what a frame cannot say goes as JSON, to be refused as that is", async () => {
    const { service, channel } = open([replyJson(STORED, 201)]);

    await channel.putBatch(["a", { body: "b", key: 5 } as unknown as PutGiven]);

    expect(service.sent.map(({ body }) => body)).toEqual([{ messages: [{ text: "a" }, { text: "b", key: 5 }] }]);
  });

  test("several messages are asked for in a binary frame, and read from it or from JSON", async () => {
    const head = { leaseUntilMs: 9, leases: { group: 0, holder: "h-s", again: [[1, 2, true]] }, state: STATE };
    const records = [textRecord("a", { putAtMs: 5 }), textRecord("b", { putAtMs: 5, key: "k" })];
    const json = { messages: [{ offset: 6, putAtMs: 5, contentType: "text/plain", text: "c" }], state: STATE };
    const { service, channel } = open([replyFrame(serverFrame("got", head, records, 4)), replyJson(json)]);

    const { messages } = await channel.pull({ max: 2 });
    const [third] = await channel.getBatch({ max: 2, ack: "server" });

    expect(messages.map(({ leaseId, attempt, redelivered }) => [leaseId, attempt, redelivered])).toEqual([
      ["0-4-1-h-s", 1, false],
      ["0-5-2-h-s", 2, true],
    ]);
    expect([...messages, third].map((message) => message?.body)).toEqual(["a", "b", "c"]);
    expect(service.sent.map(({ headers }) => headers["Accept"])).toEqual([FRAME_MEDIA_TYPE, FRAME_MEDIA_TYPE]);
  });

  test("a reply that says it is a frame and is none is of something else", async () => {
    const { channel } = open([replyFrame(new ArrayBuffer(7)), replyFrame(serverFrame("got", {}, [], 1).slice(0, -1))]);

    for (let count = 0; count < 2; count++)
      expect(await errorOf(channel.pull({ max: 2 }))).toMatchObject({ kind: "unexpected-reply", outcome: "unknown" });
  });

  test("a get that the server acks is one pull, and one that the client acks is a pull and a settle", async () => {
    const message = {
      offset: 4,
      putAtMs: 5,
      contentType: "text/plain",
      text: "hi",
      leaseId: "l",
      attempt: 1,
      redelivered: false,
    };
    const settled = { acked: 1, retried: 0, extended: 0, rejected: 0, released: 0, refused: [], state: STATE };
    const { service, channel } = open([
      replyJson({ messages: [message], state: STATE }),
      replyJson({ messages: [message], leaseUntilMs: 9, state: STATE }),
      replyJson(settled),
    ]);

    await channel.get({ ack: "server", waitMs: 10, group: "g" });
    const got = await channel.getBatch({ max: 5, leaseMs: 2000, reader: "r", detached: true });

    expect(got.map(({ body }) => body)).toEqual(["hi"]);
    expect(service.sent.map(({ url, body }) => [url.slice(BASE.length), body])).toEqual([
      ["/messages/pull", { ack: "auto", min: 1, max: 1, waitMs: 10, group: "g" }],
      ["/messages/pull", { max: 5, leaseMs: 2000, reader: "r" }],
      ["/messages/settle", { acks: [{ leaseId: "l" }] }],
    ]);
  });

  test("the token goes with every request, and nothing is followed to another address", async () => {
    const { service, channel } = open([replyJson({ depth: 0 }), replyPage(302)], { token: "s3cret" });

    await channel.stats();
    const error = await errorOf(channel.purge());

    expect(service.sent.map(({ headers }) => headers["Authorization"])).toEqual(["Bearer s3cret", "Bearer s3cret"]);
    expect(error).toMatchObject({ kind: "unexpected-reply", status: 302, retryable: false, outcome: "unknown" });
  });

  test("what this side can tell is refused before anything is sent", async () => {
    const { service, channel } = open([]);
    const refused = { kind: "invalid-request", origin: "client", retryable: false, outcome: "not-applied" };

    expect(await errorOf(channel.put("a", { idempotencyKey: "é" }))).toMatchObject(refused);
    for (const given of [undefined, 5, { json: undefined }, { json: 1n }, { json: { a: 1n } }] as PutGiven[]) {
      const error = await errorOf(channel.put(given));
      expect(error).toMatchObject({ ...refused, message: expect.stringMatching(/^Cannot send the value as /) });
      const other = await errorOf(channel.putBatch(["a", given]));
      expect(other).toMatchObject({ ...refused, message: expect.stringMatching(/^Cannot send the value at index 1 as /) });
      expect(await errorOf(channel.checkpoint("at").write(given as MessageBody))).toMatchObject(refused);
    }
    for (const batch of ["abc", new Set(["a"]), undefined] as unknown as PutGiven[][]) {
      expect(await errorOf(channel.putBatch(batch))).toMatchObject(refused);
    }
    for (const request of NO_SETTLES) expect(await errorOf(channel.settle(request as SettleRequest))).toMatchObject(refused);
    expect(await errorOf(channel.put("a".repeat(24 * 1024 * 1024)))).toMatchObject({ ...refused, kind: "request-too-large" });
    expect(() => EdgeChannel.connect("ftp://service.test")).toThrow(expect.objectContaining(refused));
    expect(service.sent).toEqual([]);
  });
});

describe("src/client/edge-channel", () => {
  test.each(TRANSPORTS)("what is no name of a channel is refused at once, over %s", (transport) => {
    const client = EdgeChannel.connect("http://service.test", { transport });
    const refused = { kind: "invalid-request", origin: "client", retryable: false, outcome: "not-applied" };

    for (const name of [undefined, null, 5, ["c"]] as unknown as string[]) {
      expect(() => client.channel(name)).toThrow(expect.objectContaining(refused) as Error);
      expect(() => client.consume([name], () => undefined)).toThrow(expect.objectContaining(refused) as Error);
    }
  });
});

describe("src/client/service-binding: requests", () => {
  test("what is no body is refused before anything is sent", async () => {
    const service = new FakeService();
    const channel = connectBinding(service).channel("c");
    await using producer = channel.producer();

    for (const given of [undefined, null, {}, { json: 1n }] as PutGiven[]) {
      for (const putting of [channel.put(given), channel.putBatch(["a", given]), producer.put(given)]) {
        expect(await errorOf(putting)).toMatchObject({ kind: "invalid-request", origin: "client", outcome: "not-applied" });
      }
    }
    expect(service.sent).toEqual([]);
  });
});

describe("src/client/requester: failures", () => {
  test("a problem becomes an error with its facts", async () => {
    const facts = { depth: 1, maxMessages: 1, bytes: 5, maxBytes: 100 };
    const { channel } = open([
      replyProblem({ kind: "channel-full", retryAfterMs: 120, ...facts }),
      replyProblem({ kind: "internal", outcome: "unknown" }),
    ]);

    expect(await errorOf(channel.put("a"))).toMatchObject({
      kind: "channel-full",
      status: 429,
      origin: "server",
      retryable: true,
      retryAfterMs: 120,
      outcome: "not-applied",
      problem: facts,
    });
    expect(await errorOf(channel.put("a"))).toMatchObject({
      kind: "internal",
      status: 500,
      retryable: false,
      outcome: "unknown",
    });
  });

  test("a reply of something in between is told from the service's, and says whether it may pass", async () => {
    const { channel } = open([replyPage(502), replyPage(404), replyPage(429, { "Retry-After": "7" }), cutOff, replyPage(200)]);
    const unexpected = { kind: "unexpected-reply", origin: "network" };

    expect(await errorOf(channel.put("a"))).toMatchObject({ ...unexpected, status: 502, retryable: true, outcome: "unknown" });
    expect(await errorOf(channel.stats())).toMatchObject({
      ...unexpected,
      status: 404,
      retryable: false,
      outcome: "not-applied",
    });
    expect(await errorOf(channel.stats())).toMatchObject({ ...unexpected, status: 429, retryable: true, retryAfterMs: 7000 });
    expect(await errorOf(channel.stats())).toMatchObject({ ...unexpected, status: 503, retryable: true });
    expect(await errorOf(channel.put("a"))).toMatchObject({ ...unexpected, status: 200, retryable: false, outcome: "unknown" });
  });

  test.each([{}, null, [], "ok", 1, { channel: "c" }])(
    "JSON of something else is told from a reply, and nothing was stored, taken or settled by it: %j",
    async (body) => {
      const { channel } = open(Array.from({ length: 5 }, () => replyJson(body as object)));
      const unexpected = { kind: "unexpected-reply", origin: "network", status: 200, retryable: false };
      const settles = channel.transport.settle({ acks: [{ leaseId: "l" }] });

      expect(await errorOf(settles)).toMatchObject({ ...unexpected, outcome: "unknown" });
      expect(await errorOf(channel.put("a"))).toMatchObject({ ...unexpected, outcome: "unknown" });
      expect(await errorOf(channel.get({ ack: "server" }))).toMatchObject({ ...unexpected, outcome: "unknown" });
      expect(await errorOf(channel.getBatch())).toMatchObject({ ...unexpected, outcome: "unknown" });
      expect(await errorOf(channel.stats())).toMatchObject({ ...unexpected, outcome: "not-applied" });
    },
  );

  test("a request that fails on the way may have changed something, a read has not", async () => {
    const { channel } = open([failOnTheWay, failOnTheWay, breakOff]);
    const lost = { kind: "connection-lost", origin: "network", retryable: true };

    const error = await errorOf(channel.put("a"));
    expect(error).toMatchObject({ ...lost, outcome: "unknown" });
    expect(error.cause).toEqual(new TypeError("fetch failed"));
    expect(await errorOf(channel.stats())).toMatchObject({ ...lost, outcome: "not-applied" });
    expect(await errorOf(channel.purge())).toMatchObject({ ...lost, outcome: "unknown" });
  });

  test("an aborted request says whether it may have been carried out", async () => {
    const { service, channel } = open([neverAnswer, neverAnswer]);
    const abort = new AbortController();
    const putting = errorOf(channel.put("a", { signal: abort.signal }));
    const reading = errorOf(channel.browsePage({ signal: abort.signal }));
    abort.abort("enough");

    expect(await putting).toMatchObject({ kind: "aborted", origin: "client", outcome: "unknown", cause: "enough" });
    expect(await reading).toMatchObject({ kind: "aborted", outcome: "not-applied", cause: "enough" });
    expect(await errorOf(channel.put("b", { signal: abort.signal }))).toMatchObject({ kind: "aborted", outcome: "not-applied" });
    expect(service.sent).toHaveLength(2);
  });

  test("disconnecting ends what is unanswered, and every later call", async () => {
    const { channel } = open([neverAnswer]);
    const getting = errorOf(channel.get({ waitMs: 1000 }));
    expect(await isSettled(getting)).toBe(false);
    await channel.disconnect();

    expect(await getting).toMatchObject({ kind: "connection-closed", outcome: "unknown" });
    expect(await errorOf(channel.put("a"))).toMatchObject({ kind: "connection-closed", outcome: "not-applied" });
  });

  test("a checkpoint whose reply tells no version is not taken for one", async () => {
    const { channel } = open([() => new Response("x", { headers: { "Content-Type": "text/plain" } })]);

    expect(await errorOf(channel.checkpoint("at").read())).toMatchObject({ kind: "unexpected-reply" });
  });
});

describe("src/client/channel-calls: pages", () => {
  test("[RG6] readers are asked for page by page, with the filter in each", async () => {
    const pages = [
      { readers: [{ id: "a" }, { id: "b" }], colos: [], next: "b/FRA/reader/member/g" },
      { readers: [{ id: "c" }], colos: [], next: null },
    ];
    const { service, channel } = open(pages.map((page) => replyJson(page)));

    const found: string[] = [];

    for await (const { id } of channel.readers({ colo: "FRA", group: "g", role: "reader", pageSize: 2 })) found.push(id);

    expect(found).toEqual(["a", "b", "c"]);
    expect(service.sent.map(({ url }) => url.slice(BASE.length))).toEqual([
      "/readers?colo=FRA&group=g&role=reader&limit=2",
      "/readers?colo=FRA&group=g&role=reader&after=b%2FFRA%2Freader%2Fmember%2Fg&limit=2",
    ]);
  });

  test("a page is asked for when the one before was used up, an empty one is passed over", async () => {
    const message = { offset: 4, putAtMs: 5, contentType: "text/plain", text: "hi" };
    const { service, channel } = open([
      replyJson({ messages: [], next: 4 }),
      replyJson({ messages: [message], next: 5 }),
      replyJson({ messages: [{ ...message, offset: 5 }], next: null }),
    ]);
    const requests: number[] = [];

    for await (const { offset } of channel.browse({ from: 2, pageSize: 1 })) requests.push(offset, service.sent.length);

    expect(requests).toEqual([4, 2, 5, 3]);
    expect(service.sent.map(({ url }) => url.slice(BASE.length))).toEqual([
      "/messages?from=2&limit=1",
      "/messages?from=4&limit=1",
      "/messages?from=5&limit=1",
    ]);
  });
});
