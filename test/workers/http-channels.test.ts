// Channels over HTTP: they are created, described, changed, deleted and listed.
// Words in brackets that are not rules of src/channel/SPEC.md name a section of src/protocol/PROTOCOL.md.
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import type { ChannelDescription, ChannelEntry } from "../../src/protocol/description.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { REPLY_SCHEMAS } from "../../src/protocol/routes.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/settings.ts";
import { MIB, pointersOf, putBytes, type Sample, stateHeadersOf } from "./http.ts";
import { runAlarm } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  freshChannel,
  patchChannel,
  pathOf,
  pull,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  upgrade,
} from "./service.ts";

interface ListJson {
  readonly channels: readonly ChannelEntry[];
  readonly next: string | null;
}

function list(query: string): Promise<ListJson> {
  return read<ListJson>(call("GET", `/v1/channels?${query}`));
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
