// The queue for Python against a real server: the cases of python/queue_cases.py, each told as a test of its own, and the README's lines.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";

const MODULE_DIR = fileURLToPath(new URL("../../src/examples/python/", import.meta.url));
const CASES_FILE = fileURLToPath(new URL("python/queue_cases.py", import.meta.url));
const README = fileURLToPath(new URL("../../README.md", import.meta.url));
const TOKEN = "s3cret-token";
const PYTHON_TIMEOUT_MS = 40_000;

/** What each case shows; the names are those of its method. */
const CASES: Readonly<Record<string, string>> = {
  test_Q1_simple_usage: "[ray:Q1] ten items come out in the order in which they were put",
  test_Q2_get: "[ray:Q2] get without and with a timeout, of an item and of nothing",
  test_Q2_get_async: "[ray:Q2] the same of get_async",
  test_Q3_put: "[ray:Q3] put without and with a timeout, into room and into a full queue",
  test_Q3_put_async: "[ray:Q3] the same of put_async",
  test_Q4_concurrent_get: "[ray:Q4] a get that waits holds up nobody and receives the next item",
  test_Q5_concurrent_put: "[ray:Q5] a put that waits holds up nobody and is next",
  test_Q6_batch: "[ray:Q6] a batch that does not fit leaves nothing behind, one that fits comes back in order",
  test_Q6_batch_arguments: "[ray:Q6] what is no batch is refused, and one of none is none",
  test_Q7_qsize: "[ray:Q7] the size follows every put and get",
  test_Q8_shutdown: "[ray:Q8] after a shutdown every call on every handle raises, also one that waits",
  test_Q8_shutdown_with_items: "[ray:Q8] a shutdown with grace leaves what is there to readers",
  test_timeout_of_0_tries_once: "[ray:timeout] a timeout of 0 takes an item that is there and uses room that is there",
  test_items_come_back_as_they_were_put: "bytes, text and JSON come back as they were put, alone and in a batch",
  test_a_batch_that_escapes_make_too_large_fits: "a batch whose escapes would make its request too large is put all the same",
  test_items_that_json_would_change_need_a_serializer: "what JSON would change is refused, unless a serializer is chosen",
  test_a_put_whose_reply_is_lost_is_stored_once: "a put whose reply is lost is sent again and stored once",
  test_a_get_whose_reply_is_lost_loses_nothing: "a get whose reply is lost leaves its item leased, not removed",
  test_answers_of_another_service_are_told: "an answer of another service is none, and nothing counts as stored by it",
  test_answers_that_lack_what_the_call_needs_are_told: "neither is one without the members that the call needs",
  test_a_get_whose_ack_is_answered_by_another_loses_nothing: "a get whose ack is answered by another service returns its item",
  test_a_get_that_is_cancelled_takes_nothing: "a get_async that is cancelled takes nothing",
  test_many_gets_that_wait_keep_no_put_out: "fifty gets that wait keep no put out",
  test_threads_share_a_queue: "threads share a queue",
  test_leases_are_settled_in_every_way: "a lease is acked, retried, rejected, extended and released",
  test_checkpoints_compare_and_set: "a checkpoint is written where the expected version is there",
  test_bad_arguments_are_told_before_anything_is_sent: "bad arguments are told before anything is sent",
  test_refusals_are_told: "a wrong token and another size are refused as such",
};

interface CaseReport {
  readonly case: string;
  /** Null where it passed. */
  readonly problem: string | null;
}

let storageDir: string;
let runtime: LocalRuntime;

beforeAll(async () => {
  storageDir = await mkdtemp(join(tmpdir(), "edge-channel-python-test-"));
  runtime = await startLocalRuntime({ storageDir, vars: { API_TOKEN: TOKEN, AUTO_CREATE: "true" } });
});

afterAll(async () => {
  await runtime?.stop();
  await rm(storageDir, { recursive: true, force: true });
});

describe("src/examples/python/edge_channel.py", () => {
  let reports: readonly CaseReport[];

  beforeAll(async () => {
    const output = await runPython([CASES_FILE]);
    reports = output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as CaseReport);
  });

  test("every case ran, and no other", () => {
    expect(reports.map((report) => report.case).toSorted()).toEqual(Object.keys(CASES).toSorted());
  });

  test.each(Object.entries(CASES).map(([name, rule]) => ({ name, rule })))("$rule", ({ name }) => {
    expect(reports.find((report) => report.case === name)).toEqual({ case: name, problem: null });
  });
});

test("[README] the Python lines print what is written beside them", async () => {
  const [, snippet = ""] = /^```python\n(.*?)^```$/ms.exec(await readFile(README, "utf8")) ?? [];
  const expected = [...snippet.matchAll(/^print\(.*\) +# (.*)$/gm)].map(([, printed]) => printed);

  expect(expected.length).toBeGreaterThanOrEqual(2);
  expect((await runPython(["-c", snippet])).trim().split("\n")).toEqual(expected);
});

/** What it printed. Rejects with what it wrote on stderr when it fails, and says so when there is no Python. */
async function runPython(args: readonly string[]): Promise<string> {
  const env = { ...process.env, PYTHONPATH: MODULE_DIR, EDGE_CHANNEL_URL: runtime.url, EDGE_CHANNEL_TOKEN: TOKEN };
  try {
    const { stdout } = await promisify(execFile)("python3", ["-B", ...args], { env, timeout: PYTHON_TIMEOUT_MS });
    return stdout;
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (isMissing) throw new Error("Cannot test the queue for Python: python3 is not on the PATH", { cause: error });
    throw error;
  }
}
