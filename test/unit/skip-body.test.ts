// Bodies of requests that are refused: read before the reply where the reply would be lost otherwise.
import { afterEach, describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { skipBody } from "../../src/worker/skip-body.ts";

const SKIP_MS_MAX = LIMITS.skipMsMax;
const CHUNK_BYTES = 65_536;

interface Sent {
  readonly request: Request;
  /** Chunks that were taken of the body. */
  taken: number;
}

/** A request whose body comes in chunks, and after `chunks` of them ends, or does not go on. */
function send(chunks: number, headers: Record<string, string>, isStuck = false): Sent {
  const sent = { taken: 0 };
  const body = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        if (sent.taken === chunks) {
          if (!isStuck) controller.close();
          return;
        }
        sent.taken += 1;
        controller.enqueue(new Uint8Array(CHUNK_BYTES));
      },
    },
    { highWaterMark: 0 },
  );
  const request = new Request("http://service.test/", { method: "PUT", body, headers, duplex: "half" });
  return Object.assign(sent, { request });
}

afterEach(() => void Object.assign(LIMITS, { skipMsMax: SKIP_MS_MAX }));

describe("src/worker/skip-body", () => {
  test("[G6] a body that was refused is read to its end, so that the refusal is heard", async () => {
    const sent = send(20, { "Content-Length": String(20 * CHUNK_BYTES) });
    await skipBody(sent.request);

    expect(sent.taken).toBe(20);
  });

  test.each<[string, Record<string, string>]>([
    ["one that is larger than skippedBytesMax", { "Content-Length": String(LIMITS.skippedBytesMax + 1) }],
    ["one that is held back until it is asked for", { "Content-Length": "1000", Expect: "100-continue" }],
    ["one without a length", {}],
  ])("[G6] not %s", async (_name, headers) => {
    const sent = send(20, headers);
    await skipBody(sent.request);

    expect(sent.taken).toBe(0);
  });

  test("[G6] one that does not come is not waited for any longer than skipMsMax", async () => {
    Object.assign(LIMITS, { skipMsMax: 1 });
    const sent = send(2, { "Content-Length": String(20 * CHUNK_BYTES) }, true);
    await skipBody(sent.request);

    expect(sent.taken).toBe(2);
  });

  test("one that was read, or is none, is left alone", async () => {
    const sent = send(1, { "Content-Length": String(CHUNK_BYTES) });
    await sent.request.arrayBuffer();
    await skipBody(sent.request);
    await skipBody(new Request("http://service.test/"));

    expect(sent.taken).toBe(1);
  });
});
