// The README's curl lines do what the README says: each is run by a shell, in order, against a fresh server.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { buildWorker, startLocalRuntime } from "../../src/cli/local-runtime.ts";

const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
const README = fileURLToPath(new URL("../../README.md", import.meta.url));
/** Where `npm start` serves; lines for other addresses need an account. */
const README_URL = "http://127.0.0.1:8787";
const COMMAND_TIMEOUT_MS = 15_000;

interface Example {
  readonly command: string;
  /** The comment under the command; `…` stands for anything. */
  readonly reply: string;
}

test("[README] every curl line answers what is written under it", async () => {
  const examples = findExamples(await readFile(README, "utf8"));
  await mkdir(CACHE_DIR, { recursive: true });
  const dir = await mkdtemp(join(CACHE_DIR, "readme-"));
  const { bundle } = await buildWorker({ outDir: join(dir, "bundle") });
  const runtime = await startLocalRuntime({ bundle, storageDir: join(dir, "storage"), vars: { DEVELOPMENT: "1" } });

  try {
    let leaseId = "";
    for (const { command, reply } of examples) {
      const given = await run(command.replaceAll(README_URL, runtime.url).replaceAll("LEASE_ID", leaseId));
      leaseId = /"leaseId":"([^"]+)"/.exec(given)?.[1] ?? leaseId;
      expect({ command, reply: given }).toEqual({ command, reply: expect.stringMatching(patternOf(reply)) });
    }
    expect(examples.length).toBeGreaterThanOrEqual(2);
  } finally {
    await runtime.stop();
    await rm(dir, { recursive: true, force: true });
  }
});

/** The curl lines for this computer, each with the comment that follows it. One without a reply is a mistake of the README. */
function findExamples(readme: string): Example[] {
  const blocks = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
  return blocks.flatMap((block) => {
    const lines = block.split("\n");
    return [...lines.entries()]
      .filter(([, line]) => line.startsWith("curl ") && line.includes(README_URL))
      .map(([index, command]) => {
        const next = lines[index + 1] ?? "";
        expect(next, `the reply of: ${command}`).toMatch(/^# /);
        return { command, reply: next.slice(2) };
      });
  });
}

async function run(command: string): Promise<string> {
  // Silent, but for errors: a progress meter goes to stderr and would not matter, a failure has to be seen.
  const { stdout } = await promisify(execFile)("sh", ["-c", command.replace("curl ", "curl -sS ")], {
    timeout: COMMAND_TIMEOUT_MS,
  });
  return stdout;
}

function patternOf(reply: string): RegExp {
  const parts = reply.split("…").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}
