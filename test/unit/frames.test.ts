// Frames of the JSON subprotocol, and a fingerprint of all that goes over the wire.
import { createHash } from "node:crypto";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { parseWith } from "../../src/protocol/fault.ts";
import { CLIENT_FRAME_SCHEMAS, CLOSE_CODES, parseClientFrame } from "../../src/protocol/frames.ts";
import { PROTOCOL_VERSIONS, SUBPROTOCOL_JSON } from "../../src/protocol/version.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { putMessageSchema } from "../../src/protocol/message.ts";
import { channelNameSchema, checkpointNameSchema } from "../../src/protocol/names.ts";
import { PROBLEM_TYPES } from "../../src/protocol/problems.ts";
import { channelPatchSchema, givenSettingsSchema } from "../../src/protocol/settings.ts";

const MOST = Number.MAX_SAFE_INTEGER;

const VALID: readonly Record<string, unknown>[] = [
  { type: "hello", versions: [1] },
  { type: "hello", versions: [65_535, 1], joined: true },
  { type: "hello", versions: [1], pings: true },
  { type: "put", id: 0, text: "a" },
  { type: "put", id: MOST, json: null, key: "k", messageId: "m", contentType: "a/b", headers: { a: "b" }, waitMs: MOST },
  { type: "put", id: 1 },
  { type: "put", id: 1, text: "a", promised: true },
  { type: "put", id: 1, text: "a", delayMs: LIMITS.delayMsMax },
  {
    type: "put-batch",
    id: 1,
    messages: [
      { text: "a", delayMs: 0 },
      { text: "b", deliverAtMs: MOST },
    ],
  },
  { type: "put-batch", id: 1, messages: [], promised: true },
  { type: "put-batch", id: 1, messages: [] },
  { type: "put-batch", id: 1, messages: [{ text: "a" }, { base64: "" }], waitMs: 0 },
  { type: "reserve", id: 1, messages: LIMITS.batchMessagesMax, bytes: LIMITS.batchBytesMax + LIMITS.headersBytesMax, waitMs: 1 },
  { type: "reserve", id: 1, messages: 1, bytes: 0 },
  { type: "get", id: 1 },
  { type: "get", id: 1, max: LIMITS.batchMessagesMax, min: 0, waitMs: 5 },
  { type: "cancel", id: 1 },
  { type: "stats", id: 1 },
  { type: "subscribe", id: 1, credit: { messages: 0 } },
  { type: "subscribe", id: 1, group: "g", leaseMs: LIMITS.leaseMsMax, reader: "r", credit: { messages: MOST, bytes: MOST } },
  { type: "subscribe", id: 1, from: { resume: "life.5" }, filter: { keys: ["k"], headers: { a: "b" } }, credit: { messages: 1 } },
  { type: "subscribe", id: 1, tap: true, credit: { messages: 1 } },
  { type: "credit", id: 1, messages: 5, bytes: 0 },
  { type: "unsubscribe", id: 1 },
  { type: "watch", id: 1 },
  { type: "presence", id: 1 },
  { type: "echo", echo: 2 ** 32 - 1 },
  { type: "read-checkpoint", id: 1, name: "a" },
  { type: "write-checkpoint", id: 1, name: "a", text: "v", contentType: "a/b", ifMatch: 7 },
  { type: "write-checkpoint", id: 1, name: "a", json: null, ifNoneMatch: "*" },
  { type: "delete-checkpoint", id: 1, name: "a", ifMatch: "*" },
  { type: "list-checkpoints", id: 1 },
  { type: "list-checkpoints", id: 1, after: "a", prefix: "b", limit: LIMITS.checkpointsPageMax },
];

