// The HTTP surface in the Workers runtime: every route with its replies and refusals. Words in brackets that are not rules of
// src/channel/SPEC.md name a section of src/protocol/PROTOCOL.md.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import type { ChannelObject } from "../../src/object/channel-object.ts";
import type { ChannelDescription, ChannelEntry } from "../../src/protocol/description.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { findMethods, REPLY_SCHEMAS, ROUTES } from "../../src/protocol/routes.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/settings.ts";
import {
  call,
  type CallOptions,
  createChannel,
  describeChannel,
  freshChannel,
  patchChannel,
  pathOf,
  pull,
  type PulledJson,
  pullTexts,
  put,
  putBatch,
  type PutJson,
  read,
  readProblem,
  stubOf,
  textsOf,
  upgrade,
} from "./service.ts";

const MIB = 1024 * 1024;
const METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"];

interface PageJson extends PulledJson {
  readonly next: number | null;
}

interface ListJson {
  readonly channels: readonly ChannelEntry[];
  readonly next: string | null;
}

/** A request: method, what follows the channel's address, and more. */
type Sample = readonly [method: string, rest: string, options?: CallOptions];

/** Bytes that no encoding leaves as they are, in a pattern that shows where they were cut. */
function makeBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(bytes.buffer, 0, Math.floor(length / 4));
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index, 0x9e3779b1);
  return bytes;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);
}

function putBytes(channel: string, body: BodyInit, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  return call("POST", pathOf(channel, "/messages"), {
    body,
    headers: { "Content-Type": "application/octet-stream", ...headers },
  });
}

function pullReply(channel: string, take: object): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/pull"), { json: { ack: "auto", ...take } });
}

function pullText(channel: string, query: string, contentType: string, body: string): Promise<Response> {
  return call("POST", pathOf(channel, `/messages/pull${query}`), { body, headers: { "Content-Type": contentType } });
}

function stateHeadersOf({ headers }: Response): object {
  const numberOf = (name: string): number => Number(headers.get(name) ?? "NaN");
  return {
    depth: numberOf("Channel-Depth"),
    bytes: numberOf("Channel-Bytes"),
    utilization: numberOf("Channel-Utilization"),
    waiters: numberOf("Channel-Waiters"),
  };
}

async function pointersOf(reply: Response | Promise<Response>): Promise<string[]> {
  const problem = await readProblem(reply);
  expect(problem.kind).toBe("invalid-request");
  return (problem["errors"] as { pointer: string }[]).map((fault) => fault.pointer);
}

function list(query: string): Promise<ListJson> {
  return read<ListJson>(call("GET", `/v1/channels?${query}`));
}

function browse(channel: string, query = ""): Promise<PageJson> {
  return read<PageJson>(call("GET", pathOf(channel, `/messages${query}`)));
}

/** Runs the alarm, which tells the directory; it may have run by itself already, and may run twice. */
function runAlarm(channel: string): Promise<void> {
  return runInDurableObject<ChannelObject, void>(stubOf(channel), (object) => object.alarm());
}

describe("src/worker/index", () => {
  test("[protocol:http] /healthz answers", async () => {
    expect(await read(call("GET", "/healthz"))).toEqual({ status: "ok" });
  });

  test("[G11] an address that is not served is refused with its path", async () => {
    for (const path of ["/", "/v1", "/v2/channels", "/v1/channels/", "/v1/channels/a/", "/v1/channels/a/other", "/V1/channels"]) {
      const problem = await readProblem(call("GET", path));

      expect(problem).toMatchObject({ kind: "unknown-route", status: 404, path, retry: "never" });
    }
  });

  test("[G11] a method that an address does not take is refused with those that it takes", async () => {
    const paths = new Set(ROUTES.map((route) => route.path.replaceAll(/\{\w+\}/g, "1")));
    for (const path of paths) {
      const allow = findMethods(path);
      for (const method of METHODS.filter((name) => !allow.includes(name))) {
        const reply = await call(method, path);

        expect([`${method} ${path}`, reply.headers.get("Allow")]).toEqual([`${method} ${path}`, allow.join(", ")]);
        expect(await readProblem(reply)).toMatchObject({ kind: "method-not-allowed", status: 405, allow });
      }
    }
  });

  test("[G11] an address that takes GET takes HEAD, and says so", async () => {
    const channel = await createChannel();
    const reply = await call("HEAD", pathOf(channel));

    expect([reply.status, await reply.text()]).toEqual([200, ""]);
    expect((await call("POST", pathOf(channel))).headers.get("Allow")).toBe("PUT, GET, HEAD, PATCH, DELETE");
    expect((await call("HEAD", pathOf(channel, "/messages/batch"))).status).toBe(405);
  });

  test("[G11] a route's own name is no offset", async () => {
    const channel = await createChannel();
    for (const name of ["pull", "settle", "batch"]) {
      for (const method of ["GET", "DELETE"]) {
        const problem = await readProblem(call(method, pathOf(channel, `/messages/${name}`)));

        expect([method, name, problem]).toMatchObject([method, name, { kind: "method-not-allowed", allow: ["POST"] }]);
      }
    }
    expect(await pointersOf(call("GET", pathOf(channel, "/messages/pulls")))).toEqual(["/path/offset"]);
  });

  test("[G11] an unknown member or parameter is called so, and a number that is too large is told the largest", async () => {
    const channel = await createChannel();
    const details = async (rest: string, json: object): Promise<unknown> => {
      const problem = await readProblem(call("POST", pathOf(channel, rest), { json }));
      return problem["errors"];
    };

    expect(await details("/messages/pull", { maxx: 1 })).toEqual([{ pointer: "/maxx", detail: "Unknown member" }]);
    expect(await details("/messages/batch?waitms=1", {})).toEqual([{ pointer: "/query/waitms", detail: "Unknown parameter" }]);
    for (const digits of ["9".repeat(16), "9".repeat(400)]) {
      expect(await details(`/messages/batch?waitMs=${digits}`, {})).toEqual([
        { pointer: "/query/waitMs", detail: `Expected at most ${Number.MAX_SAFE_INTEGER}` },
      ]);
    }
  });

  test("[protocol:refusals] name, query, content type and body are checked in this order", async () => {
    const channel = freshChannel();

    expect(await pointersOf(pullText("-bad", "?bad=1", "text/plain", "{"))).toEqual(["/path/channel"]);
    expect(await pointersOf(pullText(channel, "?bad=1", "text/plain", "{"))).toEqual(["/query/bad"]);
    expect(await readProblem(pullText(channel, "", "text/plain", "{"))).toMatchObject({ kind: "unsupported-media-type" });
    expect(await pointersOf(pullText(channel, "", "application/json", "{"))).toEqual([""]);
    expect(await pointersOf(pullText(channel, "", "application/json", '{"ack":"auto","min":2,"max":1}'))).toEqual(["/min"]);
  });
});

