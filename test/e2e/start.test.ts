// `npm start` as a user runs it: what it prints works when it is pasted into a shell.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

const START = fileURLToPath(new URL("../../src/cli/start.ts", import.meta.url));
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

async function start(port: number): Promise<{ readonly child: ChildProcess; readonly output: string }> {
  const child = spawn(process.execPath, [START, "--port", String(port), "--storage", dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
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
  if (child.exitCode !== null) return child.exitCode;
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

  test("a storage that is no folder is refused before anything starts", async () => {
    for (const [path, reason] of [
      ["/dev/null", "it is not a folder"],
      ["/dev/null/below", "it is not in a folder"],
    ] as const) {
      expect(await refusedAs("0", "--storage", path)).toMatchObject({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining(`Cannot keep the channels in ${path}: ${reason}`) as string,
      });
    }
  });

  test("--help explains the options", async () => {
    expect((await run(process.execPath, [START, "--help"])).stdout).toContain("--port N");
  });
});
