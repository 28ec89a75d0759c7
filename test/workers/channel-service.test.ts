// The entrypoint for service bindings: all routes without a token, and the three methods of a queue's producer.
import { exports } from "cloudflare:workers";
import { describe, expect, onTestFinished, test } from "vitest";
import { EdgeChannel } from "../../src/client/edge-channel.ts";
import { upgradeWith } from "../../src/client/open-socket.ts";
import type { Fetch } from "../../src/client/http-reply.ts";
import type { MessageHistory } from "../../src/protocol/history.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { call, createChannel, freshChannel, type MessageJson, pathOf, pull, read, readProblem } from "./service.ts";

/** No address of this computer: to the worker's own handler it would be a request that needs the token. */
const URL_OF_BINDING = "https://channels";

/** What a binding with these `props` reaches. */
function bind(props: object = {}): Queue & Fetcher {
  return exports.ChannelService({ props });
}

async function bindNew(settings: object = {}): Promise<{ channel: string; queue: Queue }> {
  const channel = await createChannel(settings);
  return { channel, queue: bind({ channel }) };
}

async function refusalOf(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) throw new Error(`Expected an error but got ${String(error)}`);
  return { ...Object.fromEntries(Object.entries(error)), message: error.message };
}

/** The first fault of a call that is not valid. */
async function faultOf(promise: Promise<unknown>): Promise<unknown> {
  const { kind, errors } = await refusalOf(promise);
  expect(kind).toBe("invalid-request");
  return (errors as unknown[])[0];
}

async function takeAll(channel: string): Promise<readonly MessageJson[]> {
  return (await pull(channel, { max: 100 })).messages;
}