describe("src/worker/request-parts", () => {
  test("[protocol:names] a channel's name may have 128 characters and . _ ~ : -", async () => {
    for (const channel of [`0._~:-${crypto.randomUUID()}`, `A${crypto.randomUUID()}`.padEnd(LIMITS.channelNameCharsMax, "x")]) {
      const description = await read<ChannelDescription>(call("PUT", pathOf(channel)), 201);

      expect(description.channel).toBe(channel);
    }
  });

  test("[protocol:names] a name that is not allowed is refused on every route", async () => {
    const names = ["-a", ".a", "%20a", "a%20b", "a%2Fb", "%C3%BC", "a@b", "x".repeat(LIMITS.channelNameCharsMax + 1)];
    const samples: Sample[] = [
      ["PUT", ""],
      ["GET", ""],
      ["PATCH", ""],
      ["DELETE", ""],
      ["POST", "/messages"],
      ["POST", "/messages/batch"],
      ["POST", "/messages/pull"],
      ["GET", "/messages"],
      ["DELETE", "/messages/1"],
      ["GET", "/checkpoints"],
      ["PUT", "/checkpoints/a"],
      ["GET", "/socket"],
    ];
    for (const name of names) {
      for (const [method, rest] of samples) {
        expect([`${method} ${name}${rest}`, await pointersOf(call(method, pathOf(name, rest)))]).toEqual([
          `${method} ${name}${rest}`,
          ["/path/channel"],
        ]);
      }
    }
  });

  test("[protocol:versions] an unknown query parameter is refused on every route", async () => {
    for (const route of ROUTES.filter(({ path }) => path.startsWith("/v1/"))) {
      const filled = route.path.replace("{scheduledId}", "1-1").replaceAll(/\{(?:snapshot|restore)Id\}/g, "0123456789abcdef");
      const path = filled.replaceAll(/\{\w+\}/g, "1");
      const reply = await call(route.method.toUpperCase(), `${path}?wiatMs=5`);

      expect([route.operationId, await pointersOf(reply)]).toEqual([route.operationId, ["/query/wiatMs"]]);
    }
  });

  test("[G11] a query parameter that is called like a member of every object is unknown too", async () => {
    const path = pathOf(freshChannel(), "/messages");
    for (const name of ["__proto__", "constructor", "toString"]) {
      expect([name, await pointersOf(call("GET", `${path}?${name}=1`))]).toEqual([name, [`/query/${name}`]]);
      expect([name, await pointersOf(call("GET", `${path}?${name}=1&${name}=1`))]).toEqual([name, [`/query/${name}`]]);
    }
  });

  test("[G11] a query parameter that is repeated or not a whole number in its range is refused", async () => {
    const path = pathOf(freshChannel(), "/messages");
    for (const waitMs of ["-1", "1.5", "1e3", "abc", "", "%20", "9".repeat(17)]) {
      expect([waitMs, await pointersOf(call("POST", `${path}?waitMs=${waitMs}`, { body: "a" }))]).toEqual([
        waitMs,
        ["/query/waitMs"],
      ]);
    }
    expect(await pointersOf(call("POST", `${path}?waitMs=1&waitMs=2`, { body: "a" }))).toEqual(["/query/waitMs"]);
    for (const limit of [0, LIMITS.browseMessagesMax + 1]) {
      expect(await pointersOf(call("GET", `${path}?limit=${limit}`))).toEqual(["/query/limit"]);
    }
    expect(await pointersOf(call("GET", `${path}?from=0`))).toEqual(["/query/from"]);
  });

  test("[G11] an offset that can not be one is refused", async () => {
    const channel = await createChannel();
    for (const offset of ["0", "-1", "abc", "1.5", "batches", String(2 ** 48 + 1)]) {
      for (const method of ["GET", "DELETE"]) {
        expect([offset, await pointersOf(call(method, pathOf(channel, `/messages/${offset}`)))]).toEqual([
          offset,
          ["/path/offset"],
        ]);
      }
    }
  });

  test("[G11] a JSON body of another content type is refused with the one that is taken", async () => {
    const channel = await createChannel();
    const samples: Sample[] = [
      ["PUT", ""],
      ["PATCH", ""],
      ["POST", "/messages/batch"],
      ["POST", "/messages/pull"],
    ];
    for (const [method, rest] of samples) {
      for (const type of ["text/plain", "application/jsonx", "application/problem+json", "multipart/form-data; boundary=a"]) {
        const reply = call(method, pathOf(channel, rest), { body: "{}", headers: { "Content-Type": type } });

        const expected = { kind: "unsupported-media-type", status: 415, accepted: ["application/json"] };
        expect(await readProblem(reply)).toMatchObject(expected);
      }
    }
  });

  test("[protocol:put one] a body with a content encoding is refused, and put nowhere", async () => {
    const channel = await createChannel();
    const samples: Sample[] = [
      ["PUT", ""],
      ["PATCH", ""],
      ["POST", "/messages"],
      ["POST", "/messages/batch"],
      ["POST", "/messages/pull"],
      ["POST", "/messages/settle"],
      ["PUT", "/checkpoints/a"],
    ];
    for (const [method, rest] of samples) {
      for (const encoding of ["gzip", "br", "identity, gzip", "x"]) {
        const headers = { "Content-Type": "application/json", "Content-Encoding": encoding };
        const reply = call(method, pathOf(channel, rest), { body: "{}", headers });

        const expected = { kind: "unsupported-media-type", status: 415, acceptedEncodings: ["identity"] };
        expect([rest, await readProblem(reply)]).toMatchObject([rest, expected]);
      }
    }
    await read(putBytes(channel, "a", { "Content-Encoding": "Identity" }), 201);
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[G11] a JSON body without a content type is refused, an absent one only where it is needed", async () => {
    const body = new TextEncoder().encode("{}");
    const channel = freshChannel();

    expect(await readProblem(call("PUT", pathOf(channel), { body }))).toMatchObject({ kind: "unsupported-media-type" });
    await read(call("PUT", pathOf(channel)), 201);
    expect(await readProblem(call("PATCH", pathOf(channel)))).toMatchObject({ kind: "unsupported-media-type" });
    const settle = pathOf(channel, "/messages/settle");
    expect(await readProblem(call("POST", settle))).toMatchObject({ kind: "unsupported-media-type" });
  });

  test("[G11] malformed JSON is refused with a pointer to the whole body", async () => {
    const channel = await createChannel();
    const headers = { "Content-Type": "application/json; charset=utf-8" };
    for (const body of ["", "{", '{"a":1,}', "nul", new Uint8Array([0x22, 0xff, 0x22])]) {
      const problem = await readProblem(call("PATCH", pathOf(channel), { body, headers }));

      expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "" }] });
      expect(problem.detail).toMatch(/Malformed JSON/);
    }
  });

  test("[G11] a JSON body with wrong members is refused with pointers to them", async () => {
    const channel = await createChannel();
    const cases: [object | string | null, string[]][] = [
      [null, [""]],
      ["open", [""]],
      [{ maxMessages: "1", maxBytes: 0 }, ["/maxMessages"]],
      [{ maxMesages: 1 }, ["/maxMesages"]],
      [{ "a/b~c": 1 }, ["/a~1b~0c"]],
      [{ growth: { factor: 1, maxMessages: 1, maxBytes: 1 } }, ["/growth/factor"]],
      [{ growth: { factor: 2, maxMessages: 1, maxBytes: 1024 * MIB } }, ["/growth/maxMessages"]],
      [{ expireAfterIdleMs: 1 }, ["/expireAfterIdleMs"]],
      [{ state: "deleted" }, ["/state"]],
    ];
    for (const [json, pointers] of cases) {
      expect([JSON.stringify(json), await pointersOf(call("PATCH", pathOf(channel), { json }))]).toEqual([
        JSON.stringify(json),
        pointers,
      ]);
    }
  });

  test("[G11] a list where an object belongs is refused", async () => {
    const channel = await createChannel();
    const samples: Sample[] = [
      ["PUT", ""],
      ["PATCH", ""],
      ["POST", "/messages/batch"],
      ["POST", "/messages/pull"],
    ];
    for (const [method, rest] of samples) {
      expect(await pointersOf(call(method, pathOf(channel, rest), { json: [] }))).toContain("");
    }
    const headersAsList = { messages: [{ text: "a", headers: ["b"] }] };
    const reply = call("POST", pathOf(channel, "/messages/batch"), { json: headersAsList });
    expect(await pointersOf(reply)).toEqual(["/messages/0/headers"]);
  });

  test("[G6] a control body above its limit is refused, whether its length is announced or not", async () => {
    const channel = await createChannel();
    const text = JSON.stringify({ ack: "auto", max: 1 }).padEnd(LIMITS.controlBodyBytesMax + 1);
    for (const body of [text, new Blob([text]).stream()]) {
      const reply = call("POST", pathOf(channel, "/messages/pull"), { body, headers: { "Content-Type": "application/json" } });

      expect(await readProblem(reply)).toMatchObject({ kind: "request-too-large", limit: LIMITS.controlBodyBytesMax });
    }
  });

  test("[G6] JSON in another charset than UTF-8 is refused", async () => {
    const channel = await createChannel();
    const pullAs = (type: string): Promise<Response> =>
      call("POST", pathOf(channel, "/messages/pull"), { body: "{}", headers: { "Content-Type": `application/json${type}` } });

    for (const type of ["; charset=utf-16", ';charset="UTF-16LE"', "; a=b; charset=iso-8859-1"]) {
      expect([type, (await readProblem(pullAs(type))).kind]).toEqual([type, "unsupported-media-type"]);
    }
    for (const type of ["", "; charset=utf-8", ';Charset="UTF-8"'])
      expect([type, (await pullAs(type)).status]).toEqual([type, 200]);
  });

  test.each(ROUTES.filter((route) => route.method !== "get" && !takesBody(route)))(
    "[G6] $operationId takes no body and refuses one, whether its length is announced or not",
    async ({ method, path }) => {
      const channel = await createChannel();
      const address = path
        .replace("{channel}", channel)
        .replace("{offset}", "1")
        .replace(/\{(?:snapshotId|restoreId)\}/, "0123456789abcdef")
        .replace("{scheduledId}", "1-1")
        .replace(/\{\w+\}/, "some");

      for (const body of ["{}", new Blob(["x"]).stream()]) {
        const problem = await readProblem(call(method.toUpperCase(), address, { body }));
        expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "", detail: "Expected no body" }] });
      }
      const { kind } = await call(method.toUpperCase(), address, { body: "" }).then((reply) => reply.json<{ kind?: string }>());
      expect(kind).not.toBe("invalid-request");
    },
  );
});

