// Who is served: the deployment's token, and development on this computer. The worker is called with bindings of the test's choice.
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { Env } from "../../src/object/env.ts";
import { ROUTES } from "../../src/protocol/routes.ts";
import worker from "../../src/worker/index.ts";
import { freshChannel, pathOf, readProblem } from "./service.ts";

const TOKEN = "s3cret-token";
const DEPLOYED = "https://channels.example.com";
const GUARDED_ROUTES = ROUTES.filter((route) => route.isPublic !== true);
const CHANNELS_PATH = "/v1/channels/a-channel";

type Variables = Pick<Env, "API_TOKEN" | "DEVELOPMENT">;

/** Sends a request to the worker as it is deployed with these variables. */
function send(url: string, variables: Variables, init: RequestInit = {}): Promise<Response> {
  const { CHANNELS, DIRECTORY } = env;
  return Promise.resolve(worker.fetch(new Request(url, init), { CHANNELS, DIRECTORY, AUTO_CREATE: "true", ...variables }));
}

function withToken(authorization: string): RequestInit {
  return { headers: { Authorization: authorization } };
}

describe("src/worker/auth", () => {
  test("[protocol:authentication] without a token nothing but /healthz is served, and the refusal says how to set one", async () => {
    for (const variables of [{}, { API_TOKEN: "" }]) {
      expect((await send(`${DEPLOYED}/healthz`, variables)).status).toBe(200);
      for (const route of GUARDED_ROUTES) {
        const url = DEPLOYED + route.path.replaceAll(/\{\w+\}/g, "1");
        const reply = await send(url, variables, { method: route.method.toUpperCase() });
        const problem = await readProblem(reply);
        expect([route.operationId, problem]).toMatchObject([
          route.operationId,
          { kind: "not-configured", status: 503, setting: "API_TOKEN" },
        ]);
        expect(problem.detail).toContain("wrangler secret put API_TOKEN");
      }
    }
  });

  test("[protocol:authentication] without a token no Authorization opens the service", async () => {
    for (const authorization of ["Bearer ", "Bearer", "Bearer undefined", `Bearer ${TOKEN}`]) {
      const reply = await send(DEPLOYED + CHANNELS_PATH, {}, withToken(authorization));

      expect(await readProblem(reply)).toMatchObject({ kind: "not-configured" });
    }
  });

  test("[protocol:authentication] the deployment's token opens the service", async () => {
    for (const authorization of [`Bearer ${TOKEN}`, `bearer ${TOKEN}`]) {
      const path = pathOf(freshChannel());
      const reply = await send(DEPLOYED + path, { API_TOKEN: TOKEN }, { method: "PUT", ...withToken(authorization) });

      expect(reply.status).toBe(201);
      await reply.text();
    }
  });

  test("[protocol:authentication] a token that is missing, wrong or of another scheme is refused", async () => {
    const cases = [
      "",
      "Bearer",
      "Bearer ",
      TOKEN,
      `Basic ${TOKEN}`,
      `Basic ${btoa(`user:${TOKEN}`)}`,
      "Bearer other-token!",
      `Bearer ${TOKEN.slice(0, -1)}`,
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.toUpperCase()}`,
    ];
    for (const authorization of [undefined, ...cases]) {
      const init = authorization === undefined ? {} : withToken(authorization);
      const reply = await send(DEPLOYED + CHANNELS_PATH, { API_TOKEN: TOKEN }, init);

      expect([authorization, reply.headers.get("WWW-Authenticate")]).toEqual([authorization, "Bearer"]);
      expect(await readProblem(reply)).toMatchObject({ kind: "unauthorized", status: 401 });
    }
  });

  test("[protocol:authentication] a token that is followed by something is refused", async () => {
    const reply = await send(DEPLOYED + CHANNELS_PATH, { API_TOKEN: TOKEN }, withToken(`Bearer ${TOKEN} more`));

    expect(await readProblem(reply)).toMatchObject({ kind: "unauthorized" });
  });

  test("[protocol:authentication] every route but /healthz asks for the token, before anything else", async () => {
    const addresses = [
      ...GUARDED_ROUTES.map((route) => [route.method.toUpperCase(), route.path.replaceAll(/\{\w+\}/g, "-")]),
      ["GET", "/no-such-route"],
      ["DELETE", "/v1/channels"],
      ["GET", "/v1/channels?bad=1"],
    ] as const;
    for (const [method = "", path = ""] of addresses) {
      const reply = await send(DEPLOYED + path, { API_TOKEN: TOKEN }, { method });

      expect([`${method} ${path}`, await readProblem(reply)]).toMatchObject([`${method} ${path}`, { kind: "unauthorized" }]);
    }
  });

  test("[protocol:authentication] a socket asks for the token", async () => {
    const url = `${DEPLOYED}${pathOf(freshChannel(), "/socket")}`;
    const upgrade = { Upgrade: "websocket" };

    const refused = await send(url, { API_TOKEN: TOKEN }, { headers: upgrade });
    const opened = await send(url, { API_TOKEN: TOKEN }, { headers: { ...upgrade, Authorization: `Bearer ${TOKEN}` } });
    opened.webSocket?.accept();
    opened.webSocket?.close();

    expect(await readProblem(refused)).toMatchObject({ kind: "unauthorized" });
    expect(opened.status).toBe(101);
  });

  test("[protocol:authentication] development is open on loopback", async () => {
    const hosts = ["localhost", "localhost:8787", "127.0.0.1", "127.1.2.3:99", "[::1]", "[::1]:8787"];
    for (const host of hosts) {
      const variables = { DEVELOPMENT: "1", ...(host === "[::1]" && { API_TOKEN: TOKEN }) };
      const reply = await send(`http://${host}${pathOf(freshChannel())}`, variables, { method: "PUT" });

      expect([host, reply.status]).toEqual([host, 201]);
      await reply.text();
    }
  });

  test("[protocol:authentication] development opens no other host", async () => {
    const hosts = [
      "example.com",
      "localhost.example.com",
      "127.0.0.1.example.com",
      "xlocalhost",
      "128.0.0.1",
      "10.0.0.1",
      "[::2]",
    ];
    for (const host of hosts) {
      const reply = await send(`http://${host}${CHANNELS_PATH}`, { DEVELOPMENT: "1" });
      expect([host, await readProblem(reply)]).toMatchObject([host, { kind: "not-configured" }]);

      const guarded = await send(`http://${host}${CHANNELS_PATH}`, { DEVELOPMENT: "1", API_TOKEN: TOKEN });
      expect([host, await readProblem(guarded)]).toMatchObject([host, { kind: "unauthorized" }]);
    }
  });

  test("[protocol:authentication] a request can not claim to be for loopback", async () => {
    const headers = { Host: "localhost", "X-Forwarded-Host": "localhost", Forwarded: "host=localhost" };

    const reply = await send(`${DEPLOYED}${CHANNELS_PATH}`, { DEVELOPMENT: "1" }, { headers });

    expect(await readProblem(reply)).toMatchObject({ kind: "not-configured" });
  });

  test("[protocol:authentication] development is the value 1", async () => {
    for (const DEVELOPMENT of ["", "0", "true", "11"]) {
      const reply = await send(`http://localhost${CHANNELS_PATH}`, { DEVELOPMENT });

      expect([DEVELOPMENT, await readProblem(reply)]).toMatchObject([DEVELOPMENT, { kind: "not-configured" }]);
    }
  });

  test("[protocol:authentication] development serves no page of another origin", async () => {
    const origins = [
      "https://example.com",
      "http://localhost.example.com",
      "http://127.0.0.1.example.com:8787",
      "null",
      "garbage",
    ];
    for (const origin of origins) {
      for (const more of [{}, { Upgrade: "websocket" }]) {
        const headers = { Origin: origin, ...more };
        const reply = await send(`http://localhost${pathOf(freshChannel(), "/socket")}`, { DEVELOPMENT: "1" }, { headers });

        const problem = await readProblem(reply);
        expect([origin, problem]).toMatchObject([origin, { kind: "forbidden", status: 403 }]);
        expect(problem["reason"]).toContain(origin);
      }
    }
  });

  test("[protocol:authentication] development serves nothing that a page of another site embeds, and what this computer asks for itself", async () => {
    for (const [site, status] of [
      ["cross-site", 403],
      ["same-site", 201],
      ["same-origin", 201],
      ["none", 201],
    ] as const) {
      const init = { method: "PUT", headers: { "Sec-Fetch-Site": site } };
      const reply = await send(`http://localhost${pathOf(freshChannel())}`, { DEVELOPMENT: "1" }, init);

      expect([site, reply.status]).toEqual([site, status]);
      await reply.text();
    }
  });

  test("[protocol:authentication] development serves pages of this computer", async () => {
    for (const origin of ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"]) {
      const init = { method: "PUT", headers: { Origin: origin } };
      const reply = await send(`http://localhost${pathOf(freshChannel())}`, { DEVELOPMENT: "1" }, init);

      expect([origin, reply.status]).toEqual([origin, 201]);
      await reply.text();
    }
  });
});
