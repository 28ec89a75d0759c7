// Messages over HTTP that are there: they are pulled, looked at and removed.
// Words in brackets that are not rules of src/channel/SPEC.md name a section of src/protocol/PROTOCOL.md.
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { REPLY_SCHEMAS } from "../../src/protocol/routes.ts";
import { MIB, pointersOf, pullReply, putBytes, stateHeadersOf } from "./http.ts";
import {
  call,
  createChannel,
  describeChannel,
  NO_COUNTS,
  patchChannel,
  pathOf,
  pull,
  type PulledJson,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  textsOf,
} from "./service.ts";

interface PageJson extends PulledJson {
  readonly next: number | null;
}

function browse(channel: string, query = ""): Promise<PageJson> {
  return read<PageJson>(call("GET", pathOf(channel, `/messages${query}`)));
}

describe("src/worker/message-routes: pull", () => {
  test("[GT1] a pull takes 1 message by default, in the order of offsets, and answers the state", async () => {
    const channel = await createChannel({ maxMessages: 4 });
    await putBatch(channel, ["a", "b", "c"]);

    const reply = await pullReply(channel, {});
    const body = await reply.clone().json<PulledJson>();

    v.parse(REPLY_SCHEMAS.pulled, body);
    expect(body.messages).toMatchObject([{ offset: 1, text: "a", contentType: "text/plain; charset=utf-8" }]);
    expect(body.state).toEqual({ depth: 2, bytes: 2, utilization: 0.5, waiters: 0 });
    expect(stateHeadersOf(reply)).toEqual(body.state);
    expect(await pullTexts(channel, { max: 10 })).toEqual(["b", "c"]);
    expect(await pull(channel)).toMatchObject({ messages: [], state: { depth: 0 } });
  });

  test("[GT1] min and max bound what is taken", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b", "c", "d", "e"]);

    expect(await pullTexts(channel, { min: 6, max: 10 })).toEqual([]);
    expect(await pullTexts(channel, { max: 0 })).toEqual([]);
    expect(await pullTexts(channel, { min: 2 })).toEqual(["a", "b"]);
    expect(await pullTexts(channel, { min: 1, max: 2 })).toEqual(["c", "d"]);
    expect(await pullTexts(channel, { min: 0, max: 2 })).toEqual(["e"]);
    expect(await pullTexts(channel, { min: 0, max: 2 })).toEqual([]);
  });

  test("[G11] a pull with a wrong member is refused with a pointer", async () => {
    const channel = await createChannel();
    const cases: [object, string][] = [
      [{ ack: "manual" }, "/ack"],
      [{ leaseMs: 5_000 }, "/leaseMs"],
      [{ ack: undefined, leaseMs: 999 }, "/leaseMs"],
      [{ ack: undefined, leaseMs: 12 * 3_600_000 + 1 }, "/leaseMs"],
      [{ ack: undefined, leaseMs: "5000" }, "/leaseMs"],
      [{ max: -1 }, "/max"],
      [{ max: LIMITS.batchMessagesMax + 1 }, "/max"],
      [{ min: 1.5 }, "/min"],
      [{ min: 3, max: 2 }, "/min"],
      [{ waitMs: -1 }, "/waitMs"],
      [{ waitMs: "5" }, "/waitMs"],
      [{ wait: 5 }, "/wait"],
    ];
    for (const [take, pointer] of cases) {
      expect([JSON.stringify(take), await pointersOf(pullReply(channel, take))]).toEqual([JSON.stringify(take), [pointer]]);
    }
  });

  test("[GT3] a min above what fits a reply or the channel is refused and takes nothing", async () => {
    const channel = await createChannel({ maxMessages: 20, maxMessageBytes: 3 * MIB });
    const text = "x".repeat(2.1 * MIB);
    await putBatch(channel, [text, text, text, text]);

    const aboveChannel = await readProblem(pullReply(channel, { min: 21 }));
    const aboveReply = await readProblem(pullReply(channel, { min: 4 }));

    expect(aboveChannel).toMatchObject({ kind: "batch-too-large", size: 21, limit: 20, unit: "messages" });
    expect(aboveReply).toMatchObject({ kind: "batch-too-large", size: 4, limit: 3, unit: "messages" });
    expect((await describeChannel(channel)).depth).toBe(4);
    expect((await pull(channel, { max: 4 })).messages).toHaveLength(3);
  });

  test("[GT5] control records are reported beside the messages", async () => {
    const channel = await createChannel({ maxMessages: 5 });
    await put(channel, "a");
    await patchChannel(channel, { maxMessages: 6 });

    const { messages, controls } = await pull(channel);

    expect(messages).toMatchObject([{ offset: 1 }]);
    expect(controls).toMatchObject([{ offset: 2, control: { type: "resize", maxMessages: 6 } }]);
  });
});

