// Projects: `unit` (pure code, in Node), `workers` (inside workerd), `e2e` (from Node against a running server). Files of the first two share what
// they import, which halves their time: every test has channels, clocks and clients of its own.
import { availableParallelism, tmpdir } from "node:os";
import { resolve } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { findMemoryDir } from "./memory-dir.ts";

const root = resolve(import.meta.dirname, "..");
/** No test waits for time: this is for machines that have much else to do. */
const TEST_TIMEOUT_MS = 30_000;
/** Files that put other modules in the place of some. */
const REPLACES_MODULES = ["test/unit/load-block-codec.test.ts"];

// Temporary files of all tests and of what they start. Those that kill the runtime have its storage on a disk, wherever this is.
process.env["TMPDIR"] = findMemoryDir() ?? tmpdir();
// The programs that tests start, a hundred and more, compile their sources once.
process.env["NODE_COMPILE_CACHE"] = `${root}/node_modules/.cache/edge-channel/compiled`;

export default defineConfig({
  root,
  test: {
    // Three also on two cores: much of the time is waiting for the disk and for servers to start.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    projects: [
      {
        root,
        test: {
          name: "unit",
          environment: "node",
          include: ["test/unit/**/*.test.ts"],
          exclude: REPLACES_MODULES,
          isolate: false,
          testTimeout: TEST_TIMEOUT_MS,
        },
      },
      { root, test: { name: "unit-alone", environment: "node", include: REPLACES_MODULES, testTimeout: TEST_TIMEOUT_MS } },
      {
        root,
        plugins: [
          cloudflareTest({
            wrangler: { configPath: `${root}/wrangler.toml` },
            miniflare: {
              bindings: {
                AUTO_CREATE: "true",
                DEVELOPMENT: "1",
                // Rounds of relay-rounds.test.ts, and what they draw by; 0 for a fresh seed.
                RELAY_ROUNDS: process.env["RELAY_ROUNDS"] ?? "8",
                RELAY_SEED: process.env["RELAY_SEED"] ?? "0",
                // How many messages storage-proportion.test.ts settles behind a stuck one: a million takes longer than most want to wait.
                STUCK_MESSAGES: process.env["STUCK_MESSAGES"] ?? "200000",
              },
            },
            // Objects log every error they throw, expected or not; a failed test reports its own.
            verbose: false,
          }),
        ],
        test: {
          name: "workers",
          include: ["test/workers/**/*.test.ts"],
          isolate: false,
          testTimeout: TEST_TIMEOUT_MS,
          // itty-durable ships ES modules in a package that says CommonJS: bundle it first.
          deps: { optimizer: { ssr: { enabled: true, include: ["itty-durable"] } } },
        },
      },
      {
        root,
        test: {
          name: "e2e",
          environment: "node",
          include: ["test/e2e/**/*.test.ts"],
          // Real servers and real time: patience.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
