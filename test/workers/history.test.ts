// The history of a message over HTTP and WebSocket, with its rows. SPEC section HS.
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { messageHistorySchema, type MessageHistory } from "../../src/protocol/history.ts";
import { hibernate } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  entriesOf,
  lease,
  openSocket,
  type PulledJson,
  pathOf,
  put,
  putBatch,
  read,
  readProblem,
  settle,
} from "./service.ts";

async function historyOf(channel: string, offset = 1): Promise<MessageHistory> {
  const history = await read<MessageHistory>(call("GET", pathOf(channel, `/messages/${offset}/history`)));
  return v.parse(messageHistorySchema, history) as MessageHistory;
}

function pullAs(channel: string, reader: unknown, more: object = {}): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/pull"), { json: { reader, ...more } });
}

describe("src/worker/history-routes", () => {
  test("[HS1] says by whom and from where a message was put over HTTP", async () => {
    const channel = await createChannel();
    const headers = { "Producer-Id": "shop:1", "Producer-Epoch": "1", "Producer-Seq": "1" };
    await read(call("POST", pathOf(channel, "/messages"), { body: "a", headers, colo: "SIN" }), 201);
    await read(call("POST", pathOf(channel, "/messages/batch"), { json: { messages: [{ text: "b" }] }, colo: "FRA" }), 201);
    await read(call("POST", pathOf(channel, "/messages/settle"), { json: { puts: [{ text: "c" }] }, colo: "LHR" }));
    await hibernate(channel);

    const puts = [await historyOf(channel, 1), await historyOf(channel, 2), await historyOf(channel, 3)].map((one) => one.put);

    expect(puts).toMatchObject([
      { via: "http", colo: "SIN", producer: "shop:1" },
      { via: "http", colo: "FRA" },
      { via: "http", colo: "LHR" },
    ]);
    const { messages } = await lease(channel);
    expect(Object.keys(messages?.[0] ?? {})).not.toContain("source");
  });

  test("[HS1] says the same of a socket, where the upgrade tells the colo", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel, { colo: "SIN" });
    await socket.ask({ type: "put", id: 1, text: "a", producer: { id: "shop", epoch: 1, seq: 1 } });
    await socket.ask({ type: "put-batch", id: 2, messages: [{ text: "b" }] });
    await socket.ask({ type: "settle", id: 3, puts: [{ text: "c" }] });
    await hibernate(channel);
    await socket.ask({ type: "put", id: 4, text: "d" });

    const puts = await Promise.all([1, 2, 3, 4].map(async (offset) => (await historyOf(channel, offset)).put));

    const from = { via: "socket", colo: "SIN" };
    expect(puts).toMatchObject([{ ...from, producer: "shop" }, from, from, from]);
    const local = await openSocket(channel);
    await local.ask({ type: "put", id: 1, text: "e" });
    expect((await historyOf(channel, 5)).put).toEqual({ atMs: expect.any(Number), via: "socket" });
  });

  test("[HS2] each attempt is told, with its reader, verdict and reason, and the one that goes on", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    const first = await read<PulledJson>(pullAs(channel, "billing-1"));
    await settle(channel, { retries: entriesOf(first.messages, { delayMs: 0, reason: "busy" }) });
    const socket = await openSocket(channel);
    await socket.ask({ type: "pull", id: 1, reader: "billing-2" });
    await hibernate(channel);

    const { groups } = await historyOf(channel);

    expect(groups).toMatchObject([
      {
        group: "default",
        state: "leased",
        attempts: 2,
        omitted: 0,
        events: [
          { attempt: 1, reader: "billing-1", verdict: "retried", reason: "busy" },
          { attempt: 2, reader: "billing-2" },
        ],
      },
    ]);
    expect(groups[0]?.events[1]).not.toHaveProperty("endedAtMs");
  });

  test("[HS2] a pull that waited, over HTTP and on a socket through an eviction, has its reader too", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    expect(await socket.ask({ type: "pull", id: 1, waitMs: 60_000, reader: "patient" })).toMatchObject({ type: "wait" });
    await hibernate(channel);
    await put(channel, "a");
    expect(await socket.next()).toMatchObject({ type: "got" });
    const waiting = pullAs(channel, "bridge", { waitMs: 60_000 });
    await expect.poll(async () => (await describeChannel(channel)).waiting.gets).toBe(1);
    await put(channel, "b");
    await read(waiting);

    const readers = await Promise.all([1, 2].map(async (offset) => (await historyOf(channel, offset)).groups[0]?.events));

    expect(readers).toMatchObject([[{ reader: "patient" }], [{ reader: "bridge" }]]);
  });

  test("[HS6] a dead letter keeps it, and without either it is unknown", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    await settle(channel, { rejects: entriesOf((await lease(channel)).messages, { reason: "bad" }) });
    await hibernate(channel);

    const { groups } = await historyOf(channel);

    expect(groups).toMatchObject([{ state: "dead-lettered", attempts: 1, events: [{ verdict: "rejected", reason: "bad" }] }]);
    await read(call("POST", pathOf(channel, "/dead-letters/drop")));
    const problem = await readProblem(call("GET", pathOf(channel, "/messages/1/history")));
    expect(problem).toMatchObject({ kind: "unknown-message", status: 404, offset: 1 });
  });

  test("[HS5] what is asked wrongly is refused, with a pointer", async () => {
    const channel = await createChannel();
    for (const reader of ["", "a b", "-a", "x".repeat(129), 7, null, ["a"]]) {
      expect((await readProblem(pullAs(channel, reader)))["errors"]).toMatchObject([{ pointer: "/reader" }]);
    }
    expect((await readProblem(pullAs(channel, "a", { ack: "auto" })))["errors"]).toMatchObject([{ pointer: "/reader" }]);
    for (const [rest, pointer] of [
      ["/messages/0/history", "/path/offset"],
      ["/messages/x/history", "/path/offset"],
      ["/messages/1/history?a=1", "/query/a"],
    ] as const) {
      expect((await readProblem(call("GET", pathOf(channel, rest))))["errors"]).toMatchObject([{ pointer }]);
    }
    expect(await readProblem(call("POST", pathOf(channel, "/messages/1/history")))).toMatchObject({ kind: "method-not-allowed" });
    expect(await readProblem(call("GET", "/v1/channels/nowhere/messages/1/history"))).toMatchObject({ kind: "unknown-channel" });
  });

  test("[HS3] histories cost no rows: a batch that is given back and leased again writes what it did without", async () => {
    const channel = await createChannel();
    const rowsOf = async (work: () => Promise<unknown>): Promise<number> => {
      const before = (await describeChannel(channel)).rows.written;
      await work();
      return (await describeChannel(channel)).rows.written - before;
    };
    await putBatch(channel, Array.from({ length: 100 }, String));
    let { messages } = await lease(channel, { max: 100 });
    const rows: number[] = [];
    for (let round = 0; round < 3; round++) {
      rows.push(await rowsOf(() => settle(channel, { retries: entriesOf(messages, { delayMs: 0, reason: "again" }) })));
      rows.push(await rowsOf(async () => ({ messages } = await lease(channel, { max: 100 }))));
      rows.push(await rowsOf(() => historyOf(channel)));
    }

    // The deferred row comes as the leased row goes, and the other way round.
    expect(rows).toEqual([2, 2, 0, 2, 2, 0, 2, 2, 0]);
  });
});
