// Connections that come and go under one transport, over sockets that the test drives by hand.
import { describe, expect, test } from "vitest";
import { type Channel, upgradeWith } from "../../src/client/index.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { errorOf } from "../client-calls.ts";
import {
  FakeWebSocket,
  firstSocket,
  greet,
  isSettled,
  lastSocket,
  openChannel,
  openTimedChannel,
  passFirstPause,
  settleDown,
  STATE,
} from "./client-doubles.ts";
import { failOnTheWay, FakeService, neverAnswer, replyJson, replyPage, replyProblem } from "./fake-service.ts";

function textsOf(socket: FakeWebSocket): unknown[] {
  return socket.sent.filter((frame) => frame["type"] === "put").map((frame) => frame["text"]);
}

describe("src/client/socket-transport", () => {
  test("the first call opens the connection; those made meanwhile are sent in their order, before later ones", async () => {
    const { channel } = openChannel();
    expect(FakeWebSocket.last).toBeUndefined();
    const abort = new AbortController();
    const puts = [channel.put("a"), channel.put("b", { signal: abort.signal }), channel.put("c")];
    const socket = lastSocket();
    const later = new Promise<void>((resolve) => {
      setImmediate(() => {
        puts.push(channel.put("d"));
        resolve();
      });
    });
    await greet(socket);
    await later;

    expect([socket.url, textsOf(socket)]).toEqual(["ws://service.test/v1/channels/c/socket", ["a", "b", "c", "d"]]);
    for (const id of [1, 2, 3, 4]) socket.store(id, id);
    expect((await Promise.all(puts)).map(({ offset }) => offset)).toEqual([1, 2, 3, 4]);
  });

  test("a lost connection rejects what is unanswered; the next call opens another one", async () => {
    const { channel } = openChannel();
    const lost = errorOf(channel.put("a"));
    const first = lastSocket();
    await greet(first);
    first.end(1006);
    const next = channel.stats();
    const second = lastSocket();
    await greet(second);
    second.receive({ type: "stats", id: 1, stats: { depth: 3 } });

    expect(await lost).toMatchObject({ kind: "connection-lost", outcome: "unknown" });
    expect(second).not.toBe(first);
    expect([textsOf(second), await next]).toEqual([[], { depth: 3 }]);
  });

  test("[G9] a put with a key is sent again over the next connection", async () => {
    const { channel, timers } = openTimedChannel();
    const putting = channel.put("a", { idempotencyKey: "k" });
    const first = lastSocket();
    await greet(first);
    first.end(1006);
    await settleDown();
    await passFirstPause(timers);
    const second = lastSocket();
    await greet(second);
    second.receive({ type: "put-ok", id: 1, offset: 7, count: 1, duplicate: true, state: STATE });

    expect(await putting).toMatchObject({ offset: 7, isDuplicate: true });
    expect([textsOf(first), textsOf(second)]).toEqual([["a"], ["a"]]);
  });

  test("a connection that cannot be made rejects all who wait for it, and the next call tries again", async () => {
    const { channel } = openChannel({ retries: 0 });
    const failing = [errorOf(channel.put("a")), errorOf(channel.stats())];
    lastSocket().end(1006);

    for (const error of await Promise.all(failing)) {
      expect(error).toMatchObject({ kind: "connection-failed", retryable: true, outcome: "not-applied" });
    }
    const putting = channel.put("b");
    await greet(lastSocket());
    lastSocket().store(1, 1);
    expect((await putting).offset).toBe(1);
  });

  test("a call that is aborted while the connection opens is not sent, and the others are", async () => {
    const { channel } = openChannel();
    const abort = new AbortController();
    const aborted = errorOf(channel.put("a", { signal: abort.signal }));
    const putting = channel.put("b");
    abort.abort("enough");

    expect(await aborted).toMatchObject({ kind: "aborted", outcome: "not-applied", cause: "enough" });
    await greet(lastSocket());
    lastSocket().receive({ type: "put-ok", id: lastSocket().sent.at(-1)?.["id"], offset: 1, count: 1, state: STATE });
    expect(await putting).toMatchObject({ offset: 1 });
    expect(textsOf(lastSocket())).toEqual(["b"]);
  });

  test("a call that is aborted already opens nothing", async () => {
    const { channel } = openChannel();

    expect(await errorOf(channel.put("a", { signal: AbortSignal.abort() }))).toMatchObject({ kind: "aborted" });
    expect(FakeWebSocket.last).toBeUndefined();
  });

  test("closing ends the connection, what is unanswered over it, and every later call", async () => {
    const { client, channel } = openChannel();
    const putting = errorOf(channel.put("a"));
    const socket = lastSocket();
    await greet(socket);
    const closing = client.close();

    expect(await putting).toMatchObject({ kind: "connection-closed", outcome: "unknown" });
    expect([socket.readyState, await isSettled(closing)]).toEqual([2, false]);
    socket.end(1000);
    await closing;
    expect(await errorOf(channel.stats())).toMatchObject({ kind: "connection-closed", outcome: "not-applied" });
    expect(lastSocket()).toBe(socket);
  });

  test("closing gives up a connection that is only being opened", async () => {
    const { client, channel, timers } = openTimedChannel();
    const putting = errorOf(channel.put("a"));
    await client.close();

    expect(await putting).toMatchObject({ kind: "connection-closed", outcome: "not-applied" });
    expect([lastSocket().readyState, timers.count]).toEqual([2, 0]);
  });

  test("a connection that takes too long to open is given up", async () => {
    const { channel, timers } = openTimedChannel({ connectMsMax: 700, retries: 0 });
    const putting = errorOf(channel.put("a"));
    lastSocket().open();
    expect(timers.delaysMs).toEqual([700]);
    timers.fire();

    expect(await putting).toMatchObject({ kind: "connection-failed", retryable: true, outcome: "not-applied" });
    expect(lastSocket().readyState).toBe(2);
  });

  test("an upgrade that is given up is closed when it comes after all", async () => {
    const late = new FakeWebSocket("ws://service.test", []);
    const upgrade = Promise.withResolvers<FakeWebSocket>();
    const { client, channel } = openChannel({ openSocket: () => upgrade.promise });
    const putting = errorOf(channel.put("a"));
    await client.close();
    expect(await putting).toMatchObject({ kind: "connection-closed", outcome: "not-applied" });
    upgrade.resolve(late);
    await settleDown();

    expect([late.readyState, late.sent]).toEqual([2, []]);
  });

  test("a name whose connection was ended gets another one", async () => {
    const { client, channel } = openChannel();
    await channel.disconnect();
    const again = client.channel("c");

    expect(client.channel("c")).toBe(again);
    expect(again).not.toBe(channel);
    void errorOf(again.stats());
    expect(lastSocket().readyState).toBe(0);
  });

  test("a put whose wait was aborted rejects as aborted, not as refused", async () => {
    const { channel } = openChannel();
    const abort = new AbortController();
    const putting = errorOf(channel.put("a", { waitMs: 1000, signal: abort.signal }));
    const socket = lastSocket();
    await greet(socket);
    socket.receive({ type: "wait", id: 1 });
    abort.abort("enough");
    socket.receive({
      type: "problem",
      inReplyTo: 1,
      problem: { kind: "channel-full", retry: "after", status: 429, detail: "Full" },
    });

    expect(await putting).toMatchObject({ kind: "aborted", outcome: "not-applied", cause: "enough" });
  });
});

