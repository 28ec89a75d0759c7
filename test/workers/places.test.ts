// Where a request was made: what the runtime says, and in development on loopback what the request chooses.
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { Env } from "../../src/object/env.ts";
import { PLACE_HEADER } from "../../src/protocol/place.ts";
import type { MessageHistory } from "../../src/protocol/history.ts";
import worker from "../../src/worker/index.ts";
import { findPlace } from "../../src/worker/place.ts";
import { call, freshChannel, openSocket, pathOf, read } from "./service.ts";

const TOKEN = "s3cret-token";
const CHOSEN = { "Edge-Colo": "GRU", "Edge-Country": "BR", "Edge-Continent": "SA", "Edge-Region": "sam" };

interface Asked {
  readonly at: "http://localhost" | "https://channels.example.com";
  readonly headers: Readonly<Record<string, string>>;
}

/** The colo that is kept of a put to a service whose development is switched on, and which has a token. */
async function putFrom({ at, headers }: Asked): Promise<string | undefined> {
  const { CHANNELS, DIRECTORY } = env;
  const variables: Env = { CHANNELS, DIRECTORY, AUTO_CREATE: "true", DEVELOPMENT: "1", API_TOKEN: TOKEN };
  const channel = freshChannel();
  const init = { headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "text/plain", ...headers }, cf: { colo: "FRA" } };
  const send = (path: string, more: RequestInit): Promise<Response> =>
    Promise.resolve(worker.fetch(new Request(at + pathOf(channel, path), { ...init, ...more }), variables));
  await read(send("/messages", { method: "POST", body: "a" }), 201);
  const { put } = await read<MessageHistory>(send("/messages/1/history", {}));
  return put.colo;
}

/** The place of a request to a deployment, of which the runtime tells this. */
function placeOf(cf: Readonly<Record<string, string>>): unknown {
  return findPlace(new Request("https://channels.example.com", { cf }), env);
}

describe("src/worker/place", () => {
  test("[protocol:places] a request says in development where it was made", async () => {
    expect(await putFrom({ at: "http://localhost", headers: CHOSEN })).toBe("GRU");
  });

  test("[protocol:places] a deployment believes the runtime, and no header", async () => {
    const forged = { ...CHOSEN, [PLACE_HEADER]: "GRU/sam/SA/BR" };

    expect(await putFrom({ at: "https://channels.example.com", headers: forged })).toBe("FRA");
  });

  test("[protocol:places] of a colo that is not in the table the runtime tells the continent and the country", () => {
    expect(placeOf({ colo: "QQQ", continent: "AF", country: "KE" })).toEqual({ colo: "QQQ", continent: "AF", country: "KE" });
    expect(placeOf({ colo: "QQQ" })).toEqual({ colo: "QQQ" });
    // What the table knows, it says.
    expect(placeOf({ colo: "FRA", continent: "AF", country: "KE" })).toEqual({
      colo: "FRA",
      region: "weur",
      continent: "EU",
      country: "DE",
    });
    expect(placeOf({ continent: "AF" })).toBeUndefined();
  });

  test("[protocol:places] what a client sends under the worker's own header is not passed on", async () => {
    const channel = freshChannel();
    const socket = await openSocket(channel, { colo: "SIN", headers: { [PLACE_HEADER]: "GRU/sam/SA/BR" } });
    await socket.ask({ type: "put", id: 1, text: "a" });

    const { put } = await read<MessageHistory>(call("GET", pathOf(channel, "/messages/1/history")));

    expect(put.colo).toBe("SIN");
  });
});

interface ReadersJson {
  readonly readers: readonly { readonly id: string; readonly colo: string | null; readonly connections: number }[];
  readonly colos: readonly { readonly colo: string | null; readonly readers: number; readonly producers: number }[];
  readonly next: string | null;
}

/** Calls the service in development, from where the headers say. */
function callFrom(
  headers: Readonly<Record<string, string>>,
  method: string,
  path: string,
  more: RequestInit = {},
): Promise<Response> {
  const { CHANNELS, DIRECTORY } = env;
  const variables: Env = { CHANNELS, DIRECTORY, AUTO_CREATE: "true", DEVELOPMENT: "1" };
  const init = { method, headers: { "Content-Type": "application/json", ...headers }, ...more };
  return Promise.resolve(worker.fetch(new Request(`http://localhost${path}`, init), variables));
}

describe("GET /v1/channels/{channel}/readers", () => {
  test("[RG1] shows readers and producers of several colos, over real sockets", async () => {
    const channel = freshChannel();
    await read(
      callFrom({ "Edge-Colo": "GRU", "Content-Type": "text/plain" }, "POST", pathOf(channel, "/messages"), { body: "a" }),
      201,
    );
    for (const colo of ["FRA", "FRA", "SIN"]) {
      const socket = await openSocket(channel, { colo });
      await socket.ask({ type: "subscribe", id: 1, credit: { messages: 5 }, reader: "worker" });
    }
    const pull = { body: JSON.stringify({ group: "default", reader: "puller", max: 1 }) };
    await read(callFrom({ "Edge-Colo": "NRT" }, "POST", pathOf(channel, "/messages/pull"), pull), 200);

    const { readers, colos } = await read<ReadersJson>(call("GET", pathOf(channel, "/readers")));

    expect(readers.map(({ id, colo, connections }) => [id, colo, connections])).toEqual(
      expect.arrayContaining([
        ["worker", "FRA", 2],
        ["worker", "SIN", 1],
        ["~http", "GRU", 0],
      ]),
    );
    expect(readers.find(({ id }) => id === "worker")).toMatchObject({ region: "weur", continent: "EU", country: "DE" });
    expect(colos).toEqual(
      expect.arrayContaining([
        { colo: "FRA", readers: 1, producers: 0 },
        { colo: "GRU", readers: 0, producers: 1 },
      ]),
    );
    const page = await read<ReadersJson>(call("GET", pathOf(channel, "/readers?colo=SIN&role=reader&limit=1")));
    expect(page).toMatchObject({ readers: [{ id: "worker", colo: "SIN" }], next: null });
  });

  test("[RG1] a pull over HTTP is shown at its colo while it holds messages", async () => {
    const channel = freshChannel();
    await read(call("POST", pathOf(channel, "/messages"), { body: "a" }), 201);
    const body = JSON.stringify({ reader: "puller", max: 1 });
    await read(callFrom({ "Edge-Colo": "NRT" }, "POST", pathOf(channel, "/messages/pull"), { body }), 200);

    const { readers } = await read<ReadersJson>(call("GET", pathOf(channel, "/readers?role=reader")));

    expect(readers).toMatchObject([{ id: "puller", kind: "pull", colo: "NRT", region: "apac", connections: 0, inFlight: 1 }]);
  });

  test.each([
    ["Edge-Colo", { "Edge-Colo": "XXX" }],
    ["Edge-Region", { "Edge-Colo": "FRA", "Edge-Region": "mars" }],
    ["Edge-Continent", { "Edge-Colo": "FRA", "Edge-Continent": "ZZ" }],
    ["Edge-Country", { "Edge-Colo": "FRA", "Edge-Country": "germany" }],
  ])("[protocol:places] a choice of %s that does not exist is refused", async (header, headers) => {
    const reply = await callFrom(headers, "POST", pathOf(freshChannel(), "/messages"), { body: "{}" });

    expect(reply.status).toBe(400);
    expect(await reply.json()).toMatchObject({ kind: "invalid-request", errors: [{ pointer: `/header/${header}` }] });
  });
});