/** A frame that is refused, and the pointer of the fault. */
const INVALID: readonly (readonly [Record<string, unknown>, string])[] = [
  [{ type: "hello", versions: [] }, "/versions"],
  [{ type: "subscribe", id: 1 }, "/credit"],
  [{ type: "subscribe", id: 1, credit: { messages: -1 } }, "/credit/messages"],
  [{ type: "subscribe", id: 1, credit: { messages: 0.5 } }, "/credit/messages"],
  [{ type: "subscribe", id: 1, credit: { messages: 1 }, from: { offset: 0 } }, "/from/offset"],
  [{ type: "subscribe", id: 1, credit: { messages: 1 }, from: { at: "middle" } }, "/from"],
  [{ type: "subscribe", id: 1, credit: { messages: 1 }, filter: { keys: [] } }, "/filter/keys"],
  [{ type: "subscribe", id: 1, credit: { messages: 1 }, filter: { keys: ["k".repeat(LIMITS.filterBytesMax)] } }, "/filter"],
  [{ type: "subscribe", id: 1, credit: { messages: 1 }, held: "l1" }, "/held"],
  [{ type: "subscribe", id: 1, credit: { messages: 1 }, held: [{ leaseId: "l1", count: 0 }] }, "/held/0/count"],
  [{ type: "credit", id: 1, messages: 1, bytes: -5 }, "/bytes"],
  [{ type: "credit", id: 1, messages: -1 }, "/messages"],
  [{ type: "credit", id: 1, messages: MOST + 1 }, "/messages"],
  [{ type: "subscribe", id: 1, credit: { messages: MOST + 1 } }, "/credit/messages"],
  [{ type: "echo", echo: 2 ** 32 }, "/echo"],
  [{ type: "echo" }, "/echo"],
  [{ type: "read-checkpoint", id: 1 }, "/name"],
  [{ type: "read-checkpoint", id: 1, name: "-a" }, "/name"],
  [{ type: "write-checkpoint", id: 1, name: "a", text: "", ifMatch: 0 }, "/ifMatch"],
  [{ type: "write-checkpoint", id: 1, name: "a", text: "", ifNoneMatch: 1 }, "/ifNoneMatch"],
  [{ type: "write-checkpoint", id: 1, name: "a", text: "", key: "k" }, "/key"],
  [{ type: "delete-checkpoint", id: 1, name: "a", ifNoneMatch: "*" }, "/ifNoneMatch"],
  [{ type: "list-checkpoints", id: 1, limit: 0 }, "/limit"],
  [{ type: "put", id: 1, text: "a", delayMs: LIMITS.delayMsMax + 1 }, "/delayMs"],
  [{ type: "put", id: 1, text: "a", delayMs: -1 }, "/delayMs"],
  [{ type: "put", id: 1, text: "a", deliverAtMs: 0.5 }, "/deliverAtMs"],
  [{ type: "put-batch", id: 1, messages: [{ text: "a", delayMs: "5" }] }, "/messages/0/delayMs"],
  [{ type: "hello", versions: Array.from({ length: 17 }, () => 1) }, "/versions"],
  [{ type: "hello", versions: [1], joined: false }, "/joined"],
  [{ type: "hello", versions: [0] }, "/versions/0"],
  [{ type: "hello", versions: [1.5] }, "/versions/0"],
  [{ type: "put", text: "a" }, "/id"],
  [{ type: "put", id: -1, text: "a" }, "/id"],
  [{ type: "put", id: "1", text: "a" }, "/id"],
  [{ type: "put", id: 1, text: "a", waitMs: -1 }, "/waitMs"],
  [{ type: "put", id: 1, text: "a", waitMs: 0.5 }, "/waitMs"],
  [{ type: "put", id: 1, text: "a", waitms: 1 }, "/waitms"],
  [{ type: "put", id: 1, text: "\ud800" }, "/text"],
  [{ type: "put", id: 1, text: "a", promised: false }, "/promised"],
  [{ type: "put-batch", id: 1 }, "/messages"],
  [{ type: "put-batch", id: 1, messages: "abc" }, "/messages"],
  [{ type: "put-batch", id: 1, messages: [{ text: "a" }, { text: "a", "a/b~": 1 }] }, "/messages/1/a~1b~0"],
  [{ type: "reserve", id: 1, messages: 0, bytes: 1 }, "/messages"],
  [{ type: "reserve", id: 1, messages: 1, bytes: LIMITS.batchBytesMax + LIMITS.headersBytesMax + 1 }, "/bytes"],
  [{ type: "get", id: 1, max: LIMITS.batchMessagesMax + 1 }, "/max"],
  [{ type: "get", id: 1, min: -1 }, "/min"],
];