function takesBody({ body, isMessageBody, isValueBody, isPageBody }: (typeof ROUTES)[number]): boolean {
  return body !== undefined || isMessageBody === true || isValueBody === true || isPageBody === true;
}

describe("src/worker/channel-routes", () => {
  test("[LC8] a channel is created with the settings given and defaults, and confirmed with the same", async () => {
    const channel = freshChannel();
    const settings = { maxMessages: 10, growth: { factor: 2, maxMessages: 100, maxBytes: 2048 * MIB } };

    const created = await read<ChannelDescription>(call("PUT", pathOf(channel), { json: settings }), 201);
    const confirmed = await read<ChannelDescription>(call("PUT", pathOf(channel), { json: settings }));

    v.parse(REPLY_SCHEMAS.description, created);
    expect(created).toMatchObject({ channel, state: "open", depth: 0, nextOffset: 1, isEmpty: true, isFull: false });
    expect(created.settings).toEqual({ ...DEFAULT_SETTINGS, ...settings });
    expect(created.limits).toEqual({ maxMessages: 10, maxBytes: DEFAULT_SETTINGS.maxBytes });
    expect(confirmed).toMatchObject({ life: created.life, createdAtMs: created.createdAtMs, settings: created.settings });
    await read(call("PUT", pathOf(channel)), 200);
  });

  test("[LC8] other settings are a conflict that names them and shows the present ones", async () => {
    const channel = await createChannel({ maxMessages: 10 });

    const problem = await readProblem(call("PUT", pathOf(channel), { json: { maxMessages: 11, maxBytes: 5, growth: null } }));

    expect(problem).toMatchObject({ kind: "settings-conflict", status: 409, retry: "refetch" });
    expect(problem["conflicts"]).toEqual(["maxMessages", "maxBytes"]);
    expect(problem["current"]).toEqual({ ...DEFAULT_SETTINGS, maxMessages: 10 });
    expect((await describeChannel(channel)).settings).toEqual(problem["current"]);
  });

  test("[LC7] an unknown channel is created by a put or a get, and by nothing else", async () => {
    const samples: Sample[] = [
      ["GET", ""],
      ["PATCH", "", { json: {} }],
      ["DELETE", ""],
      ["GET", "/messages"],
      ["DELETE", "/messages"],
      ["GET", "/messages/1"],
      ["DELETE", "/messages/1"],
      ["DELETE", "/messages/by-id/a"],
    ];
    for (const [method, rest, options] of samples) {
      const channel = freshChannel();
      const problem = await readProblem(call(method, pathOf(channel, rest), options));
      expect([`${method} ${rest}`, problem]).toMatchObject([
        `${method} ${rest}`,
        { kind: "unknown-channel", status: 404, channel },
      ]);
    }
    const [first, second] = [freshChannel(), freshChannel()];
    await put(first, "a");
    await pull(second);
    for (const channel of [first, second]) {
      const { settings } = await describeChannel(channel);
      expect(settings).toEqual({ ...DEFAULT_SETTINGS, expireAfterIdleMs: LIMITS.autoCreatedExpireAfterIdleMs });
    }
  });

  test("[protocol:state] a description carries the state as headers too", async () => {
    const channel = await createChannel({ maxMessages: 4 });
    await put(channel, "a");

    const reply = await call("GET", pathOf(channel));
    const description = await reply.clone().json<ChannelDescription>();

    v.parse(REPLY_SCHEMAS.description, description);
    expect(description).toMatchObject({ depth: 1, utilization: 0.25, counts: { put: 1, acked: 0, removed: 0 } });
    expect(stateHeadersOf(reply)).toEqual({ depth: 1, bytes: description.bytes, utilization: 0.25, waiters: 0 });
  });

  test("[AD1] a patch changes what it names and answers the channel as it is", async () => {
    const channel = await createChannel({ maxMessages: 4, maxMessageBytes: 10 });

    const patched = await patchChannel(channel, { maxMessages: 6, expireAfterIdleMs: 60_000 });

    v.parse(REPLY_SCHEMAS.description, patched);
    const settings = { ...DEFAULT_SETTINGS, maxMessages: 6, maxMessageBytes: 10, expireAfterIdleMs: 60_000 };
    expect(patched).toMatchObject({ settings, limits: { maxMessages: 6, maxBytes: DEFAULT_SETTINGS.maxBytes } });
    expect((await patchChannel(channel, { expireAfterIdleMs: null })).settings.expireAfterIdleMs).toBeNull();
  });

  test("[LC3] a deletion answers 200 when it is done and 202 while readers may finish", async () => {
    const [empty, filled, forced] = [await createChannel(), await createChannel(), await createChannel()];
    await put(filled, "a");
    await put(forced, "a");

    expect(await read(call("DELETE", pathOf(empty)))).toEqual({ state: "deleted", droppedMessages: 0 });
    expect(await read(call("DELETE", pathOf(forced, "?force=true")))).toEqual({ state: "deleted", droppedMessages: 1 });
    const draining = await read<ChannelDescription>(call("DELETE", pathOf(filled, "?graceMs=60000")), 202);

    v.parse(REPLY_SCHEMAS.description, draining);
    expect(draining).toMatchObject({ state: "draining", depth: 1 });
    expect(await readProblem(putBytes(filled, "b"))).toMatchObject({
      kind: "channel-draining",
      status: 410,
      drainUntilMs: draining.drainUntilMs,
    });
    expect(await pullTexts(filled)).toEqual(["a"]);
    expect(await readProblem(call("GET", pathOf(filled)))).toMatchObject({ kind: "channel-deleted", droppedMessages: 0 });
  });

  test("[LC3] force and a grace exclude each other", async () => {
    const channel = await createChannel();

    expect(await pointersOf(call("DELETE", pathOf(channel, "?force=true&graceMs=5")))).toEqual(["/query/force"]);
    expect(await pointersOf(call("DELETE", pathOf(channel, "?force=yes")))).toEqual(["/query/force"]);
    expect(await pointersOf(call("DELETE", pathOf(channel, `?graceMs=${LIMITS.graceMsMax + 1}`)))).toEqual(["/query/graceMs"]);
    await read(call("DELETE", pathOf(channel, "?force=true&graceMs=0")));
  });

  test("[LC5] a deleted channel answers so to everything but a create, which begins a new life", async () => {
    const channel = await createChannel();
    const { life } = await describeChannel(channel);
    await putBatch(channel, ["a", "b"]);
    await call("DELETE", pathOf(channel, "?force=true"));
    const samples: Sample[] = [
      ["GET", ""],
      ["PATCH", "", { json: {} }],
      ["DELETE", ""],
      ["POST", "/messages", { body: "a" }],
      ["POST", "/messages?waitMs=1000", { body: "a" }],
      ["POST", "/messages/batch", { json: { messages: [] } }],
      ["POST", "/messages/pull", { json: { ack: "auto", waitMs: 1000 } }],
      ["GET", "/messages"],
      ["DELETE", "/messages"],
      ["GET", "/messages/1"],
    ];

    for (const [method, rest, options] of samples) {
      const problem = await readProblem(call(method, pathOf(channel, rest), options));
      expect([`${method} ${rest}`, problem]).toMatchObject([
        `${method} ${rest}`,
        { kind: "channel-deleted", status: 410, droppedMessages: 2 },
      ]);
      expect(problem["deletedAtMs"]).toBeTypeOf("number");
    }
    const created = await read<ChannelDescription>(call("PUT", pathOf(channel)), 201);
    expect(created).toMatchObject({ state: "open", depth: 0, nextOffset: 1 });
    expect(created.life).not.toBe(life);
  });

  test("[protocol:websocket] an address of a socket without the upgrade or the subprotocol is refused", async () => {
    const channel = await createChannel();

    for (const reply of [
      await call("GET", pathOf(channel, "/socket")),
      await upgrade(channel, { "Sec-WebSocket-Protocol": "channel.v2.bin, chat" }),
    ]) {
      const problem = await readProblem(reply);
      expect(problem).toMatchObject({ kind: "upgrade-required", status: 426, protocols: ["channel.v1.bin", "channel.v1.json"] });
      expect(reply.headers.get("Upgrade")).toBe("websocket");
    }
  });

  test("[protocol:websocket] the subprotocol is picked from those that are offered", async () => {
    const channel = await createChannel();

    const reply = await upgrade(channel, { "Sec-WebSocket-Protocol": "chat, channel.v1.json" });
    reply.webSocket?.accept();
    reply.webSocket?.close();

    expect(reply.status).toBe(101);
    expect(reply.headers.get("Sec-WebSocket-Protocol")).toBe("channel.v1.json");
  });
});

