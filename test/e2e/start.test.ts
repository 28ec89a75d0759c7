// `npm start` as a user runs it: what it prints works when it is pasted into a shell.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { listProcesses } from "../../src/cli/processes.ts";

const START = fileURLToPath(new URL("../../src/cli/start.ts", import.meta.url));
const PROJECT_DIR = fileURLToPath(new URL("../../", import.meta.url));
const READY = "Stop with Ctrl-C.";

const run = promisify(execFile);
const started: ChildProcess[] = [];
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-channel-start-test-"));
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((child) => stop(child, "SIGTERM")));
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

interface Started {
  readonly child: ChildProcess;
  readonly output: string;
}

async function start(port: number, storage = dir): Promise<Started> {
  return await waitUntilReady([process.execPath, START, "--port", String(port), "--storage", storage]);
}

async function waitUntilReady([command = "", ...args]: readonly string[]): Promise<Started> {
  const child = spawn(command, args, { cwd: PROJECT_DIR, stdio: ["ignore", "pipe", "inherit"] });
  started.push(child);
  let output = "";
  const isReady = Promise.withResolvers<void>();
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    if (output.includes(READY)) isReady.resolve();
  });
  child.stdout.once("close", () => isReady.resolve());
  await isReady.promise;
  expect(output).toContain(READY);
  return { child, output };
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = once(child, "exit") as Promise<[number | null]>;
  child.kill(signal);
  return (await exited)[0];
}

async function listen(port: number): Promise<Server> {
  const server = createServer();
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function findFreePort(): Promise<number> {
  const server = await listen(0);
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** The process group of what a server started, as its note says. */
async function groupOf(storage: string): Promise<number> {
  return (JSON.parse(await readFile(join(storage, "edge-channel.pid"), "utf8")) as { group: number }).group;
}

/** What is left of a group; resolves when nothing is, or when `signal` aborts. */
async function untilGone(group: number, signal: AbortSignal): Promise<readonly unknown[]> {
  for (;;) {
    const left = (await listProcesses()).filter((one) => one.group === group);
    if (left.length === 0 || signal.aborted) return left;
    await setImmediate();
  }
}

async function refusedAs(port: string, ...more: readonly string[]): Promise<unknown> {
  return await run(process.execPath, [START, "--port", port, ...more]).catch((error: unknown) => error);
}

describe("src/cli/start", () => {
  test("the two curl lines put a message and get it; SIGINT frees the port", async () => {
    const port = await findFreePort();
    const { child, output } = await start(port);
    expect(output).toContain(`Edge Channel is ready at http://127.0.0.1:${port}\n`);
    const curlLines = output.split("\n").flatMap((line) => (line.startsWith("  curl ") ? [line.trim()] : []));
    expect(curlLines).toHaveLength(2);

    const replies: string[] = [];
    for (const line of curlLines) replies.push((await run("sh", ["-c", line])).stdout);
    const [put, got] = replies.map((reply) => JSON.parse(reply) as unknown);
    expect(put).toMatchObject({ count: 1, state: { depth: 1 } });
    expect(got).toMatchObject({ messages: [{ text: "hello", contentType: "text/plain" }], state: { depth: 0 } });

    expect(await stop(child, "SIGINT")).toBe(130);
    (await listen(port)).close();
  });

  test("a port that is taken, or is none, is refused", async () => {
    const taken = await listen(0);
    const { port } = taken.address() as AddressInfo;

    expect(await refusedAs(String(port))).toMatchObject({ code: 2, stderr: expect.stringContaining("it is taken") as string });
    expect(await refusedAs("seven")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Cannot use port "seven"') as string,
    });
    expect(await refusedAs("65536")).toMatchObject({ code: 2, stderr: expect.stringContaining("from 0 to 65535") as string });
    taken.close();
  });

  test("a storage that is no folder, or cannot be made or written to, is refused before anything starts", async () => {
    for (const [path, reason] of [
      ["/dev/null", "it is not a folder"],
      ["/dev/null/below", "it is not in a folder"],
      // Not even for its administrator does the system make a folder there, or a file.
      ["/proc/none/below", "ENOENT"],
      ["/proc", "unable to open database file"],
    ] as const) {
      expect(await refusedAs("0", "--storage", path)).toMatchObject({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining(`Cannot keep the channels in ${path}: ${reason}`) as string,
      });
    }
  });

  test("a second server on one storage is refused, and told which process has it; after its end one starts", async () => {
    const storage = join(dir, "shared");
    const { child } = await start(0, storage);

    expect(await refusedAs("0", "--storage", storage)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining(`End it with "kill ${child.pid}"`) as string,
    });
    expect(await stop(child, "SIGTERM")).toBe(143);
    await start(0, storage);
  });

  test("what a server started ends with it, be it killed; the lock of the dead one is in nobody's way", async ({ signal }) => {
    const storage = join(dir, "killed");
    const { child } = await start(0, storage);
    const group = await groupOf(storage);

    await stop(child, "SIGKILL");
    expect(await untilGone(group, signal)).toEqual([]);
    await start(0, storage);
  });

  test("while processes of a dead server still work on the storage another is refused, and told which they are", async () => {
    const storage = join(dir, "outlived");
    await mkdir(storage);
    const outliving = spawn(process.execPath, ["-e", "process.stdin.resume()", "workerd"], { detached: true });
    await once(outliving, "spawn");
    await writeFile(join(storage, "edge-channel.pid"), JSON.stringify({ pid: 1, group: outliving.pid }));

    expect(await refusedAs("0", "--storage", storage)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`End it with "kill ${outliving.pid}"`) as string,
    });
    await stop(outliving, "SIGKILL");
    await start(0, storage);
  });

  test.for(["SIGTERM", "SIGHUP"] as const)("a %s to npm alone ends all that it started", async (name, { signal }) => {
    const storage = join(dir, `npm-${name}`);
    const { child } = await waitUntilReady(["npm", "start", "--", "--port", "0", "--storage", storage]);
    const group = await groupOf(storage);

    await stop(child, name);
    expect(await untilGone(group, signal)).toEqual([]);
  });

  test("--help explains the options, and the README names those of a server", async () => {
    const { stdout } = await run(process.execPath, [START, "--help"]);
    const readme = await readFile(join(PROJECT_DIR, "README.md"), "utf8");
    const [usage = ""] = stdout.split("\n");

    expect(usage.match(/--[a-z]+ [A-Z]+/g)).toEqual(["--port N", "--storage DIR"]);
    expect(stdout.match(/^ {2}--[a-z]+/gm)).toEqual(["  --port", "  --storage", "  --help"]);
    expect(readme).toContain("`npm start -- --port N --storage DIR`");
  });
});
