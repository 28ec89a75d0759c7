// A page in a real browser reads a channel by WebSocket and by EventSource while the server is killed and started again.
import { execFile } from "node:child_process";
import { access, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, assert, beforeAll, expect, test } from "vitest";
import { buildWorker, type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";
import { EdgeChannel } from "../../src/client/index.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** Where the Debian package `chromium` puts it. */
const CHROMIUM = "/usr/bin/chromium";
const CHROMIUM_ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const TOKEN = "s3cret-token";
const SESSION = crypto.randomUUID();
const LISTS = ["subscription", "events", "consumer"] as const;

let dir: string;
let bundle: string;
let files: string;
let runtime: LocalRuntime;
let browser: BrowserContext | undefined;

function start(port?: number): Promise<LocalRuntime> {
  const vars = { API_TOKEN: TOKEN, SESSION, FILES: files };
  return startLocalRuntime({ bundle, storageDir: join(dir, "storage"), vars, ...(port !== undefined && { port }) });
}

/** The page, and the client as the package has it. */
async function readFiles(): Promise<string> {
  await promisify(execFile)("npm", ["run", "-s", "build"], { cwd: ROOT });
  const names = (await readdir(join(ROOT, "dist/client"))).filter((name) => name.endsWith(".js"));
  const paths = [["/", "test/system/page.html"], ...names.map((name) => [`/client/${name}`, `dist/client/${name}`])];
  const texts = paths.map(async ([path = "", file = ""]) => [path, await readFile(join(ROOT, file), "utf8")] as const);
  return JSON.stringify(Object.fromEntries(await Promise.all(texts)));
}

beforeAll(async () => {
  await access(CHROMIUM).catch(() => {
    throw new Error(`Cannot run a page: ${CHROMIUM} is missing, install it with apt-get install chromium`);
  });
  dir = await mkdtemp(join(tmpdir(), "edge-channel-page-test-"));
  files = await readFiles();
  const durableObjects = [
    { name: "CHANNELS", className: "ChannelObject" },
    { name: "DIRECTORY", className: "DirectoryShard" },
  ];
  ({ bundle } = await buildWorker({
    outDir: join(dir, "build"),
    entry: join(import.meta.dirname, "page-worker.ts"),
    durableObjects,
  }));
  runtime = await start();
  const options = { executablePath: CHROMIUM, headless: true, args: CHROMIUM_ARGS };
  browser = await chromium.launchPersistentContext(join(dir, "profile"), options);
});

afterAll(async () => {
  await browser?.close();
  await runtime.stop();
  await rm(dir, { recursive: true, force: true });
});

async function untilShown(page: Page, text: string, lists: readonly string[] = LISTS): Promise<void> {
  for (const list of lists) await page.locator(`#${list} li`, { hasText: text }).first().waitFor();
}

function shownIn(page: Page, list: (typeof LISTS)[number]): Promise<string[]> {
  return page.locator(`#${list} li`).allTextContents();
}

function numbers(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `m${first + index}`);
}

test("[SB7] a page loses nothing and shows nothing twice when the server is killed and started again", async () => {
  const client = EdgeChannel.connect(runtime.url, { token: TOKEN, transport: "socket" });
  const channel = client.channel("news");
  await channel.create({ retention: "log" });
  await channel.groups.create("page");
  await using producer = channel.producer();
  const put = (bodies: readonly string[]): Promise<unknown> => Promise.all(bodies.map((body) => producer.put(body)));

  await put(numbers(1, 50));
  const page = await browser?.newPage();
  assert(page !== undefined);
  await page.goto(`${runtime.url}/?channel=news`);
  await untilShown(page, "m50");
  // Some are on their way to the page.
  await put(numbers(51, 50));
  await runtime.kill();
  runtime = await start(runtime.port);
  await put(numbers(101, 50));
  await untilShown(page, "m150");
  await put(["the end"]);
  await untilShown(page, "the end");

  const expected = [...numbers(1, 150), "the end"].map((text, index) => `${index + 1} ${text}`);
  expect(await shownIn(page, "subscription")).toEqual(expected);
  expect(await shownIn(page, "events")).toEqual(expected);
  // A message whose ack was lost comes again to a consumer.
  expect([...new Set(await shownIn(page, "consumer"))].toSorted()).toEqual(expected.toSorted());
  await client.close();
});

test("[protocol:authentication] who has neither the cookie of the page nor the token does not come in", async () => {
  const refused = await fetch(`${runtime.url}/v1/channels/news/events`);

  expect(refused.status).toBe(401);
});
