// The time that the command line gives a server for its answer over HTTP.
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import { fetchInTime } from "../../src/cli/command-line/answer-time.ts";
import type { Command } from "../../src/cli/command-line/command.ts";
import { describeFailure } from "../../src/cli/command-line/failure.ts";
import { Given } from "../../src/cli/command-line/given.ts";
import { Output } from "../../src/cli/command-line/output.ts";
import { Session } from "../../src/cli/command-line/session.ts";
import { CHANNELS, STATS } from "../../src/cli/commands/channels.ts";
import { MOVE } from "../../src/cli/commands/move.ts";
import { PUT } from "../../src/cli/commands/put.ts";
import { TAIL } from "../../src/cli/commands/tail.ts";

const JSON_HEADERS = { "Content-Type": "application/json" };
const LONGEST_PAUSE_MS = 1000;

/** Timers of deadlines go off when they are told to; pauses before a repetition are over at once. */
class Timers {
  readonly #running = new Map<() => void, number>();

  readonly start = (callback: () => void, delayMs: number): (() => void) => {
    if (delayMs < LONGEST_PAUSE_MS) {
      queueMicrotask(callback);
      return () => undefined;
    }
    this.#running.set(callback, delayMs);
    return () => void this.#running.delete(callback);
  };

  get delays(): readonly number[] {
    return [...this.#running.values()];
  }

  fire(): void {
    const due = [...this.#running.keys()];
    this.#running.clear();
    for (const callback of due) callback();
  }
}

interface Asked {
  readonly session: Session;
  readonly timers: Timers;
  readonly requests: string[];
}

/** A session with a server that does what it is told with each request. */
async function ask(serve: (timers: Timers) => RequestListener): Promise<Asked> {
  const timers = new Timers();
  const requests: string[] = [];
  const server = createServer((request, reply) => {
    requests.push(`${request.method} ${request.url}`);
    serve(timers)(request, reply);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stream = new PassThrough() as unknown as NodeJS.WriteStream;
  const session = new Session({
    url,
    token: undefined,
    input: new PassThrough() as unknown as NodeJS.ReadStream,
    output: new Output(stream, { wantsJson: false }),
    errors: stream,
    signal: new AbortController().signal,
    startTimer: timers.start,
  });
  return { session, timers, requests };
}

async function failureOf(command: Command, args: readonly string[], { session }: Asked): Promise<object> {
  const error: unknown = await command.run(Given.parse(args, command), session).catch((reason: unknown) => reason);
  return describeFailure(error, "URL");
}

describe("src/cli/command-line/answer-time", () => {
  test.each([
    ["stats", STATS, ["c"], "30 s"],
    ["channels", CHANNELS, [], "30 s"],
    ["tail, which asks once before it connects", TAIL, ["c"], "30 s"],
    ["put", PUT, ["c", "a"], "30 s, and may have done what was asked"],
    ["put --wait", PUT, ["c", "a", "--wait", "5m", "--idempotency-key", "k"], "330 s, and may have done what was asked"],
    ["move", MOVE, ["c", "--to", "weur"], "630 s, and may have done what was asked"],
  ] as const)("a server that never answers cannot be reached, and is asked once: %s", async (_, command, args, time) => {
    const asked = await ask((timers) => () => timers.fire());

    expect(await failureOf(command, args, asked)).toEqual({
      exitCode: 3,
      line: `Cannot reach the server at URL (it did not answer within ${time}): start it with npm start, or set EDGE_CHANNEL_URL`,
    });
    expect(asked.requests.length).toBe(1);
  });

  test("neither can one that never ends its answer", async () => {
    const { session, timers } = await ask(() => (_, reply) => void reply.writeHead(200, JSON_HEADERS).write('{"depth":'));
    const late = fetchInTime(async (url, init) => {
      const reply = await fetch(url, init);
      // By then the body is being read.
      setImmediate(() => timers.fire());
      return reply;
    }, timers.start);

    await expect(late(`${session.url}/v1/channels/c`, { method: "GET" })).rejects.toThrow("it did not answer within 30 s");
  });

  test("what is large has the time that it takes on a slow connection: what is sent, and what comes", async () => {
    const timers = new Timers();
    const delays: (readonly number[])[] = [];
    const pull = (body: ReadableStreamDefaultController<Uint8Array>): void => {
      delays.push(timers.delays);
      if (delays.length === 1) return body.enqueue(new Uint8Array(640_000).fill(0x20));
      timers.fire();
      delays.push(timers.delays);
      body.close();
    };
    const body = new ReadableStream<Uint8Array>({ pull }, { highWaterMark: 0 });
    const slow = fetchInTime(async () => new Response(body, { headers: JSON_HEADERS }), timers.start);
    const reply = await slow("http://server/v1/channels/c/messages/batch", { method: "POST", body: "x".repeat(1_280_000) });

    expect((await reply.arrayBuffer()).byteLength).toBe(640_000);
    expect(delays).toEqual([[50_000], [50_000], [10_000]]);
    expect(timers.delays).toEqual([]);
  });

  test("an answer in time is the answer, and stops the time", async () => {
    const { session, timers } = await ask(() => (_, reply) => reply.writeHead(200, JSON_HEADERS).end('{"depth":7}'));

    expect(await session.channel("c").stats()).toEqual({ depth: 7 });
    expect(timers.delays).toEqual([]);
  });
});
