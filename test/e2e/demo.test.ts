// The demo as a user runs it: a program of its own, on real files.
import { execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const DEMO = fileURLToPath(new URL("../../src/examples/demo.ts", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-channel-demo-test-"));
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** Runs the demo to its end. `interruptAt` is text of its output at which it gets `signal`. */
async function runDemo(args: readonly string[], interruptAt?: string, signal: NodeJS.Signals = "SIGINT"): Promise<Ended> {
  // Its temporary folder is ours, so that we see what it leaves behind.
  const child = spawn(process.execPath, [DEMO, ...args], {
    env: { ...process.env, TMPDIR: dir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const isInterrupted = interruptAt !== undefined && stdout.includes(interruptAt);
    stdout += chunk.toString();
    if (interruptAt !== undefined && !isInterrupted && stdout.includes(interruptAt)) child.kill(signal);
  });
  child.stderr.on("data", (chunk: Buffer) => void (stderr += chunk.toString()));
  const code = await new Promise<number | null>((settle, reject) => {
    child.once("error", reject);
    child.once("close", settle);
  });
  return { code, stdout, stderr };
}

async function writeSource(
  name: string,
  bytes: string | Uint8Array,
): Promise<{ readonly path: string; readonly sha256: string }> {
  const path = join(dir, name);
  await writeFile(path, bytes);
  return { path, sha256: createHash("sha256").update(bytes).digest("hex") };
}

/** What the demo reports at its end. */
function readReport({ code, stdout, stderr }: Ended): { readonly waits: number; readonly facts: object } {
  const find = (pattern: RegExp): string | undefined => pattern.exec(stdout)?.[1];
  const facts = {
    code,
    stderr,
    put: find(/^Put +([\d,]+) messages?;/m),
    got: find(/^Got +([\d,]+) messages?,/m),
    fileSha256: find(/of the file +([0-9a-f]{64})$/m),
    cameSha256: find(/of what came out +([0-9a-f]{64}) \(the same\)$/m),
    last: stdout.trimEnd().split("\n").at(-1),
  };
  return { waits: Number(find(/waited for room ([\d,]+) times?/)?.replaceAll(",", "")), facts };
}

function successOf(sha256: string, messages: string): object {
  const last = "Go on with your own messages: npm start";
  return { code: 0, stderr: "", put: messages, got: messages, fileSha256: sha256, cameSha256: sha256, last };
}

/** The command lines of servers that our demo started and that still run. */
async function findServers(): Promise<string[]> {
  const { stdout } = await promisify(execFile)("ps", ["-Ao", "stat,args"]);
  return stdout.split("\n").filter((line) => line.includes("workerd") && line.includes(dir) && !line.startsWith("Z"));
}

async function findLeftovers(): Promise<string[]> {
  return (await readdir(dir)).filter((name) => name.startsWith("edge-channel-demo-"));
}

describe("src/examples/demo", () => {
  test("a text file comes out as it went in; its last line lacks a newline", async () => {
    const lines = Array.from({ length: 300 }, (_, index) => `line ${index} – ${"x".repeat(index % 50)}\n`);
    const { path, sha256 } = await writeSource("text.txt", `${lines.join("")}no newline here`);

    expect(readReport(await runDemo(["--file", path])).facts).toEqual(successOf(sha256, "301"));
    expect(await findLeftovers()).toEqual([]);
  });

  test("a binary file fills the channel, so that the producers wait", async () => {
    const bytes = randomBytes(300_000);
    // As many newlines as random bytes have on average, but the same count in each run.
    for (let index = 0; index < bytes.byteLength; index += 1) {
      if (index % 250 === 249) bytes[index] = 0x0a;
      else if (bytes[index] === 0x0a) bytes[index] = 0x0b;
    }
    const { path, sha256 } = await writeSource("random.bin", bytes);

    const { facts, waits } = readReport(await runDemo(["--file", path]));
    expect(facts).toEqual(successOf(sha256, "1,200"));
    expect(waits).toBeGreaterThan(0);
  });

  test("a line of a megabyte is split", async () => {
    const { path, sha256 } = await writeSource("one-line.bin", Buffer.alloc(1024 * 1024 - 1, "x"));

    expect(readReport(await runDemo(["--file", path])).facts).toEqual(successOf(sha256, "4"));
  });

  test("a file of one line is one message", async () => {
    const { path } = await writeSource("line.txt", "x\n");

    const { stdout } = await runDemo(["--file", path]);

    expect(stdout).toMatch(/^Put +1 message;/m);
    expect(stdout).toMatch(/^Got +1 message, 2 bytes,/m);
  });

  test("an empty file", async () => {
    const { path, sha256 } = await writeSource("empty", "");

    expect(readReport(await runDemo(["--file", path])).facts).toEqual(successOf(sha256, "0"));
  });

  test("a mistake in the call ends with 2 and says what is wrong", async () => {
    const missing = join(dir, "missing");

    expect(await runDemo(["--file", missing])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`Cannot read ${missing}: there is no such file`) as string,
    });
    expect(await runDemo(["--file", dir])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("it is a folder") as string,
    });
    expect(await runDemo(["--fiel", "x"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Unknown option '--fiel'") as string,
    });
    expect(await runDemo(["--world", "--messages", "7"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Expected --messages to be 200 to 100000, got "7"') as string,
    });
    expect(await runDemo(["--world", "--file", "x"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Cannot take --file with --world") as string,
    });
    expect(await runDemo(["--help"])).toMatchObject({
      code: 0,
      stderr: "",
      stdout: expect.stringContaining("--file PATH") as string,
    });
  });

  test("Ctrl-C ends it with 130 and leaves nothing behind", async () => {
    expect(await runDemo([], "in the channel")).toMatchObject({ code: 130, stderr: "\nStopped by SIGINT\n" });
    expect(await findLeftovers()).toEqual([]);
  });

  test("[RD2] [RD8] --world: most messages stay in their colo, those that do not say why, and none is lost", async () => {
    const { code, stdout, stderr } = await runDemo(["--world", "--messages", "300"]);

    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    // All of the sum are in one of the four columns, and no colo is left out of the map.
    const sum = /^all +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$/m.exec(stdout)?.slice(1).map(Number) ?? [];
    expect([sum[0], sum.slice(1).reduce((total, count) => total + count, 0)]).toEqual([300, 300]);
    for (const colo of ["IAD", "EWR", "SJC", "LHR", "FRA", "NRT", "SIN", "GRU"])
      expect(stdout).toMatch(new RegExp(`${colo} \\d+`));
    expect(stdout).toMatch(/^ {2}message \d+, put in ([A-Z]{3}), went to \1-\d there;/m);
    expect(stdout).toMatch(/^ {2}message \d+, put in [A-Z]{3}, went to \S+ in [A-Z]{3}, .*nobody nearer took it in time;/m);
    expect(stdout).toMatch(/^Local +[\d.]+ % were read in the colo/m);
    expect(await findLeftovers()).toEqual([]);
  });

  test("--world: Ctrl-C ends it with 130 and leaves nothing behind", async () => {
    expect(await runDemo(["--world"], "where they were put\n")).toMatchObject({ code: 130, stderr: "\nStopped by SIGINT\n" });
    expect(await findLeftovers()).toEqual([]);
  });

  test("kill -9 ends the server too", async () => {
    expect(await runDemo([], "in the channel", "SIGKILL")).toMatchObject({ code: null });

    await expect.poll(findServers, { timeout: 5000 }).toEqual([]);
  });
});