describe("src/worker/channel-routes: list", () => {
  test("[LC9] channels are listed with their settings after the alarm, page by page in the order of names", async () => {
    const prefix = `l-${crypto.randomUUID()}`;
    const names = ["c", "a", "b", "e", "d"].map((end) => `${prefix}:${end}`);
    for (const name of names) {
      await read(call("PUT", pathOf(name), { json: { maxMessages: 7 } }), 201);
      await runAlarm(name);
    }

    const first = await list(`prefix=${prefix}&limit=3`);
    const second = await list(`prefix=${prefix}&limit=3&after=${first.next}`);

    v.parse(REPLY_SCHEMAS.list, first);
    expect([...first.channels, ...second.channels].map((entry) => entry.channel)).toEqual(names.toSorted());
    expect(first.channels).toHaveLength(3);
    expect(first.next).toBe(`${prefix}:c`);
    expect(second.next).toBeNull();
    expect(first.channels[0]?.settings).toEqual({ ...DEFAULT_SETTINGS, maxMessages: 7 });
    expect(first.channels[0]?.createdAtMs).toBe((await describeChannel(`${prefix}:a`)).createdAtMs);
  });

  test("[LC9] the list follows a change of settings and a deletion", async () => {
    const channel = await createChannel();
    await patchChannel(channel, { maxMessages: 8 });
    await runAlarm(channel);

    const { channels } = await list(`prefix=${channel}`);
    expect(channels.map((entry) => entry.settings.maxMessages)).toEqual([8]);
    await call("DELETE", pathOf(channel, "?force=true"));
    await runAlarm(channel);

    expect(await list(`prefix=${channel}`)).toEqual({ channels: [], next: null });
  });

  test("[G11] the list refuses a limit, a prefix and a place that can not be", async () => {
    for (const limit of ["0", "abc", String(LIMITS.directoryPageMax + 1)]) {
      expect(await pointersOf(call("GET", `/v1/channels?limit=${limit}`))).toEqual(["/query/limit"]);
    }
    expect(await pointersOf(call("GET", "/v1/channels?prefix=-"))).toEqual(["/query/prefix"]);
    expect(await pointersOf(call("GET", "/v1/channels?after="))).toEqual(["/query/after"]);
  });
});