function formatBatch(length: number): string {
  return JSON.stringify({ type: "put-batch", id: 1, messages: Array.from({ length }, () => ({ text: "" })) });
}

describe("src/protocol/frames", () => {
  test.each(VALID)("[G11] a valid frame is taken as it is: %j", (frame) => {
    expect(parseClientFrame(JSON.stringify(frame))).toEqual({ ok: true, value: frame });
  });

  test.each(INVALID)("[G11] %j is refused at %s", (frame, pointer) => {
    const parsed = parseClientFrame(JSON.stringify(frame));

    expect(parsed).toMatchObject({ ok: false, refusal: { refusal: { kind: "invalid-request", errors: [{ pointer }] } } });
  });

  test.each(["", "{", "\u0000", '{"type":"get","id":1}}'])("[G11] %j is not JSON", (text) => {
    const parsed = parseClientFrame(text);

    expect(parsed).toMatchObject({ ok: false, refusal: { refusal: { kind: "invalid-request", errors: [{ pointer: "" }] } } });
  });

  test.each(["null", "1", '"get"', "[]", "true"])("[G11] %s is no object", (text) => {
    const refusal = { kind: "invalid-request", errors: [{ pointer: "", detail: "Expected a JSON object" }] };

    expect(parseClientFrame(text)).toEqual({ ok: false, refusal: { refusal } });
  });

  test.each(["ack", "", "Put", "toString", "__proto__", "constructor"])(
    "[G11] the type %j is unknown, and the refusal lists the types",
    (type) => {
      const parsed = parseClientFrame(JSON.stringify({ type, id: 7 }));

      const frameTypes = [
        "hello",
        "put",
        "put-batch",
        "reserve",
        "get",
        "pull",
        "settle",
        "cancel",
        "stats",
        "echo",
        "read-checkpoint",
        "write-checkpoint",
        "delete-checkpoint",
        "list-checkpoints",
        "subscribe",
        "credit",
        "unsubscribe",
        "watch",
        "presence",
      ];
      expect(parsed).toEqual({
        ok: false,
        refusal: { refusal: { kind: "unknown-frame", frameType: type, frameTypes }, inReplyTo: 7 },
      });
    },
  );

  test.each([
    '{"type":"put","id":1,"text":"a"}',
    '{"text":"","id":0,"type":"put"}',
    '{"type":"put","id":9007199254740991,"json":null}',
    '{"type":"put","id":1,"base64":"YQ=="}',
    '{"type":"put","id":-0,"text":"a"}',
    '{"type":"put","id":-1,"text":"a"}',
    '{"type":"put","id":1.5,"text":"a"}',
    '{"type":"put","id":9007199254740992,"text":"a"}',
    '{"type":"put","id":"1","text":"a"}',
    '{"type":"put","id":null,"json":1}',
    '{"type":"put","id":1,"text":1}',
    '{"type":"put","id":1,"text":null}',
    String.raw`{"type":"put","id":1,"text":"\ud800"}`,
    '{"type":"put","id":1,"text":"a","json":1}',
    '{"type":"put","id":1,"text":"a","extra":1}',
    '{"type":"put","id":1,"text":"a","__proto__":1}',
    '{"type":"put","id":1,"__proto__":{"text":"a"}}',
    '{"type":"put","id":1,"toString":"a"}',
    '{"type":"put","text":"a","key":"k"}',
    '{"type":"put","id":1}',
    '{"type":"put-batch","id":1,"text":"a"}',
  ])("a put of a body alone is taken, or refused, as its members say: %s", (text) => {
    const frame = JSON.parse(text) as { readonly type: "put" | "put-batch" };
    // Built anew of its members, it has no shortcut.
    const checked = parseWith(v.strictObject(CLIENT_FRAME_SCHEMAS[frame.type].entries), frame);

    expect(parseClientFrame(text)).toMatchObject(checked.ok ? checked : { ok: false, refusal: { refusal: checked.refusal } });
  });

  test.each([
    ['{"text":"a"}', true],
    ['{"json":null}', true],
    ['{"json":[1]}', true],
    ['{"base64":"YQ=="}', true],
    ['{"text":"a","key":"k"}', true],
    ['{"text":1}', false],
    [String.raw`{"text":"\udc00"}`, false],
    ['{"text":"a","extra":1}', false],
    ['{"extra":"a"}', false],
    ['["a"]', false],
    ["null", false],
    ['"text"', false],
  ])("a message of a body alone is taken, or refused, as its members say: %s", (text, isTaken) => {
    const message = JSON.parse(text) as object;
    const checked = parseWith(v.strictObject(putMessageSchema.entries), message);

    expect([parseWith(putMessageSchema, message), checked.ok]).toEqual([checked, isTaken]);
  });

  test("[G6] a refusal repeats at most 64 characters of an unknown type and tells the first fault only", () => {
    const long = parseClientFrame(JSON.stringify({ type: "x".repeat(1000) }));
    const many = parseClientFrame(
      JSON.stringify({ type: "put-batch", id: 1, messages: Array.from({ length: 50 }, () => ({ key: 1 })) }),
    );

    expect(long).toMatchObject({ refusal: { refusal: { frameType: "x".repeat(64) } } });
    expect(many).toMatchObject({ refusal: { refusal: { errors: { length: 1 } } } });
  });

  test("[G11] a refusal names the request it answers where its id can be read", () => {
    const inReplyTo = [
      { type: 1, id: 5 },
      { type: "get", id: 6, max: -1 },
      { type: "get", id: "6" },
      { type: "get", id: -1 },
      { id: 1.5 },
    ].map((frame) => {
      const parsed = parseClientFrame(JSON.stringify(frame));
      return parsed.ok ? "accepted" : parsed.refusal.inReplyTo;
    });

    expect(inReplyTo).toEqual([5, 6, undefined, undefined, undefined]);
  });

  test("[G11] a frame that cannot be read is answered as what it begins as", () => {
    const deep = "[".repeat(LIMITS.jsonLevelsMax + 1) + "]".repeat(LIMITS.jsonLevelsMax + 1);
    const inReplyTo = [
      `{"type":"put","id":5,"json":${deep}}`,
      '{"type":"get","id":6}}',
      '{"type":"put","id":11 ,"text":"a',
      '{"type":"stats","id":7',
      '{"type":"put","id":-8,',
      '{"type":"put", "id":9,',
      `{"type":"put","id":${"9".repeat(16)},`,
      '{"id":10,"type":"put",',
    ].map((text) => {
      const parsed = parseClientFrame(text);
      return parsed.ok ? "accepted" : parsed.refusal.inReplyTo;
    });

    expect(inReplyTo).toEqual([5, 6, 11, undefined, undefined, undefined, undefined, undefined]);
  });

  test("[G6] a batch has at most batchMessagesMax messages", () => {
    expect(parseClientFrame(formatBatch(LIMITS.batchMessagesMax)).ok).toBe(true);
    expect(parseClientFrame(formatBatch(LIMITS.batchMessagesMax + 1))).toMatchObject({
      refusal: { refusal: { errors: [{ pointer: "/messages" }] } },
    });
  });

  test("[G6] a channel's name is safe in an address, and has at most channelNameCharsMax characters", () => {
    const fits = ["a", "0", "Orders.eu_1~x:y-z", "x".repeat(LIMITS.channelNameCharsMax)];
    const fails = ["", ".", "-a", "a/b", "a b", "é", "a%20", "a\n", "x".repeat(LIMITS.channelNameCharsMax + 1)];

    expect(fits.map((name) => v.is(channelNameSchema, name))).toEqual(fits.map(() => true));
    expect(fails.map((name) => v.is(channelNameSchema, name))).toEqual(fails.map(() => false));
  });
});

