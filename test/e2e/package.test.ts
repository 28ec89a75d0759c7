// The npm package: clean by the judgement of its checkers, and what a program in an empty folder can do with it.
import { execFile } from "node:child_process";
import { access, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestHarness } from "wrangler";
import { buildWorker, type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";

const ROOT = resolve(import.meta.dirname, "../..");

const PROGRAM = `
import { EdgeChannel, EdgeChannelError, type ReceivedMessage } from "edge-channel/client";

const client = EdgeChannel.connect(process.argv[2] ?? "");
const jobs = client.channel("jobs");
await jobs.put({ json: { job: 7 } });
const message: ReceivedMessage = await jobs.get({ waitMs: 5_000 });
await using producer = jobs.producer();
await producer.put("from a producer");
for await (const { body } of jobs.consume()) {
  console.log(JSON.stringify(body));
  break;
}
const error: unknown = await jobs.read(0).catch((reason: unknown) => reason);
console.log(JSON.stringify({ body: message.body, kind: error instanceof EdgeChannelError ? error.kind : undefined }));
await client.close();
`;

/** A test of a program of one's own. */
const TEST_PROGRAM = `
import { EdgeChannelError } from "edge-channel/client";
import { TestService } from "edge-channel/testing";

const service = new TestService();
const jobs = service.connect({ transport: "socket" }).channel("jobs");
await jobs.put("one");
const { messages } = await jobs.pull();
await service.expireLeases();
const error: unknown = await messages[0]?.ack().catch((reason: unknown) => reason);
const attempts: number[] = [];
jobs.consume(({ attempt }) => void attempts.push(attempt));
await service.advance(60_000);
console.log(JSON.stringify({ kind: error instanceof EdgeChannelError ? error.kind : undefined, attempts }));
`;

const TYPES = {
  compilerOptions: {
    target: "ES2024",
    lib: ["ES2024", "DOM"],
    module: "NodeNext",
    strict: true,
    noEmit: true,
    // What the package declares has to hold by itself.
    skipLibCheck: false,
    types: [],
  },
  files: ["program.ts", "test-program.ts", "globals.d.ts"],
};

/** Of a worker, whose runtime brings all globals. */
const WORKER_TYPES = {
  compilerOptions: {
    target: "ES2024",
    lib: ["ES2024"],
    module: "ES2022",
    moduleResolution: "bundler",
    strict: true,
    noEmit: true,
    typeRoots: [join(ROOT, "node_modules/@cloudflare")],
    types: ["workers-types"],
  },
  files: ["worker.ts"],
};

/** What the examples import from the project, and what they would in one of their own. */
const FACES = {
  "../../client/service-binding.ts": "edge-channel/client/service-binding",
  "../../worker/embed.ts": "edge-channel/worker",
};

let dir: string;
let tarball: string;
let runtime: LocalRuntime;

/** Runs a program of the project, and returns what it printed. */
async function run(program: string, args: readonly string[], cwd: string, env = process.env): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd, env, maxBuffer: 8 * 1024 * 1024 });
  return stdout;
}

/** Puts an example into the empty folder, as a project that uses the package, and returns where it lies. */
async function copyExample(name: string): Promise<string> {
  const example = join(dir, "empty", name);
  await cp(join(ROOT, "src/examples", name), example, { recursive: true });
  let source = await readFile(join(example, "worker.ts"), "utf8");
  for (const [path, face] of Object.entries(FACES)) source = source.replaceAll(`"${path}"`, `"${face}"`);
  await writeFile(join(example, "worker.ts"), source);
  await writeFile(join(example, "tsconfig.json"), JSON.stringify(WORKER_TYPES));
  return example;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-channel-package-"));
  await run("npm", ["pack", "--pack-destination", dir], ROOT);
  tarball = join(dir, (await readdir(dir)).find((name) => name.endsWith(".tgz")) ?? "");
  const empty = join(dir, "empty");
  await mkdir(empty);
  await writeFile(join(empty, "package.json"), JSON.stringify({ private: true, type: "module" }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], empty);
  await writeFile(join(empty, "program.ts"), PROGRAM);
  await writeFile(join(empty, "test-program.ts"), TEST_PROGRAM);
  await writeFile(join(empty, "globals.d.ts"), "declare const process: { readonly argv: readonly string[] };\n");
  await writeFile(join(empty, "tsconfig.json"), JSON.stringify(TYPES));
  const { bundle } = await buildWorker({ outDir: join(dir, "worker") });
  runtime = await startLocalRuntime({
    bundle,
    storageDir: join(dir, "storage"),
    vars: { DEVELOPMENT: "1", AUTO_CREATE: "true" },
  });
});

