// What travels between workers and the object: unpacked it is what was packed.
import { listMessages } from "../../src/channel/put-batch.ts";
import { assert, describe, expect, test } from "vitest";
import type { Operation, OperationOf } from "../../src/channel/operation.ts";
import { packOperation, packOutcome, unpackOperation } from "../../src/object/packing.ts";
import { Block } from "../../src/protocol/block.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import type { PutMessage } from "../../src/protocol/message.ts";
import { parsePutBody } from "../../src/protocol/put-frame.ts";
import { putFrame, textRecord } from "../binary-frames.ts";

function passOn(operation: Operation): Operation {
  return unpackOperation(structuredClone(packOperation(operation)));
}

const MESSAGES: readonly PutMessage[] = [
  { body: encodeUtf8("grün"), presentation: "text", contentType: "text/plain; charset=utf-8" },
  { body: new Uint8Array(0), presentation: "bytes", contentType: "application/octet-stream", key: "k", messageId: "ü", ttlMs: 9 },
  { body: encodeUtf8("null"), presentation: "json", contentType: "a/b; c=d", headers: { a: "", b: "ß" }, redrivenFrom: 2 ** 40 },
];

describe("src/object/packing", () => {
  test("the messages of a put without delays stay in the block that they came in", () => {
    const { messages } = passOn({ type: "put", messages: MESSAGES }) as OperationOf<"put">;

    expect(messages).toBeInstanceOf(Block);
    expect(listMessages(messages)).toEqual(MESSAGES);
  });

  test("a block that is put is passed on as it is, in memory of its own", () => {
    const block = parsePutBody(new Uint8Array(putFrame({}, [textRecord("a"), textRecord("b", { key: "k" })])));
    assert(block.ok);

    const { messages } = passOn({ type: "put", messages: block.value }) as OperationOf<"put">;

    expect(messages).toBeInstanceOf(Block);
    expect(listMessages(messages)).toEqual(listMessages(block.value));
  });

  test("a put keeps its messages, their order and all that belongs to it", () => {
    const put: Operation = {
      type: "put",
      messages: MESSAGES,
      delays: [{ index: 1, pointer: "/messages/1", delay: { afterMs: 5 } }],
      producer: { id: "p", epoch: 0, seq: 7 },
      expectedOffset: 9,
    };

    expect(passOn(put)).toEqual(put);
  });

  test("a settle call keeps its entries and its riders", () => {
    const settle: Operation = {
      type: "settle",
      entries: [
        { verb: "ack", leaseId: "0-1-1-a", pointer: "/acks/0/leaseId" },
        { verb: "retry", leaseId: "0-2-1-a", pointer: "/retries/0/leaseId", delayMs: 0, reason: "ß" },
      ],
      checkpoint: { name: "c", value: new Uint8Array([0, 255]), contentType: "a/b", ifMatch: "absent" },
      puts: MESSAGES,
    };

    expect(passOn(settle)).toEqual(settle);
  });

  test("other operations and outcomes are passed on as they are", () => {
    const get: Operation = { type: "get", max: 3, lease: { leaseMs: 1000, isDetached: true } };

    expect(passOn(get)).toEqual(get);
    expect(packOutcome({ type: "purged", removedMessages: 3 })).toEqual({ type: "purged", removedMessages: 3 });
  });

  test("taken messages become the members of a JSON reply", () => {
    const message = {
      ...MESSAGES[0],
      body: encodeUtf8("a"),
      presentation: "text",
      contentType: "a/b",
      offset: 3,
      putAtMs: 4,
    } as const;

    const packed = packOutcome({ type: "got", messages: [message], controls: [] });

    const takenJson = '"messages":[{"offset":3,"putAtMs":4,"contentType":"a/b","text":"a"}]';
    expect(packed).toEqual({ type: "got", count: 1, takenJson });
  });
});