/** Limits that no client can notice: they may change at any time. */
const INTERNAL_LIMITS =
  /^(rowBytes|segment|headWindow|commitQueue|turnOperations|directoryShards|browseRecords|scheduledEntry|alarmCommits|relayMove|skip)/;

/** A schema as data: types, members, and the bounds of its checks; without wording. */
function describeSchema(schema: unknown): unknown {
  if (schema instanceof RegExp) return String(schema);
  if (Array.isArray(schema)) return schema.map(describeSchema);
  if (typeof schema !== "object" || schema === null) return typeof schema === "function" ? "function" : schema;
  const shown = ["type", "requirement", "entries", "item", "key", "value", "wrapped", "literal", "options", "pipe"];
  const isNamed = "kind" in schema;
  const members = Object.entries(schema).filter(([name]) => !isNamed || shown.includes(name));
  // A pipe lists its own schema first.
  return Object.fromEntries(
    members.map(([name, value]) => [name, describeSchema(name === "pipe" ? (value as unknown[]).slice(1) : value)]),
  );
}

describe("src/protocol/names", () => {
  test("[CP1] a checkpoint's name has the alphabet of a channel's", () => {
    const fits = ["a", "0", "Orders.eu_1~x:y-z", "x".repeat(LIMITS.checkpointNameCharsMax)];
    const fails = ["", ".", "-a", "a/b", "a b", "é", "a%20", "a\n", "x".repeat(LIMITS.checkpointNameCharsMax + 1)];

    expect(fits.map((name) => v.is(checkpointNameSchema, name))).toEqual(fits.map(() => true));
    expect(fails.map((name) => v.is(checkpointNameSchema, name))).toEqual(fails.map(() => false));
  });
});

