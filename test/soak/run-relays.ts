// The command line of the soak of relays: `npm run soak:relays -- --rounds 100`. It runs a test of the Workers runtime, the only place where
// objects can be ended one by one, for longer than the tests do.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { chooseSeed } from "../e2e/hostile/seeded-random.ts";
import { parseWholeOptions } from "./options.ts";

const DEFAULTS = { rounds: 100 } as const;

const HELP = `Usage: npm run soak:relays -- [options]

Puts messages into a log that six readers read by relays at two colos, while in each round a relay or the channel is ended, the channel or
a relay hibernates, or readers are cut off, at random. Each reader has to be given each message once and in order.

  --rounds N   default ${DEFAULTS.rounds}
  --seed N     repeats what a run drew by chance; the timing differs (default: a fresh one)
  --help       this text

Ends with 0 when nothing was lost, had twice or out of order, 1 otherwise, 2 for wrong options.`;

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const VITEST = fileURLToPath(new URL("vitest.mjs", import.meta.resolve("vitest/package.json")));

const plan = parseWholeOptions(process.argv.slice(2), HELP, { ...DEFAULTS, seed: chooseSeed() });
if (plan !== undefined) {
  console.log(`seed ${plan.seed}, ${plan.rounds} rounds`);
  const args = ["run", "--config", "test/vitest.config.ts", "--project", "workers", "test/workers/relay-rounds.test.ts"];
  const env = { ...process.env, RELAY_ROUNDS: String(plan.rounds), RELAY_SEED: String(plan.seed) };
  const { status } = spawnSync(process.execPath, [VITEST, ...args], { cwd: ROOT, env, stdio: "inherit" });
  process.exitCode = status === 0 ? 0 : 1;
}
