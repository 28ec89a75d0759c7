// PROTOCOL.md keeps its word: its example frames are read as the server reads them, and hold against what it sends.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { assert, describe, expect, test } from "vitest";
import { readFrame } from "../../src/object/socket-frames.ts";
import { CLIENT_FRAME_SCHEMAS } from "../../src/protocol/frames.ts";
import { messageBytes, parsePutMessage, putMessageSchema, type PutMessageJson } from "../../src/protocol/message.ts";
import { parseWith } from "../../src/protocol/fault.ts";
import { findFaults, SERVER_FRAME_TYPES } from "../server-frames.ts";

const TEXT = readFileSync(resolve(import.meta.dirname, "../../src/protocol/PROTOCOL.md"), "utf8");
const LINES = TEXT.split("\n");
/** The table of frames in the section on WebSocket. */
const TABLE = LINES.slice(LINES.indexOf("## WebSocket")).filter((line) => line.startsWith("|"));

interface ExampleFrame {
  readonly type: string;
  readonly messages?: readonly (PutMessageJson & Readonly<Record<string, unknown>>)[];
  readonly bytes?: number;
}

/** As it counts against credit, put back into the form in which it was put. */
function sizeOf({ contentType, key, messageId, headers, json, text, base64 }: PutMessageJson): number {
  const body = {
    ...(json !== undefined && { json }),
    ...(text !== undefined && { text }),
    ...(base64 !== undefined && { base64 }),
  };
  const parsed = parsePutMessage({ contentType, key, messageId, headers, ...body }, "");
  assert(parsed.ok);
  return messageBytes(parsed.value);
}

function examplesOf(sign: "<" | ">"): readonly string[] {
  const start = `    ${sign} `;
  return LINES.filter((line) => line.startsWith(`${start}{`)).map((line) => line.slice(start.length));
}

describe("src/protocol/PROTOCOL.md", () => {
  test.each(examplesOf(">"))("[protocol:websocket] the server takes the example %s", (example) => {
    const { type } = JSON.parse(example) as ExampleFrame;
    const action = { hello: "greet", echo: "hear" }[type] ?? "operate";
    expect(readFrame(example, { hasGreeted: true }).type).toBe(action);
  });

  test.each(examplesOf("<"))("[protocol:websocket] the example %s is what the server sends", (example) => {
    expect(findFaults(JSON.parse(example))).toEqual([]);
  });

  test("[protocol:websocket] there are examples of both sides, and none leaves anything out", () => {
    const examples = [...examplesOf(">"), ...examplesOf("<")];
    expect(examples.length).toBeGreaterThan(15);
    expect(examples.filter((example) => example.includes("…"))).toEqual([]);
    // Every line of code in this section is an example of a frame: JSON, or the bytes of a binary one (binary-frames.test.ts).
    const section = LINES.slice(LINES.indexOf("## WebSocket"), LINES.indexOf("## Refusals"));
    expect(section.filter((line) => line.startsWith("    ") && !/^ {4}[<>] (?:\{|[0-9a-f ]+$)/u.test(line))).toEqual([]);
  });

  test("[SB2] the bytes of the examples are those that credit counts", () => {
    const frames = examplesOf("<").map((example) => JSON.parse(example) as ExampleFrame);
    const counted = frames.flatMap(({ type, messages = [], bytes }) =>
      type === "deliver" ? [[bytes, messages.reduce((sum, form) => sum + sizeOf(form), 0)]] : [],
    );
    expect(counted.length).toBeGreaterThan(1);
    for (const [told, size] of counted) expect(told).toBe(size);
  });

  test("[protocol:websocket] every frame is in the table, or told before it", () => {
    const told = ["hello", "welcome", "joined", "wait"];
    const named = TABLE.join("\n");
    const missing = [...Object.keys(CLIENT_FRAME_SCHEMAS), ...SERVER_FRAME_TYPES].filter(
      (type) => !named.includes(`\`${type}\``) && !told.includes(type),
    );
    expect(missing).toEqual([]);
  });

  test("the example of a message is one that can be put and shown", () => {
    const [example = ""] = LINES.filter((line) => line.startsWith('    {"offset"'));
    const { offset, putAtMs, ...form } = JSON.parse(example) as Record<string, unknown>;
    expect([offset, putAtMs]).toEqual([7, 1795474858065]);
    const parsed = parseWith(putMessageSchema, form);
    assert(parsed.ok);
    expect(parsePutMessage(parsed.value, "").ok).toBe(true);
  });

  test.each([
    [{ type: "put-ok", id: 1 }, "put-ok offset"],
    [{ type: "wait", id: 1, more: 1 }, "wait more"],
    [{ type: "wait", id: -1 }, "wait id"],
    [{ type: "waits", id: 1 }, "There is no frame of type waits"],
  ])("what is no frame of the server is found: %j", (frame, fault) => {
    expect(findFaults(frame)[0]).toContain(fault);
  });
});