describe("src/worker/channel-service", () => {
  test("[protocol:service-bindings] all routes are served, and no token is asked for", async () => {
    const path = pathOf(freshChannel());

    const created = await bind().fetch(URL_OF_BINDING + path, { method: "PUT" });
    expect(created.status).toBe(201);
    await created.body?.cancel();

    const atTheDoor = await exports.default.fetch(URL_OF_BINDING + path);
    expect(await readProblem(atTheDoor)).toMatchObject({ kind: "not-configured", setting: "API_TOKEN" });
  });

  test.each(["http", "socket"] as const)("[protocol:service-bindings] the client speaks %s to it", async (transport) => {
    const binding = bind();
    const fetch: Fetch = (url, init) => binding.fetch(url, init);
    const client = EdgeChannel.connect(URL_OF_BINDING, { transport, fetch, openSocket: upgradeWith(fetch) });
    onTestFinished(() => client.close());
    const channel = client.channel(await createChannel());

    await channel.put({ json: { job: 7 } });
    const { messages } = await channel.transport.pull({ max: 10, waitMs: 5_000 });
    const { acked } = await channel.transport.settle({ acks: messages });

    expect(messages.map(({ body }) => body)).toEqual([{ json: { job: 7 } }]);
    expect(acked).toBe(1);
  });

  test("[protocol:queue-producer] a body is JSON unless it is said to be text or bytes", async () => {
    const { channel, queue } = await bindNew();

    await queue.send({ job: [7, null] });
    await queue.send("as it is", { contentType: "text" });
    await queue.send(new Uint8Array([9, 0, 1, 2]).subarray(1), { contentType: "bytes" });
    await queue.send(new Uint8Array([3]).buffer, { contentType: "bytes" });

    expect(await takeAll(channel)).toMatchObject([
      { contentType: "application/json", json: { job: [7, null] } },
      { contentType: "text/plain; charset=utf-8", text: "as it is" },
      { contentType: "application/octet-stream", base64: "AAEC" },
      { contentType: "application/octet-stream", base64: "Aw==" },
    ]);
  });

  test("[protocol:queue-producer] a batch of an array or a set is stored whole, or not at all", async () => {
    const { channel, queue } = await bindNew({ maxMessages: 3 });

    await queue.sendBatch([{ body: 1 }, { body: "two", contentType: "text" }]);
    const refusal = await refusalOf(queue.sendBatch(new Set([{ body: 3 }, { body: 4 }])));
    await queue.sendBatch(new Set([{ body: 5 }]));

    expect(refusal).toMatchObject({ kind: "channel-full", depth: 2, maxMessages: 3, retry: "after" });
    expect(refusal["message"]).toContain("channel-full: The channel holds 2 of 3 messages");
    expect(await takeAll(channel)).toMatchObject([{ json: 1 }, { text: "two" }, { json: 5 }]);
  });

  test("[protocol:queue-producer] a delay in seconds is the message's own, or else that of its batch", async () => {
    const { channel, queue } = await bindNew();

    await queue.send("alone", { delaySeconds: 60 });
    await queue.sendBatch([{ body: "own", delaySeconds: 120 }, { body: "of all" }, { body: "now", delaySeconds: 0 }], {
      delaySeconds: 90,
    });

    const { scheduled } = await read<{ scheduled: (MessageJson & { deliverAtMs: number })[] }>(
      call("GET", pathOf(channel, "/scheduled")),
    );
    const delays = scheduled.map(({ json, deliverAtMs, putAtMs }) => [json, deliverAtMs - putAtMs]);
    expect(delays).toEqual([
      ["alone", 60_000],
      ["of all", 90_000],
      ["own", 120_000],
    ]);
    expect(await takeAll(channel)).toMatchObject([{ json: "now" }]);
  });

  test("[protocol:queue-producer] what waits is told with each put, and with the age of the oldest when it is asked for", async () => {
    const { channel, queue } = await bindNew();

    const empty = await queue.metrics();
    const first = await queue.send("12345", { contentType: "text" });
    const second = await queue.sendBatch([{ body: "678", contentType: "text" }]);
    const [oldest] = (await read<{ messages: MessageJson[] }>(call("GET", pathOf(channel, "/messages")))).messages;

    expect(empty).toEqual({ backlogCount: 0, backlogBytes: 0 });
    expect(first).toEqual({ metadata: { metrics: { backlogCount: 1, backlogBytes: 5 } } });
    expect(second).toEqual({ metadata: { metrics: { backlogCount: 2, backlogBytes: 8 } } });
    const oldestMessageTimestamp = new Date(oldest?.putAtMs ?? 0);
    expect(await queue.metrics()).toEqual({ backlogCount: 2, backlogBytes: 8, oldestMessageTimestamp });
  });

  test("[HS1] the history says that a message came by RPC", async () => {
    const { channel, queue } = await bindNew();
    await queue.send(1);
    const { put } = await read<MessageHistory>(call("GET", pathOf(channel, "/messages/1/history")));
    expect(put).toEqual({ atMs: expect.any(Number), via: "rpc" });
  });

  test("[protocol:queue-producer] without a channel in the binding's props it is refused, and says where to name one", async () => {
    for (const attempt of [bind().send(1), bind().sendBatch([{ body: 1 }]), bind().metrics()]) {
      const refusal = await refusalOf(attempt);
      expect(refusal).toMatchObject({ kind: "not-configured", setting: "props.channel" });
      expect(refusal["message"]).toContain('props = { channel = "orders" }');
    }
    expect(await faultOf(bind({ channel: "no name" }).send(1))).toMatchObject({ pointer: "/props/channel" });
  });

  test("[protocol:queue-producer] what is not valid is refused with a pointer, and nothing is stored", async () => {
    const { channel, queue } = await bindNew();
    const send = (body: unknown, options: object = {}): Promise<unknown> => queue.send(body, options);
    const sendBatch = (messages: unknown, options: object = {}): Promise<unknown> =>
      queue.sendBatch(messages as MessageSendRequest[], options);
    let deep: unknown = 1;
    for (let level = 0; level <= LIMITS.jsonLevelsMax; level++) deep = [deep];
    const circle: unknown[] = [];
    circle.push(circle);

    const faults = await Promise.all(
      [
        send(1, { contentType: "v8" }),
        send(1, { contentType: "xml" }),
        send(1, { delaySeconds: -1 }),
        send(1, { delaySeconds: 0.5 }),
        send(1, { delaySeconds: LIMITS.delayMsMax / 1000 + 1 }),
        send(1, { retries: 1 }),
        send(undefined),
        send(1n),
        send(circle),
        send(deep),
        send(1, { contentType: "text" }),
        send("\ud800", { contentType: "text" }),
        send("text", { contentType: "bytes" }),
        sendBatch([]),
        sendBatch("text"),
        sendBatch([{ body: 1 }, { body: 2, delaySeconds: "3" }]),
        sendBatch([{ body: 1 }], { delaySeconds: -1 }),
        sendBatch([{ body: 1 }, 2]),
      ].map(faultOf),
    );

    expect(faults.map((fault) => (fault as { pointer: string }).pointer)).toEqual(
      [
        ["/contentType", "/contentType", "/delaySeconds", "/delaySeconds", "/delaySeconds", "/retries"],
        Array.from({ length: 7 }, () => "/body"),
        ["/messages", "/messages", "/messages/1/delaySeconds", "/options/delaySeconds", "/messages/1"],
      ].flat(),
    );
    expect(faults[0]).toMatchObject({ detail: expect.stringContaining('"v8" is a form that no reader outside of Workers') });
    expect(await takeAll(channel)).toEqual([]);
  });

  test("[protocol:queue-producer] more messages than a batch may have are refused, however many there are", async () => {
    const { queue } = await bindNew();
    const messages = Array.from({ length: LIMITS.batchMessagesMax + 2 }, () => ({ body: 1 }));
    expect(await refusalOf(queue.sendBatch(messages))).toMatchObject({
      kind: "batch-too-large",
      size: LIMITS.batchMessagesMax + 1,
      limit: LIMITS.batchMessagesMax,
      unit: "messages",
    });
  });
});
