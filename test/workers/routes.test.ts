// Workers that know other routes to the same channel, side by side: through creation, moves and growth. SPEC rules NM1 to NM5.
import { env } from "cloudflare:workers";
import { describe, expect, test, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { app } from "../../src/worker/app.ts";
import { RouteCache, routesOf } from "../../src/worker/route-cache.ts";
import { passTime, silenceWarnings } from "./inside.ts";
import { freshChannel, ORIGIN, pathOf, read, type PulledJson, type PutJson } from "./service.ts";

/** A worker with routes of its own. */
class Worker {
  readonly #env = { ...env };

  call(method: string, path: string, json?: object): Promise<Response> {
    const headers = { "Content-Type": "application/json" };
    const init = json === undefined ? { method } : { method, headers, body: JSON.stringify(json) };
    return Promise.resolve(app.fetch(new Request(ORIGIN + path, init), this.#env));
  }

  async put(channel: string, text: string, query = ""): Promise<number | null> {
    const body = { messages: [{ text }] };
    return (await read<PutJson>(this.call("POST", pathOf(channel, `/messages/batch${query}`), body), 201)).offset;
  }

  async pull(channel: string, take: object = {}): Promise<unknown[]> {
    const path = pathOf(channel, "/messages/pull");
    return (await read<PulledJson>(this.call("POST", path, { ack: "auto", ...take }))).messages.map(({ text }) => text);
  }

  async move(channel: string, locationHint: string): Promise<void> {
    await read(this.call("POST", pathOf(channel, "/move"), { locationHint }));
  }

  async openSocket(channel: string): Promise<WebSocket> {
    const headers = { Upgrade: "websocket", "Sec-WebSocket-Protocol": "channel.v1.json" };
    const reply = await app.fetch(new Request(ORIGIN + pathOf(channel, "/socket"), { headers }), this.#env);
    if (reply.webSocket === null) throw new Error(`No socket: ${reply.status}`);
    reply.webSocket.accept();
    return reply.webSocket;
  }

  knownEpoch(channel: string): number | undefined {
    return routesOf(this.#env).find(channel)?.epoch;
  }
}

silenceWarnings();

describe("routes", () => {
  test("[NM2] [NM3] [NM5] workers with no route, old and new ones serve the same channel through creation, moves and growth", async () => {
    const channel = freshChannel();
    const [first, second, third] = [new Worker(), new Worker(), new Worker()];
    const settings = { maxMessages: 2, maxBytes: 1_000_000, growth: { factor: 2, maxMessages: 64, maxBytes: 1_000_000 } };
    const created = await Promise.all([first, second].map((worker) => worker.call("PUT", pathOf(channel), settings)));
    expect(created.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 201]);
    const workers = [first, second, third];
    const texts: string[] = [];
    const offsets: (number | null)[] = [];
    const putAll = async (): Promise<void> => {
      for (const worker of workers) {
        texts.push(`message ${texts.length}`);
        offsets.push(await worker.put(channel, texts.at(-1) ?? ""));
      }
    };
    await putAll();
    expect(workers.map((worker) => worker.knownEpoch(channel))).toEqual([undefined, undefined, undefined]);

    // The second learns of the first move, and of the second by the object that it knows; the third of none but the last.
    await first.move(channel, "weur");
    texts.push("second alone");
    offsets.push(await second.put(channel, "second alone"));
    expect([second.knownEpoch(channel), third.knownEpoch(channel)]).toEqual([1, undefined]);
    await first.move(channel, "apac");
    await putAll();
    expect(workers.map((worker) => worker.knownEpoch(channel))).toEqual([2, 2, 2]);

    // Growth has put control records between them.
    expect(offsets).toEqual(offsets.toSorted((a, b) => Number(a) - Number(b)));
    expect(new Set(offsets).size).toBe(texts.length);
    expect(await third.pull(channel, { max: 60 })).toEqual(texts);
  });

  test("[NM3] sockets and waits find the new place too, by an old route and by none", async () => {
    const channel = freshChannel();
    const [stale, fresh] = [new Worker(), new Worker()];
    await stale.put(channel, "one");
    await stale.move(channel, "weur");
    await stale.put(channel, "two");
    await fresh.move(channel, "apac");
    expect(stale.knownEpoch(channel)).toBe(1);

    const socket = await stale.openSocket(channel);
    const welcome = new Promise((resolve) => socket.addEventListener("message", ({ data }) => resolve(JSON.parse(String(data)))));
    socket.send(JSON.stringify({ type: "hello", versions: [1] }));
    expect(await welcome).toMatchObject({ type: "welcome", channel });
    expect(stale.knownEpoch(channel)).toBe(2);
    expect(await fresh.pull(channel, { max: 9 })).toEqual(["one", "two"]);

    // It waits at one place, and is served at the next.
    const waiting = stale.pull(channel, { max: 1, waitMs: 60_000 });
    await vi.waitUntil(async () => (await read<{ waiters: number }>(fresh.call("GET", pathOf(channel)))).waiters === 1);
    await fresh.move(channel, "enam");
    await fresh.put(channel, "three");
    expect(await waiting).toEqual(["three"]);
    socket.close();
  });

  test("[NM3] a route is known for a minute, and only so many", async () => {
    const channel = freshChannel();
    const worker = new Worker();
    await worker.put(channel, "one");
    await worker.move(channel, "weur");
    await worker.put(channel, "two");
    expect(worker.knownEpoch(channel)).toBe(1);
    passTime(LIMITS.routeMs);
    expect(worker.knownEpoch(channel)).toBeUndefined();
    expect(await worker.pull(channel, { max: 9 })).toEqual(["one", "two"]);

    const cache = new RouteCache();
    for (let place = 0; place <= LIMITS.routesMax; place++) cache.keep(`c${place}`, { epoch: 1, generation: 1 });
    expect([cache.size, cache.find("c0"), cache.find("c1")?.epoch]).toEqual([LIMITS.routesMax, undefined, 1]);
  });
});