afterAll(async () => {
  await runtime.stop();
  await rm(dir, { recursive: true, force: true });
});

describe("the npm package", () => {
  test("its checkers find nothing", async () => {
    await expect(run("npx", ["publint", "--strict", tarball], ROOT)).resolves.toContain("All good!");
    // It ends with 1 where it finds something.
    await expect(run("npx", ["attw", tarball, "--profile", "esm-only"], ROOT)).resolves.toContain("edge-channel v");
  });

  test("what the README links to comes with it", async () => {
    const installed = join(dir, "empty/node_modules/edge-channel");
    const readme = await readFile(join(installed, "README.md"), "utf8");
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path = ""]) => path);

    expect(links.length).toBeGreaterThan(0);
    await Promise.all(links.map((path) => access(join(installed, path))));
  });

  test("a program in an empty folder is checked against its declarations", async () => {
    await expect(run(join(ROOT, "node_modules/.bin/tsc"), ["-p", "."], join(dir, "empty"))).resolves.toBe("");
  });

  test("and puts and gets with it", async () => {
    const printed = await run(process.execPath, ["program.ts", runtime.url], join(dir, "empty"));
    expect(
      printed
        .trim()
        .split("\n")
        .map((line): unknown => JSON.parse(line)),
    ).toEqual(["from a producer", { body: { json: { job: 7 } }, kind: "invalid-request" }]);
  });

  test("and is tested with it, without a server", async () => {
    const printed = await run(process.execPath, ["test-program.ts"], join(dir, "empty"));
    expect(JSON.parse(printed)).toEqual({ kind: "lease-lost", attempts: [2] });
  });

  test.each(["service-binding", "embedded"])("the example %s is checked against its declarations", async (name) => {
    const example = await copyExample(name);
    await expect(run(join(ROOT, "node_modules/.bin/tsc"), ["-p", "."], example)).resolves.toBe("");
  });

  test("a worker that embeds it serves channels of its own", async () => {
    const example = await copyExample("embedded");
    const harness = createTestHarness({ root: example, workers: [{ configPath: "wrangler.toml" }] });
    await harness.listen();
    try {
      await harness.fetch("/orders", { method: "POST", body: JSON.stringify({ order: 7 }) });
      expect(await (await harness.fetch("/orders")).json()).toEqual([{ json: { order: 7 } }]);
    } finally {
      await harness.close();
    }
  });

  test("the command line comes with it", async () => {
    const command = join(dir, "empty/node_modules/.bin/edge-channel");
    const withUrl = { ...process.env, EDGE_CHANNEL_URL: runtime.url };
    await run(process.execPath, [command, "put", "lines", "hello"], dir, withUrl);
    await expect(run(process.execPath, [command, "get", "lines", "--json"], dir, withUrl)).resolves.toContain('"hello"');
    await expect(run(process.execPath, [command, "--help"], dir)).resolves.toContain("pipe CHANNEL");
    const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { readonly version: string };
    await expect(run(process.execPath, [command, "--version"], dir)).resolves.toBe(`${version}\n`);
  });

  test("under a Node that is too old the command line says which it needs, and imports nothing that is not there", async () => {
    const command = join(dir, "empty/node_modules/.bin/edge-channel");
    const older = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })";
    const running = run(
      process.execPath,
      ["--import", `data:text/javascript,${encodeURIComponent(older)}`, command, "--help"],
      dir,
    );

    await expect(running).rejects.toMatchObject({
      code: 2,
      stdout: "",
      stderr: "edge-channel needs Node 22 or newer, this is 20.20.2\n",
    });
    expect(await readFile(command, "utf8")).not.toMatch(/import\s*\{[^}]*enableCompileCache/);
    const { engines } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { readonly engines: object };
    expect(engines).toEqual({ node: ">=22" });
  });
});
