// Some rounds of the crash harness on every test run (`npm run crash -- --rounds 300` is the long one), and its command line.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { listFailures } from "../crash/report.ts";
import { runRounds } from "../crash/rounds.ts";
import { leaseId, Story } from "../unit/crash-story.ts";
import { chooseSeed } from "./hostile/seeded-random.ts";

const ROUNDS = 10;
// On the project's disk and not in the system's temporary folder, which may be memory.
const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
const COMMAND = fileURLToPath(new URL("../crash/run.ts", import.meta.url));

async function makeDir(): Promise<string> {
  await mkdir(CACHE_DIR, { recursive: true });
  return mkdtemp(join(CACHE_DIR, "crash-test-"));
}

function runCommand(...args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [COMMAND, ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, output: stdout + stderr });
    });
  });
}

describe("test/crash/rounds", () => {
  test(
    "[G1] nothing acknowledged is lost, acknowledged twice or out of order over kills under load",
    { timeout: 180_000 },
    async () => {
      const seed = chooseSeed();
      const dir = await makeDir();

      const summary = await runRounds({ rounds: ROUNDS, seed, dir });

      const { tally, verdict } = summary;
      console.log(
        JSON.stringify({ seed, kills: tally.kills, unknownShare: tally.unknownShare, ok: tally.ok, ...verdict.messages }),
      );
      expect(verdict.examples, `seed ${seed}, ${dir}`).toEqual([]);
      expect(listFailures(summary), `seed ${seed}, ${dir}`).toEqual([]);
      expect(tally.rounds).toBe(ROUNDS);
      // The load did what it is for: leases and gets, back-pressure, dead letters.
      expect(verdict.messages.acked).toBeGreaterThan(1000);
      expect(verdict.messages.taken).toBeGreaterThan(1000);
      expect(verdict.messages.deadLettered).toBeGreaterThan(0);
      expect(tally.operations.put.fail).toBeGreaterThan(0);
      // Kept when something is wrong.
      await rm(dir, { recursive: true });
    },
  );
});

describe("test/crash/run", () => {
  test("[G1] ends with 1 when a history has a fault, and names it", async () => {
    const dir = await makeDir();
    const path = join(dir, "history.jsonl");
    const story = new Story().put(["p/1"], 1).pull(["p/1", 1]);
    const acks = { acks: [leaseId("p/1")] };
    story.settle(acks).settle(acks);
    await writeFile(path, story.events.map((event) => `${JSON.stringify(event)}\n`).join(""));

    const { code, output } = await runCommand("--check", path);

    expect(code).toBe(1);
    expect(output).toMatch(/^acknowledged twice +1$/m);
    expect(output).toMatch(/p\/1 was acked/);
    await rm(dir, { recursive: true });
  });

  test.each([
    [["--rounds", "0"], /--rounds, got "0"/],
    [["--seed", "x"], /--seed, got "x"/],
    [["--fast"], /--fast/],
    [["--keep", CACHE_DIR], /empty or absent/],
  ])("[G11] ends with 2 for wrong options: %j", async (args, reason) => {
    const { code, output } = await runCommand(...args);

    expect(code).toBe(2);
    expect(output).toMatch(reason);
  });

  test("[G11] --help tells all options and ends with 0", async () => {
    const { code, output } = await runCommand("--help");

    expect(code).toBe(0);
    for (const option of ["--rounds", "--seed", "--keep", "--check"]) expect(output).toContain(option);
  });
});
