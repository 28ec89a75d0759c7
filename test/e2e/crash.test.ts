// Some rounds of the crash harness on every test run; `npm run crash -- --rounds 300` is the long one.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { listFailures } from "../crash/report.ts";
import { runRounds } from "../crash/rounds.ts";
import { chooseSeed } from "./hostile/seeded-random.ts";

const ROUNDS = 10;
// On the project's disk and not in the system's temporary folder, which may be memory.
const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));

test(
  "[G1] nothing acknowledged is lost, acknowledged twice or out of order over SIGKILLs under load",
  { timeout: 180_000 },
  async () => {
    const seed = chooseSeed();
    await mkdir(CACHE_DIR, { recursive: true });
    const dir = await mkdtemp(join(CACHE_DIR, "crash-"));

    const summary = await runRounds({ rounds: ROUNDS, seed, dir });

    const { tally, verdict, historyPath } = summary;
    console.log(
      JSON.stringify({ seed, kills: tally.kills, unknownShare: tally.unknownShare, ...tally.operations, ...verdict.messages }),
    );
    expect(verdict.examples, `seed ${seed}, history ${historyPath}`).toEqual([]);
    expect(listFailures(summary), `seed ${seed}, history ${historyPath}`).toEqual([]);
    expect(tally.rounds).toBe(ROUNDS);
    // The load did what it is for: leases and gets, back-pressure, dead letters.
    expect(verdict.messages.acked).toBeGreaterThan(1000);
    expect(verdict.messages.taken).toBeGreaterThan(1000);
    expect(verdict.messages.deadLettered).toBeGreaterThan(0);
    expect(tally.operations.put.fail).toBeGreaterThan(0);
    await rm(dir, { recursive: true, force: true });
  },
);