describe("src/worker/message-routes: look and remove", () => {
  test("[RM1] browsing shows pages and changes nothing", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b", "c", "d", "e"]);

    const first = await browse(channel, "?limit=2");
    const second = await browse(channel, `?limit=2&from=${first.next}`);
    const third = await browse(channel, `?limit=2&from=${second.next}`);

    v.parse(REPLY_SCHEMAS.page, first);
    expect([first, second, third].map((page) => textsOf(page.messages))).toEqual([["a", "b"], ["c", "d"], ["e"]]);
    expect(third.next).toBeNull();
    expect(await browse(channel, "?from=99")).toMatchObject({ messages: [], next: null });
    expect(await describeChannel(channel)).toMatchObject({ depth: 5, firstOffset: 1 });
  });

  test("[RM1] a page has 100 messages unless it is told", async () => {
    const channel = await createChannel();
    const texts = Array.from({ length: 101 }, (_, index) => String(index));
    await putBatch(channel, texts);

    const page = await browse(channel);

    expect(textsOf(page.messages)).toEqual(texts.slice(0, LIMITS.browseMessagesDefault));
    expect(page.next).toBe(101);
  });

  test("[RM1] one message is read as it was sent, and no browser runs it", async () => {
    const channel = await createChannel();
    await putBytes(channel, "<script>", { "Content-Type": "text/html" });

    const reply = await call("GET", pathOf(channel, "/messages/1"));

    expect([reply.status, await reply.text()]).toEqual([200, "<script>"]);
    expect(reply.headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(reply.headers.get("Content-Security-Policy")).toContain("sandbox");
    expect(stateHeadersOf(reply)).toMatchObject({ depth: 1 });
    const missing = await readProblem(call("GET", pathOf(channel, "/messages/2")));
    expect(missing).toMatchObject({ kind: "unknown-message", status: 404, offset: 2 });
  });

  test("[RM2] a message is removed by its offset, once", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b", "c"]);

    const reply = await call("DELETE", pathOf(channel, "/messages/2"));

    expect(await reply.clone().json()).toEqual({ offset: 2 });
    expect(stateHeadersOf(reply)).toMatchObject({ depth: 2 });
    for (const method of ["DELETE", "GET"]) {
      const problem = await readProblem(call(method, pathOf(channel, "/messages/2")));
      expect(problem).toMatchObject({ kind: "unknown-message", offset: 2 });
    }
    expect(await pullTexts(channel, { max: 3 })).toEqual(["a", "c"]);
    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 3, acked: 2, removed: 1 });
  });

  test("[RM2] a message is removed by its id, the first that is kept with it", async () => {
    const channel = await createChannel();
    const messageId = "orders/1 %?ü";
    const address = pathOf(channel, `/messages/by-id/${encodeURIComponent(messageId)}`);
    for (const body of ["a", "b", "c"]) await putBytes(channel, body, { "Channel-Message-Id": encodeURIComponent(messageId) });
    await pull(channel);

    expect(await read(call("DELETE", address))).toEqual({ offset: 2 });
    expect(await read(call("DELETE", address))).toEqual({ offset: 3 });
    expect(await readProblem(call("DELETE", address))).toMatchObject({ kind: "unknown-message", status: 404, messageId });
    const long = "x".repeat(LIMITS.messageIdBytesMax + 1);
    expect(await pointersOf(call("DELETE", pathOf(channel, `/messages/by-id/${long}`)))).toEqual(["/path/messageId"]);
  });

  test("[RM2] an escape in an address that is none removes nothing, not even the message with that id", async () => {
    const channel = await createChannel();
    for (const [id, segment] of [
      ["%ff", "%ff"],
      ["a%", "a%"],
      ["%zz%41", "%zz%41"],
    ] as const) {
      await putBytes(channel, "a", { "Channel-Message-Id": encodeURIComponent(id) });

      expect(await pointersOf(call("DELETE", pathOf(channel, `/messages/by-id/${segment}`)))).toEqual(["/path/messageId"]);
      const address = pathOf(channel, `/messages/by-id/${encodeURIComponent(id)}`);
      expect((await call("DELETE", address)).status).toBe(200);
    }
  });

  test("[RM2] an id that no address can name is refused at the put", async () => {
    const channel = await createChannel();
    for (const messageId of [".", ".."]) {
      const batch = call("POST", pathOf(channel, "/messages/batch"), { json: { messages: [{ text: "a", messageId }] } });

      expect(await pointersOf(putBytes(channel, "a", { "Channel-Message-Id": messageId }))).toEqual([
        "/header/Channel-Message-Id",
      ]);
      expect(await pointersOf(batch)).toEqual(["/messages/0/messageId"]);
    }
    expect((await describeChannel(channel)).depth).toBe(0);
  });

  test("[RM3] a purge removes all, and offsets go on", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b", "c"]);
    await pull(channel);

    const reply = await call("DELETE", pathOf(channel, "/messages"));

    expect(await reply.clone().json()).toEqual({ removedMessages: 2 });
    expect(stateHeadersOf(reply)).toMatchObject({ depth: 0, bytes: 0 });
    expect(await read(call("DELETE", pathOf(channel, "/messages")))).toEqual({ removedMessages: 0 });
    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 3, acked: 1, removed: 2 });
    expect((await put(channel, "d")).offset).toBe(4);
  });
});
