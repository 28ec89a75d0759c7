// The examples of the service inside of Cloudflare, on the real runtime: reached by another worker, and embedded in one.
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestHarness } from "wrangler";

const ROOT = resolve(import.meta.dirname, "../..");
const secrets = { API_TOKEN: "s3cret-token" };
const AUTHORIZED = { headers: { Authorization: `Bearer ${secrets.API_TOKEN}` } };

describe("src/examples/service-binding", () => {
  const harness = createTestHarness({
    root: ROOT,
    workers: [{ configPath: "src/examples/service-binding/wrangler.toml" }, { configPath: "wrangler.toml", secrets }],
  });
  beforeAll(() => harness.listen());
  afterAll(() => harness.close());

  test("[protocol:service-bindings] a worker sends as to a queue and takes with the client, without a token", async () => {
    const sent = await harness.fetch("/", { method: "POST", body: JSON.stringify({ order: 7 }) });
    expect([sent.status, await sent.json()]).toEqual([202, { waiting: 1 }]);

    const taken = await harness.fetch("/");
    expect([taken.status, await taken.json()]).toEqual([200, [{ json: { order: 7 } }]]);
  });

  test("[protocol:service-bindings] what comes from outside needs it, and finds the same channels", async () => {
    await harness.fetch("/", { method: "POST", body: "8" });
    const service = harness.getWorker("edge-channel");

    expect((await service.fetch("/v1/channels/orders")).status).toBe(401);
    const messages = await service.fetch("/v1/channels/orders/messages", AUTHORIZED);
    expect(await messages.json()).toMatchObject({ messages: [{ json: 8 }] });
  });
});

describe("src/examples/embedded", () => {
  const harness = createTestHarness({
    root: ROOT,
    workers: [{ configPath: "src/examples/embedded/wrangler.toml", secrets }],
  });
  beforeAll(() => harness.listen());
  afterAll(() => harness.close());

  test("[protocol:service-bindings] a worker uses the channels that are part of it without a token", async () => {
    const put = await harness.fetch("/orders", { method: "POST", body: JSON.stringify({ order: 7 }) });
    expect([put.status, await put.json()]).toEqual([202, { offset: 1 }]);

    const taken = await harness.fetch("/orders");
    expect([taken.status, await taken.json()]).toEqual([200, [{ json: { order: 7 } }]]);
  });

  test("[protocol:authentication] whoever else wants them has to have it", async () => {
    await harness.fetch("/orders", { method: "POST", body: "8" });

    expect((await harness.fetch("/v1/channels/orders")).status).toBe(401);
    const messages = await harness.fetch("/v1/channels/orders/messages", AUTHORIZED);
    expect(await messages.json()).toMatchObject({ messages: [{ json: 8 }] });
  });
});