describe("src/worker/message-routes: put", () => {
  test("[PT7] a put answers its offset, its address and the state, in headers and body", async () => {
    const channel = await createChannel({ maxMessages: 10 });
    await putBytes(channel, "first");

    const reply = await putBytes(channel, "second");
    const body = await reply.clone().json<PutJson>();

    v.parse(REPLY_SCHEMAS.put, body);
    expect(reply.status).toBe(201);
    expect(reply.headers.get("Content-Type")).toMatch(/^application\/json/);
    expect(reply.headers.get("Location")).toBe(pathOf(channel, "/messages/2"));
    expect(body).toEqual({ offset: 2, count: 1, state: { depth: 2, bytes: 11, utilization: 0.2, waiters: 0 } });
    expect(stateHeadersOf(reply)).toEqual(body.state);
    expect(await (await call("GET", reply.headers.get("Location") ?? "")).text()).toBe("second");
  });

  test("[protocol:messages] a body of no bytes is a message", async () => {
    const channel = await createChannel();
    await putBytes(channel, new Uint8Array(0));
    await call("POST", pathOf(channel, "/messages"), { headers: { "Content-Type": "text/plain" } });

    const stored = await call("GET", pathOf(channel, "/messages/1"));
    const { messages } = await pull(channel, { max: 2 });

    expect([stored.status, (await stored.arrayBuffer()).byteLength]).toEqual([200, 0]);
    expect(messages).toMatchObject([
      { offset: 1, base64: "" },
      { offset: 2, text: "" },
    ]);
  });

  test("[protocol:messages] headers are percent-encoded both ways", async () => {
    const channel = await createChannel();
    const [key, id, value] = ["Schlüssel/100 %", " id\twith\r\nedges ", "日本 = 🚀"];
    const sent = {
      "Content-Type": "application/vnd.x+json; a=b",
      "Channel-Key": encodeURIComponent(key),
      "Channel-Message-Id": encodeURIComponent(id),
      "Channel-Header-Trace": encodeURIComponent(value),
      "Channel-Header-X.Y": "a b=c",
    };
    await putBytes(channel, "{}", sent);

    const stored = await call("GET", pathOf(channel, "/messages/1"));
    const { messages } = await pull(channel);

    const decode = (name: string): string => decodeURIComponent(stored.headers.get(name) ?? "");
    expect(stored.headers.get("Content-Type")).toBe(sent["Content-Type"]);
    expect([decode("Channel-Key"), decode("Channel-Message-Id")]).toEqual([key, id]);
    expect([decode("Channel-Header-Trace"), decode("Channel-Header-X.Y")]).toEqual([value, "a b=c"]);
    expect(stored.headers.get("Channel-Offset")).toBe("1");
    expect(messages[0]).toMatchObject({ key, messageId: id, headers: { trace: value, "x.y": "a b=c" } });
    expect(stored.headers.get("Channel-Put-At-Ms")).toBe(String(messages[0]?.putAtMs));
  });

  test("[G11] a header that is too long, empty or badly encoded is refused with its name", async () => {
    const channel = await createChannel();
    const cases: [string, string][] = [
      ["Channel-Key", ""],
      ["Channel-Key", "%"],
      ["Channel-Key", "%FF"],
      ["Channel-Key", "k".repeat(LIMITS.keyBytesMax + 1)],
      ["Channel-Message-Id", "%C3%A4".repeat(LIMITS.messageIdBytesMax / 2 + 1)],
      ["Content-Type", "text"],
      ["Content-Type", `text/${"x".repeat(LIMITS.contentTypeBytesMax)}`],
    ];
    for (const [name, value] of cases) {
      expect([`${name}: ${value}`, await pointersOf(putBytes(channel, "a", { [name]: value }))]).toEqual([
        `${name}: ${value}`,
        [`/header/${name}`],
      ]);
    }
    expect(await pointersOf(putBytes(channel, "a", { "Channel-Header-X": "%" }))).toEqual(["/header/channel-header-x"]);
    await read(putBytes(channel, "a", { "Channel-Key": "k".repeat(LIMITS.keyBytesMax) }), 201);
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[protocol:put one] a header of ours that is none is refused with its name", async () => {
    const channel = await createChannel();
    for (const name of ["channel-keys", "channel-message", "channel-offset", "channel-", "channel-header", "channel-key-"]) {
      expect([name, await pointersOf(putBytes(channel, "a", { [name]: "v" }))]).toEqual([name, [`/header/${name}`]]);
    }
    await read(
      putBytes(channel, "a", { "X-Channel-Keys": "v", Channel: "v", "CHANNEL-KEY": "v", "Channel-Header-Keys": "v" }),
      201,
    );
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[G11] a message header with a name that is not allowed is refused with the name that was sent", async () => {
    const name = `channel-header-${"x".repeat(65)}`;

    expect(await pointersOf(putBytes(await createChannel(), "a", { [name]: "v" }))).toEqual([`/header/${name}`]);
  });

  test("[G6] headers may have 16 KiB together and not one byte more", async () => {
    const channel = await createChannel();
    const half = LIMITS.headersBytesMax / 2;
    const [value, longer] = ["v".repeat(half - 1), "v".repeat(half)];

    await read(putBytes(channel, "a", { "Channel-Header-A": value, "Channel-Header-B": value }), 201);
    const refused = putBytes(channel, "a", { "Channel-Header-A": value, "Channel-Header-B": longer });

    expect(await pointersOf(refused)).toEqual(["/header"]);
    const [message] = (await pull(channel)).messages;
    expect(Object.values(message?.headers ?? {}).map((text) => text.length)).toEqual([half - 1, half - 1]);
  });

  test("[protocol:messages] a body is shown as JSON or text where its bytes are that, else as base64", async () => {
    const channel = await createChannel();
    const cases: [string, BodyInit, object][] = [
      ["application/json", '{"a": [1, null]}', { json: { a: [1, null] } }],
      ["application/vnd.a+json", '"x"', { json: "x" }],
      ["application/json", "null", { json: null }],
      ["application/json", "{not json", { text: "{not json" }],
      ["application/json", new Uint8Array([0x22, 0xff, 0x22]), { base64: "Iv8i" }],
      ["text/plain", "grüße\n\t", { text: "grüße\n\t" }],
      ["text/plain", "\u{feff}bom", { text: "\u{feff}bom" }],
      ["text/plain", "a\u0000b", { base64: "YQBi" }],
      ["text/plain", new Uint8Array([0xff]), { base64: "/w==" }],
      ["application/octet-stream", "text", { base64: "dGV4dA==" }],
      ["image/png", new Uint8Array([1, 2]), { base64: "AQI=" }],
    ];
    for (const [type, body] of cases) await read(putBytes(channel, body, { "Content-Type": type }), 201);

    const { messages } = await pull(channel, { max: cases.length });

    expect(messages).toEqual(
      cases.map(([contentType, , member], index): object => ({
        offset: index + 1,
        putAtMs: messages[index]?.putAtMs,
        contentType,
        ...member,
      })),
    );
  });

  test("[protocol:messages] a JSON body reaches the reader byte for byte", async () => {
    const channel = await createChannel();
    const body = '{ "big": 12345678901234567890, "exact": 1.000,\n "twice": 1, "twice": 2 }';
    await putBytes(channel, body, { "Content-Type": "application/json" });

    const page = await (await call("GET", pathOf(channel, "/messages"))).text();
    const one = await (await call("GET", pathOf(channel, "/messages/1"))).text();
    const pulled = await (await pullReply(channel, {})).text();

    expect(one).toBe(body);
    expect(page).toContain(`"json":${body}`);
    expect(pulled).toContain(`"json":${body}`);
  });

  test("[PT1] a message of 1 MiB is taken by default and one byte more is refused", async () => {
    const channel = await createChannel();

    await read(putBytes(channel, makeBytes(MIB)), 201);
    const problem = await readProblem(putBytes(channel, makeBytes(MIB + 1)));

    expect(problem).toMatchObject({ kind: "message-too-large", status: 413, bytes: MIB + 1, limit: MIB });
    expect(await describeChannel(channel)).toMatchObject({ depth: 1, bytes: MIB });
  });

  test("[PT6] key, id, headers and an unusual content type count as bytes", async () => {
    const channel = await createChannel({ maxMessageBytes: 20 });
    const headers = {
      "Channel-Key": "k",
      "Channel-Message-Id": "%C3%A4",
      "Channel-Header-N": "v",
      "Content-Type": "a/b",
    };

    expect(await read<PutJson>(putBytes(channel, "x".repeat(12), headers), 201)).toMatchObject({ state: { bytes: 20 } });
    expect(await readProblem(putBytes(channel, "x".repeat(13), headers))).toMatchObject({ bytes: 21, limit: 20 });
  });

  test("[RC5] a body of 16 MiB comes back bit for bit, from rows below 2 MB", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const body = makeBytes(LIMITS.messageBytesMax);
    await read(putBytes(channel, body), 201);
    await evictDurableObject(stubOf(channel));

    const stored = await call("GET", pathOf(channel, "/messages/1"));
    const rowBytes = await runInDurableObject<ChannelObject, number>(stubOf(channel), (_, { storage }) => {
      const select = "SELECT max(length(body)) AS bytes FROM (SELECT body FROM segment UNION ALL SELECT body FROM segment_part)";
      return storage.sql.exec<{ bytes: number }>(select).one().bytes;
    });

    expect(stored.headers.get("Content-Type")).toBe("application/octet-stream");
    expect(isSame(new Uint8Array(await stored.arrayBuffer()), body)).toBe(true);
    expect(rowBytes).toBeGreaterThan(LIMITS.segmentBytesMax);
    expect(rowBytes).toBeLessThan(LIMITS.rowBytesMax);
  });

  test("[GT3] a message larger than a reply may be is pulled alone", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const text = "x".repeat(LIMITS.replyBytesMax + 1);
    await put(channel, text);
    await put(channel, "next");

    const { messages, state } = await pull(channel, { max: 10 });

    expect(messages.map((message) => message.offset)).toEqual([1]);
    expect(messages[0]?.text === text).toBe(true);
    expect(state.depth).toBe(1);
    expect(await pullTexts(channel)).toEqual(["next"]);
  });

  test("[G6] a body above the largest message is refused, whether its length is announced or not", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const body = makeBytes(LIMITS.messageBytesMax + 1);

    for (const form of [body, new Blob([body]).stream()]) {
      const problem = await readProblem(putBytes(channel, form));

      expect(problem).toMatchObject({ kind: "request-too-large", status: 413, limit: LIMITS.messageBytesMax });
    }
  });

  test("[PT4] a full channel refuses with the facts and a time to try again", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    await putBatch(channel, ["a", "b"]);

    const reply = await putBytes(channel, "c");
    const problem = await readProblem(reply);

    expect(problem).toMatchObject({ kind: "channel-full", status: 429, retry: "after", depth: 2, maxMessages: 2, bytes: 2 });
    expect(reply.headers.get("Retry-After")).toBe(String(Math.ceil(Number(problem["retryAfterMs"]) / 1000)));
  });
});