describe("src/client/open-socket", () => {
  test("a token goes in a header of the upgrade where the platform lets it", async () => {
    const { channel } = openChannel({ token: "s3cret" });
    void errorOf(channel.put("a"));

    expect(lastSocket().protocols).toEqual({
      protocols: ["channel.v1.bin", "channel.v1.json"],
      headers: { Authorization: "Bearer s3cret" },
    });
  });

  test("a platform that takes no headers is told so, and not asked again", async () => {
    class BrowserSocket extends FakeWebSocket {
      constructor(url: string, protocols: readonly string[]) {
        if (!Array.isArray(protocols)) throw new SyntaxError("The subprotocol is invalid");
        super(url, protocols);
      }
    }
    const { channel, timers } = openTimedChannel({ WebSocket: BrowserSocket, token: "s3cret" });

    const error = await errorOf(channel.stats());
    expect(error).toMatchObject({ kind: "connection-failed", origin: "client", retryable: false, outcome: "not-applied" });
    expect(error.message).toContain("takes no token");
    expect([timers.delaysMs.length, timers.count]).toEqual([1, 0]);
  });

  test("a platform that refuses the address is quoted", async () => {
    class StrictSocket extends FakeWebSocket {
      constructor(url: string, protocols: readonly string[]) {
        super(url, protocols);
        throw new DOMException("An insecure connection may not be made from a page loaded over HTTPS", "SecurityError");
      }
    }
    const { channel } = openChannel({ WebSocket: StrictSocket });

    const error = await errorOf(channel.stats());
    expect(error).toMatchObject({ kind: "connection-failed", origin: "client", retryable: false, outcome: "not-applied" });
    expect(error.cause).toMatchObject({ name: "SecurityError" });
  });

  test("an upgrade through fetch carries the token, and a refusal of it says why", async () => {
    const service = new FakeService(replyProblem({ kind: "unauthorized" }), replyPage(502));
    const { channel } = openChannel({ openSocket: upgradeWith(service.fetch), token: "s3cret", retries: 0 });

    expect(await errorOf(channel.put("a"))).toMatchObject({ kind: "unauthorized", status: 401, outcome: "not-applied" });
    expect(await errorOf(channel.put("a"))).toMatchObject({ kind: "unexpected-reply", status: 502, outcome: "not-applied" });
    expect(service.sent[0]).toMatchObject({
      url: "http://service.test/v1/channels/c/socket",
      headers: {
        Upgrade: "websocket",
        "Sec-WebSocket-Protocol": "channel.v1.bin, channel.v1.json",
        Authorization: "Bearer s3cret",
      },
    });
  });

  test("an upgrade that fails on the way may be tried again", async () => {
    const { channel } = openChannel({ openSocket: () => Promise.reject(new TypeError("fetch failed")), retries: 0 });

    expect(await errorOf(channel.stats())).toMatchObject({ kind: "connection-failed", retryable: true, outcome: "not-applied" });
  });

  const FOR_GOOD: readonly Refusal[] = [
    { kind: "unauthorized" },
    { kind: "forbidden", reason: "no" },
    { kind: "invalid-request", errors: [{ pointer: "/path/channel", detail: "A channel name has letters" }] },
    { kind: "unknown-route", path: "/v1" },
    { kind: "not-configured", setting: "API_TOKEN", remedy: "Set it" },
  ];

  test.each(FOR_GOOD.map((refusal) => [refusal.kind, refusal] as const))(
    "a socket that does not open since the service refuses it for good says so: %s",
    async (kind, refusal) => {
      const service = new FakeService(replyProblem(refusal));
      const { channel, timers } = openTimedChannel({ fetch: service.fetch, token: "s3cret" });
      const putting = errorOf(channel.put("a", { idempotencyKey: "k" }));
      lastSocket().end(1006);

      expect(await putting).toMatchObject({ kind, origin: "server", retryable: false, outcome: "not-applied" });
      expect(timers.count).toBe(0);
      expect(service.sent).toMatchObject([
        {
          method: "GET",
          url: "http://service.test/v1/channels/c/socket",
          headers: { Authorization: "Bearer s3cret" },
          redirect: "manual",
        },
      ]);
    },
  );

  test.each([
    ["the service would let it in", replyProblem({ kind: "upgrade-required", protocols: ["channel.v1.json"] })],
    ["the service is busy", replyProblem({ kind: "too-many-connections", limit: 1, retryAfterMs: 1000 })],
    ["something else refuses", replyPage(404)],
    ["something else answers", replyJson({ kind: "unauthorized", retry: "never" })],
    ["nobody answers", failOnTheWay],
  ])("a socket that does not open is tried again where %s over HTTP", async (_, answer) => {
    const service = new FakeService(answer);
    const { channel, timers } = openTimedChannel({ fetch: service.fetch });
    const asking = channel.stats();
    lastSocket().end(1006);
    await settleDown();
    await passFirstPause(timers);
    await greet(lastSocket());
    lastSocket().receive({ type: "stats", id: 1, stats: { depth: 3 } });

    expect(await asking).toEqual({ depth: 3 });
    expect(service.sent).toHaveLength(1);
  });

  test("what goes on without an end ends where the service refuses the socket for good", async () => {
    for (const run of [
      (channel: Channel) => channel.consume(() => undefined).done,
      (channel: Channel) => channel.producer().put("x"),
      (channel: Channel) => channel.subscribe().next(),
    ]) {
      const service = new FakeService(replyProblem({ kind: "unauthorized" }));
      const { channel } = openTimedChannel({ fetch: service.fetch });
      const running = errorOf(run(channel));
      (await firstSocket()).end(1006);

      expect(await running).toMatchObject({ kind: "unauthorized", retryable: false });
    }
  });

  test("an answer over HTTP that does not come is not waited for longer than for the socket, nor after closing", async () => {
    const { channel, timers } = openTimedChannel({ connectMsMax: 700, retries: 0, fetch: new FakeService(neverAnswer).fetch });
    const late = errorOf(channel.put("a"));
    lastSocket().end(1006);
    await settleDown();
    timers.fire(700);
    expect(await late).toMatchObject({ kind: "connection-failed", retryable: true, outcome: "not-applied" });

    const other = openTimedChannel({ fetch: new FakeService(neverAnswer).fetch });
    const closed = errorOf(other.channel.put("a"));
    lastSocket().end(1006);
    await settleDown();
    await other.client.close();
    expect(await closed).toMatchObject({ kind: "connection-closed", outcome: "not-applied" });
  });
});