describe("src/protocol", () => {
  test("the protocol has the fingerprint that it had", () => {
    const wire = {
      subprotocol: SUBPROTOCOL_JSON,
      versions: PROTOCOL_VERSIONS,
      closeCodes: CLOSE_CODES,
      frames: describeSchema(CLIENT_FRAME_SCHEMAS),
      settings: describeSchema([givenSettingsSchema, channelPatchSchema]),
      names: describeSchema([channelNameSchema, checkpointNameSchema]),
      limits: Object.fromEntries(Object.entries(LIMITS).filter(([name]) => !INTERNAL_LIMITS.test(name))),
      problems: PROBLEM_TYPES,
    };

    const fingerprint = createHash("sha256").update(JSON.stringify(wire)).digest("hex").slice(0, 16);

    const remedy = `What goes over the wire has changed. Within a version members, frame types and problem kinds are only added, and limits only
raised: if that is so, write the change into PROTOCOL.md and put the new fingerprint here. Otherwise add a version to PROTOCOL_VERSIONS.`;
    expect({ fingerprint, remedy }).toEqual({ fingerprint: "08e83b389545c839", remedy });
  });

  test("the fingerprint sees bounds, members and types", () => {
    const described = JSON.stringify(describeSchema(CLIENT_FRAME_SCHEMAS.get));

    expect(described).toContain(`"type":"max_value","requirement":${LIMITS.batchMessagesMax}`);
    expect(described).toContain('"waitMs":{"type":"optional"');
    expect(JSON.stringify(describeSchema(CLIENT_FRAME_SCHEMAS.put))).toContain('"type":"max_bytes"');
  });
});