describe("src/worker/message-routes: batch", () => {
  test("[G8] a batch is stored whole, at consecutive offsets", async () => {
    const channel = await createChannel();
    await put(channel, "before");
    const messages = [
      { json: { a: 1 } },
      { text: "t", key: "k" },
      { base64: "AQI=", contentType: "image/png", headers: { x: "y" } },
    ];

    const reply = await call("POST", pathOf(channel, "/messages/batch"), { json: { messages } });
    const body = await read<PutJson>(reply.clone(), 201);

    v.parse(REPLY_SCHEMAS.put, body);
    expect(body).toMatchObject({ offset: 2, count: 3, state: { depth: 4 } });
    expect(stateHeadersOf(reply)).toEqual(body.state);
    expect(reply.headers.get("Location")).toBe(pathOf(channel, "/messages/2"));
    const taken = (await pull(channel, { max: 10 })).messages;
    expect(taken.map((message) => message.offset)).toEqual([1, 2, 3, 4]);
    expect(taken.slice(1)).toMatchObject(messages);
  });

  test("[PT2] an empty batch is accepted and stores nothing", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");

    const body = await putBatch(channel, []);

    expect(body).toMatchObject({ offset: 2, count: 0, state: { depth: 1 } });
  });

  test("[G8] a batch with one message at fault is refused whole, with a pointer to it", async () => {
    const channel = await createChannel();
    const good = { text: "good" };
    const cases: [unknown, string][] = [
      [{}, "/messages/1"],
      [{ text: "a", json: 1 }, "/messages/1"],
      [{ base64: "AQ" }, "/messages/1/base64"],
      [{ text: 5 }, "/messages/1/text"],
      [{ text: "a", id: "b" }, "/messages/1/id"],
      [{ text: "\ud800" }, "/messages/1/text"],
      [{ text: "a", key: "" }, "/messages/1/key"],
      [{ text: "a", contentType: "bad" }, "/messages/1/contentType"],
      [{ text: "a", headers: { Upper: "x" } }, "/messages/1/headers/Upper"],
      [{ text: "a", headers: { x: "v".repeat(LIMITS.headersBytesMax) } }, "/messages/1/headers"],
      ["text", "/messages/1"],
    ];
    for (const [bad, pointer] of cases) {
      const reply = call("POST", pathOf(channel, "/messages/batch"), { json: { messages: [good, bad] } });
      expect([JSON.stringify(bad).slice(0, 80), await pointersOf(reply)]).toEqual([JSON.stringify(bad).slice(0, 80), [pointer]]);
    }
    expect((await describeChannel(channel)).nextOffset).toBe(1);
  });

  test("[G6] a batch has at most 10,000 messages", async () => {
    const channel = await createChannel();
    const texts = Array.from({ length: LIMITS.batchMessagesMax }, () => "");

    expect(await putBatch(channel, texts)).toMatchObject({ offset: 1, count: LIMITS.batchMessagesMax });
    const messages = [...texts, ""].map((text) => ({ text }));
    expect(await pointersOf(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }))).toEqual(["/messages"]);
    expect((await pull(channel, { max: LIMITS.batchMessagesMax })).messages).toHaveLength(LIMITS.batchMessagesMax);
  });

  test("[PT1] a batch has at most 16 MiB", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const half = "x".repeat(LIMITS.batchBytesMax / 2);

    const messages = [{ text: half }, { text: `${half}x` }];
    const problem = await readProblem(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }));

    expect(problem).toMatchObject({ kind: "batch-too-large", status: 413, limit: LIMITS.batchBytesMax, unit: "bytes" });
    expect(problem["size"]).toBe(LIMITS.batchBytesMax + 1);
    expect((await describeChannel(channel)).nextOffset).toBe(1);
  });

  test("[G6] a request has at most 24 MiB", async () => {
    const channel = await createChannel();
    const body = " ".repeat(LIMITS.requestBodyBytesMax + 1);

    const reply = call("POST", pathOf(channel, "/messages/batch"), { body, headers: { "Content-Type": "application/json" } });

    expect(await readProblem(reply)).toMatchObject({ kind: "request-too-large", limit: LIMITS.requestBodyBytesMax });
  });
});

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
    expect((await describeChannel(channel)).counts).toEqual({
      put: 3,
      acked: 2,
      removed: 1,
      deadLettered: 0,
      dropped: 0,
      expired: 0,
    });
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
    expect((await describeChannel(channel)).counts).toEqual({
      put: 3,
      acked: 1,
      removed: 2,
      deadLettered: 0,
      dropped: 0,
      expired: 0,
    });
    expect((await put(channel, "d")).offset).toBe(4);
  });
});
