// Delayed messages through crashes: workerd is killed while they are put and while they enter.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildWorker, startLocalRuntime, type LocalRuntime } from "../../src/cli/local-runtime.ts";
import type { ChannelDescription } from "../../src/protocol/description.ts";
import { chooseSeed, SeededRandom } from "./hostile/seeded-random.ts";

const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
const BATCHES = 6;
const BATCH_MESSAGES = 1000;
const KILLS = 6;
/** Long enough to put everything before, also with a kill in between. */
const LEAD_MS = 4000;

let dir = "";
let bundle = "";
let runtime: LocalRuntime;

async function start(): Promise<void> {
  const vars = { DEVELOPMENT: "1" };
  runtime = await startLocalRuntime({ bundle, storageDir: join(dir, "storage"), vars });
}

async function killAndRestart(): Promise<void> {
  await runtime.kill();
  await start();
}

async function request<Body>(method: string, rest: string, json?: object): Promise<Body> {
  const headers = { "Content-Type": "application/json" };
  const body = json === undefined ? null : JSON.stringify(json);
  const reply = await fetch(`${runtime.url}/v1/channels/later${rest}`, { method, headers, body });
  return (await reply.json()) as Body;
}

beforeAll(async () => {
  await mkdir(CACHE_DIR, { recursive: true });
  dir = await mkdtemp(join(CACHE_DIR, "schedule-kill-"));
  ({ bundle } = await buildWorker({ outDir: join(dir, "bundle") }));
  await start();
});

afterAll(async () => {
  await runtime.kill();
  await rm(dir, { recursive: true, force: true });
});

test("[SD7] [G1] every delayed message enters once and in order, whenever workerd is killed", { timeout: 60_000 }, async () => {
  const seed = chooseSeed();
  const random = new SeededRandom(seed);
  await request("PUT", "", {});
  const deliverAtMs = Date.now() + LEAD_MS;
  const texts: string[] = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    const messages = Array.from({ length: BATCH_MESSAGES }, (_, index) => ({ text: `${batch}-${index}`, deliverAtMs }));
    const { scheduled } = await request<{ scheduled: unknown[] }>("POST", "/messages/batch", { messages });
    expect(scheduled).toHaveLength(BATCH_MESSAGES);
    texts.push(...messages.map(({ text }) => text));
    if (batch === 2) await killAndRestart();
  }

  await delay(deliverAtMs - Date.now());
  for (let kill = 0; kill < KILLS; kill++) {
    // The first request after a start is what lets some of them enter; the kill comes in the middle of that.
    const asked = request("GET", "").catch(() => undefined);
    await delay(random.int(0, 100));
    await runtime.kill();
    await asked;
    await start();
  }
  for (let left = 1; left > 0;) left = (await request<ChannelDescription>("GET", "")).scheduled.messages;

  const { messages } = await request<{ messages: { text: string }[] }>("POST", "/messages/pull", { ack: "auto", max: 10_000 });
  expect(
    messages.map(({ text }) => text),
    `seed ${seed}`,
  ).toEqual(texts);
  const { counts } = await request<ChannelDescription>("GET", "");
  expect(counts).toMatchObject({ put: texts.length, acked: texts.length, removed: 0 });
});
