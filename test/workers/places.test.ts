// Where a request was made: what the runtime says, and in development on loopback what the request chooses.
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { Env } from "../../src/object/env.ts";
import { PLACE_HEADER } from "../../src/protocol/place.ts";
import type { MessageHistory } from "../../src/protocol/history.ts";
import worker from "../../src/worker/index.ts";
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

describe("src/worker/place", () => {
  test("[protocol:places] a request says in development where it was made", async () => {
    expect(await putFrom({ at: "http://localhost", headers: CHOSEN })).toBe("GRU");
  });

  test("[protocol:places] a deployment believes the runtime, and no header", async () => {
    const forged = { ...CHOSEN, [PLACE_HEADER]: "GRU/sam/SA/BR" };

    expect(await putFrom({ at: "https://channels.example.com", headers: forged })).toBe("FRA");
  });

  test("[protocol:places] what a client sends under the worker's own header is not passed on", async () => {
    const channel = freshChannel();
    const socket = await openSocket(channel, { colo: "SIN", headers: { [PLACE_HEADER]: "GRU/sam/SA/BR" } });
    await socket.ask({ type: "put", id: 1, text: "a" });

    const { put } = await read<MessageHistory>(call("GET", pathOf(channel, "/messages/1/history")));

    expect(put.colo).toBe("SIN");
  });
});
