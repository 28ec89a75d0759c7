// `npm run channel` as people use it: commands as processes of their own, against a runtime that wants a token.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { GuardedRuntime, TOKEN } from "./guarded-runtime.ts";

const PROJECT_DIR = fileURLToPath(new URL("../../", import.meta.url));
const CHANNEL = join(PROJECT_DIR, "src/cli/channel.ts");
const RANDOM_BYTES = 3_000_000;

const runtime = GuardedRuntime.forThisFile();

interface Ended {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

class Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
  #stdout = Buffer.alloc(0);
  #stderr = "";
  #seen = Promise.withResolvers<void>();

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const given = { EDGE_CHANNEL_URL: runtime.url, EDGE_CHANNEL_TOKEN: TOKEN, CHANNEL, NODE: process.execPath, ...env };
    this.child = spawn(program, args, { cwd: PROJECT_DIR, env: { ...process.env, ...given } });
    this.child.stdout.on("data", (chunk: Buffer) => {
      this.#stdout = Buffer.concat([this.#stdout, chunk]);
      this.#seen.resolve();
      this.#seen = Promise.withResolvers<void>();
    });
    this.child.stderr.on("data", (chunk: Buffer) => (this.#stderr += chunk.toString()));
    // A command that refuses may end before it has read its input.
    this.child.stdin.on("error", () => undefined);
    this.ended = once(this.child, "close").then(([code]: readonly (number | null)[]) => {
      this.#seen.resolve();
      return { code: code ?? null, stdout: this.#stdout, stderr: this.#stderr };
    });
    onTestFinished(() => void this.child.kill("SIGKILL"));
  }

  /** Resolves when so many bytes were written. */
  async wrote(bytes: number): Promise<void> {
    while (this.#stdout.byteLength < bytes && this.child.exitCode === null) await this.#seen.promise;
    if (this.#stdout.byteLength < bytes) throw new Error(`It ended with ${this.#stdout.byteLength} bytes: ${this.#stderr}`);
  }

  /** The first lines, when so many were written. */
  async lines(count: number): Promise<string[]> {
    for (;;) {
      const lines = this.#stdout.toString().split("\n");
      if (lines.length > count) return lines.slice(0, count);
      if (this.child.exitCode !== null) throw new Error(`It ended with ${lines.length - 1} lines: ${this.#stderr}`);
      await this.#seen.promise;
    }
  }

  async stop(): Promise<Ended> {
    this.child.kill("SIGINT");
    return await this.ended;
  }
}

function begin(...args: readonly string[]): Running {
  return new Running(process.execPath, [CHANNEL, ...args]);
}

/** Runs a command to its end, with all of its input. */
function run(args: readonly string[], input: string | Uint8Array = "", env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const running = new Running(process.execPath, [CHANNEL, ...args], env);
  running.child.stdin.end(input);
  return running.ended;
}

/** Runs a command that has to succeed, and returns the values that it wrote, a line each. */
async function read(...args: readonly string[]): Promise<unknown[]> {
  const { code, stdout, stderr } = await run(args);
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: "" });
  return stdout
    .toString()
    .split("\n")
    .filter((line) => line !== "")
    .map((line): unknown => JSON.parse(line));
}

/** Asks for what no command does. */
async function request(method: string, path: string, body: object): Promise<void> {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${TOKEN}` };
  const reply = await fetch(`${runtime.url}/v1/channels/${path}`, { method, headers, body: JSON.stringify(body) });
  expect({ path, ok: reply.ok }).toEqual({ path, ok: true });
}

function freshName(): string {
  return `c-${crypto.randomUUID()}`;
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

describe("channel pipe and sub", () => {
  test.each([
    ["text", () => readFile(join(PROJECT_DIR, "README.md"))],
    ["text without a last line end", async () => Buffer.from("a\r\n\n\u00e4\u{1f600}\nlast")],
    ["random bytes", async () => randomBytes(RANDOM_BYTES)],
    ["nothing", async () => Buffer.alloc(0)],
  ])("the line of the README gives the hash of the file itself: %s", async (_, makeBytes) => {
    const bytes = await makeBytes();
    const env = { FILE: join(runtime.dir, "input"), NAME: freshName() };
    await writeFile(env.FILE, bytes);
    const line =
      'cat "$FILE" | npm run -s channel -- pipe "$NAME" && npm run -s channel -- sub "$NAME" --until-empty --raw | sha256sum';
    const { code, stdout, stderr } = await new Running("sh", ["-c", line], env).ended;

    expect({ code, stderr, hash: stdout.toString().slice(0, 64) }).toEqual({ code: 0, stderr: "", hash: hashOf(bytes) });
  });

  test("a full channel makes the input wait, long lines are split to fit, and a stopped reader leaves what it did not write", async () => {
    const bytes = Buffer.concat([randomBytes(40_000), Buffer.alloc(5_000, "x"), Buffer.from("\nend")]);
    const name = freshName();
    await read("create", name, "--max-messages", "100", "--max-message-bytes", "1000");
    const pipe = begin("pipe", name, "--json");
    pipe.child.stdin.end(bytes);
    const reader = begin("sub", name, "--raw");
    await reader.wrote(10_000);
    const stopped = await reader.stop();
    const rest = begin("sub", name, "--raw");
    const { code, stdout } = await pipe.ended;
    await rest.wrote(bytes.byteLength - stopped.stdout.byteLength);

    expect(code).toBe(0);
    expect(JSON.parse(stdout.toString())).toMatchObject({ bytes: bytes.byteLength });
    expect(stopped).toMatchObject({ code: 130, stderr: "" });
    expect(Buffer.concat([stopped.stdout, (await rest.stop()).stdout]).equals(bytes)).toBe(true);
    expect(await read("stats", name)).toMatchObject([{ depth: 0, delivery: { leased: 0 } }]);
  });

  test("sub --until-empty ends well where the channel ends with the last message, and only there", async () => {
    const [drained, deleted, closed, log] = [freshName(), freshName(), freshName(), freshName()];
    await read("create", log, "--retention", "log");
    for (const group of ["g", "other"]) await request("PUT", `${log}/groups/${group}`, { start: { at: "first" } });
    for (const name of [drained, deleted, closed, log]) expect(await run(["pipe", name], "1\n2\n3\n")).toMatchObject({ code: 0 });
    for (const name of [drained, log]) await request("PATCH", name, { state: "draining" });
    await request("PATCH", closed, { state: "closed" });
    await read("rm", deleted, "--grace", "1d");
    const all = { code: 0, stdout: Buffer.from("1\n2\n3\n"), stderr: "" };
    const nothing = { code: 1, stdout: Buffer.alloc(0) };

    for (const name of [drained, deleted]) expect(await run(["sub", name, "--until-empty", "--raw"])).toEqual(all);
    for (const group of ["g", "other"]) expect(await run(["sub", log, "--group", group, "--until-empty", "--raw"])).toEqual(all);
    for (const name of [drained, deleted, closed])
      expect(await run(["sub", name, "--until-empty", "--raw"])).toMatchObject(nothing);
  });

  test("a line is put as soon as it has come; --nul ends messages at NUL bytes", async () => {
    const [lines, nuls] = [freshName(), freshName()];
    const pipe = begin("pipe", lines);
    pipe.child.stdin.write("one\ntw");
    expect(await read("get", lines, "--wait", "30s")).toMatchObject([{ text: "one\n" }]);
    pipe.child.stdin.end("o");
    expect(await pipe.ended).toMatchObject({ code: 0, stderr: "" });
    expect(await read("get", lines)).toMatchObject([{ text: "two" }]);

    expect(await run(["pipe", nuls, "--nul"], "a\nb\0c")).toMatchObject({ code: 0 });
    expect((await read("sub", nuls, "--max", "2")).length).toBe(2);
  });

  test("stopped where there is no room, it says how much was put", async () => {
    const name = freshName();
    await read("create", name, "--max-messages", "4");
    const pipe = begin("pipe", name);
    pipe.child.stdin.write("1\n2\n3\n4\n5\n6\n");
    let depth: unknown = 0;
    while (depth !== 4) [{ depth }] = (await read("stats", name)) as [{ depth: number }];
    const stopped = await pipe.stop();

    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/^channel: Ended early: [34] messages put, \d+ bytes of the input\n$/);
  });
});

describe("channel", () => {
  test("put, get, inspect: a message keeps its key, id and headers, and is gone when it was shown", async () => {
    const name = freshName();
    const file = join(runtime.dir, "body");
    await writeFile(file, Buffer.from([0, 255]));
    expect(
      await read(
        "put",
        name,
        "hello",
        "--key",
        "k",
        "--id",
        "i",
        "--header",
        "a=b=c",
        "--ttl",
        "1h",
        "--idempotency-key",
        "once",
      ),
    ).toMatchObject([{ offset: 1, isDuplicate: false }]);
    const more = await Promise.all([
      read("put", name, "hello", "--key", "k", "--id", "i", "--header", "a=b=c", "--ttl", "1h", "--idempotency-key", "once"),
      read("put", name, "--file", file, "--delay", "30d"),
      read("inspect", name, "1"),
    ]);
    expect(more).toMatchObject([
      [{ offset: 1, isDuplicate: true }],
      [{ offset: null, scheduled: [{ index: 0 }] }],
      [{ message: { key: "k", text: "hello" }, history: { offset: 1, put: { via: "http" } } }],
    ]);
    expect(await read("get", name, "--max", "5")).toMatchObject([
      { offset: 1, key: "k", messageId: "i", headers: { a: "b=c" }, ttlMs: 3_600_000, text: "hello", attempt: 1 },
    ]);
    expect(await run(["get", name])).toMatchObject({ code: 1, stderr: expect.stringContaining("--wait 30s") as string });
  });

  test("[RG6] readers lists who reads and who puts, a line each, and only those that are asked for", async () => {
    const name = freshName();
    await read("put", name, "a");
    const reader = begin("sub", name);
    await reader.wrote(1);

    expect(await read("readers", name)).toMatchObject([
      { role: "reader", kind: "member", connections: 1 },
      { role: "producer", kind: "http", connections: 0 },
    ]);
    expect(await read("readers", name, "--role", "reader")).toMatchObject([{ role: "reader" }]);
    expect(await read("readers", name, "--colo", "ZZZ")).toEqual([]);
    expect(await run(["readers", name, "--role", "all"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("expected reader, producer") as string,
    });
    await reader.stop();
  });

  test("[RG8] readers --follow tells how many there are, then who comes and goes, until it is stopped", async () => {
    const name = freshName();
    await read("put", name, "a");
    const follower = begin("readers", name, "--follow");
    expect(await follower.lines(1)).toEqual(['{"type":"present","readers":0,"colos":[]}']);
    const reader = begin("sub", name);
    await follower.lines(2);
    await reader.stop();
    const [, joined = "", left] = await follower.lines(3);

    expect(joined).toMatch(/^\{"type":"join","reader":"~\d+","colo":/);
    expect(left).toBe(joined.replace("join", "leave"));
    expect(await follower.stop()).toMatchObject({ code: 130 });
    expect(await run(["readers", name, "--follow", "--role", "reader"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--role with --follow") as string,
    });
  });

  test("get --no-ack leaves messages leased; what was rejected is put again by redrive", async () => {
    const name = freshName();
    await read("put", name, "a");
    const [{ leaseId }] = (await read("get", name, "--no-ack", "--lease", "10m")) as [{ leaseId: string }];
    expect(await read("stats", name)).toMatchObject([{ delivery: { leased: 1 } }]);

    await request("POST", `${name}/messages/settle`, { rejects: [{ leaseId }] });
    expect(await read("redrive", name)).toEqual([{ moved: 1, isMore: false }]);
    expect(await read("redrive", name, "--rate", "100")).toMatchObject([{ ratePerSecond: 100 }]);
    expect(await read("get", name)).toMatchObject([{ text: "a", redrivenFrom: 1 }]);
  });

  test("create, channels, rm: settings by options or as JSON, and what is deleted is counted", async () => {
    const name = freshName();
    expect(await read("create", name, "--max-bytes", "64KiB", "--retention", "log", "--max-age", "1.5h")).toMatchObject([
      { channel: name, settings: { maxBytes: 65_536, retention: "log", maxAgeMs: 5_400_000 } },
    ]);
    const conflict = await run(["create", name, "--settings", '{"maxMessages":5}']);
    expect(conflict).toMatchObject({ code: 1, stderr: expect.stringContaining("leave out the settings that differ") as string });
    let listed: unknown[] = [];
    // The directory is seconds behind.
    while (listed.length === 0) listed = await read("channels", "--prefix", name);
    expect(listed).toMatchObject([{ channel: name }]);
    await read("put", name, "a");
    expect(await read("rm", name, "--force")).toEqual([{ state: "deleted", droppedMessages: 1 }]);
    expect(await run(["stats", name])).toMatchObject({ code: 1, stderr: expect.stringContaining("was deleted") as string });
  });

  test("[NM6] move takes a channel elsewhere, where it is after a restart of the server too", async () => {
    const name = freshName();
    await read("put", name, "a");
    expect(await read("move", name, "--to", "weur")).toMatchObject([{ channel: name, depth: 1, place: { generation: 1 } }]);
    const again = await run(["move", name, "--to", "weur"]);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("was asked to be in weur before") as string });
    expect((await run(["move", name])).code).toBe(2);
    await runtime.kill();
    await runtime.startAgain();
    await read("put", name, "b");
    expect(await read("get", name, "--max", "2")).toMatchObject([{ text: "a" }, { text: "b" }]);
  });

  test("pipe and tail go on where the server is killed and started again: nothing is missing, there twice, or taken", async () => {
    const name = freshName();
    await read("create", name, "--retention", "log");
    const pipe = begin("pipe", name);
    const tail = begin("tail", name, "--from", "first");
    pipe.child.stdin.write("1\n");
    await tail.wrote(1);
    await runtime.kill();
    pipe.child.stdin.end("2\n3\n");
    await runtime.startAgain();
    const piped = await pipe.ended;
    await tail.wrote(3 * 85);
    const { stdout, stderr } = await tail.stop();

    expect(piped).toMatchObject({ code: 0, stderr: "" });
    expect(stderr).toBe("channel: Connected again, without a gap\n");
    const lines = stdout.toString().trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { readonly text: string }).text)).toEqual(["1\n", "2\n", "3\n"]);
    expect(await read("stats", name)).toMatchObject([{ depth: 3 }]);
  });

  test("bench counts what it put and got, leaves the channel empty, and takes nothing of others", async () => {
    const name = freshName();
    const [report] = (await read("bench", name, "--seconds", "1")) as [
      Record<"puts" | "gets", { done: number; perSecond: number }>,
    ];
    expect(report.puts.done).toBeGreaterThan(0);
    expect(report.gets.done).toBeGreaterThan(0);
    expect(await read("stats", name)).toMatchObject([{ depth: 0 }]);
    await read("put", name, "a");
    expect(await run(["bench", name])).toMatchObject({ code: 2, stderr: expect.stringContaining("empty queue") as string });
  });
});

describe("channel: what goes wrong is told in one line, with what to do", () => {
  const nowhere = { EDGE_CHANNEL_URL: "http://127.0.0.1:9" };
  const cases: readonly (readonly [
    what: string,
    code: number,
    line: RegExp,
    args: readonly string[],
    env?: NodeJS.ProcessEnv,
  ])[] = [
    ["no command", 2, /No command is given: see channel --help/, []],
    ["an unknown command", 2, /no command "pot": see channel --help/, ["pot"]],
    ["an unknown option", 2, /Unknown option '--foo': see channel put --help/, ["put", "c", "--foo"]],
    ["no channel", 2, /CHANNEL is missing: see channel get --help/, ["get"]],
    ["a wrong channel name", 2, /channel name "a b"/, ["get", "a b"]],
    ["unknown settings", 2, /\/foo: Unknown member/, ["create", "c", "--settings", '{"foo":1}']],
    ["settings that are a list", 2, /Cannot use --settings: Expected a JSON object/, ["create", "c", "--settings", "[]"]],
    ["settings that are a number", 2, /Cannot use --settings: .*Expected Object/, ["create", "c", "--settings", "5"]],
    ["settings that are null", 2, /Cannot use --settings: .*Expected Object/, ["create", "c", "--settings", "null"]],
    ["settings that are text", 2, /Cannot use --settings: .*Expected Object/, ["create", "c", "--settings", '"x"']],
    ["a file that is not there", 2, /there is no such file/, ["put", "c", "--file", "/nowhere"]],
    ["a folder as file", 2, /Cannot read .*src: it is a folder/, ["put", "c", "--file", join(PROJECT_DIR, "src")]],
    ["a wrong address", 2, /begin with http/, ["get", "c"], { EDGE_CHANNEL_URL: "nonsense" }],
    ["a wrong port", 2, /"99999" is no port.*see channel stats/, ["stats", "c"], { EDGE_CHANNEL_URL: "http://127.0.0.1:99999" }],
    ["two headers of a name", 2, /--header "a=2": a message has one a/, ["put", "c", "x", "--header", "a=1", "--header", "a=2"]],
    ["an option twice", 2, /Cannot use --max twice: give it once: see channel get/, ["get", "c", "--max", "5", "--max", "6"]],
    ["no place", 2, /--from "foo": expected first, last, or an offset from 1 to \d+/, ["tail", "c", "--from", "foo"], nowhere],
    ["offset 0", 2, /--from "0": expected first, last, or an offset from 1/, ["tail", "c", "--from", "0"], nowhere],
    ["no server", 3, /127.0.0.1:9.*set EDGE_CHANNEL_URL/, ["sub", "c"], nowhere],
    ["no server to watch", 3, /127.0.0.1:9.*set EDGE_CHANNEL_URL/, ["tail", "c"], nowhere],
    ["a wrong token, over HTTP", 1, /set EDGE_CHANNEL_TOKEN/, ["put", "c", "a"], { EDGE_CHANNEL_TOKEN: "no" }],
    ["a wrong token, over a socket", 1, /set EDGE_CHANNEL_TOKEN/, ["pipe", "c"], { EDGE_CHANNEL_TOKEN: "no" }],
    ["no token", 1, /set EDGE_CHANNEL_TOKEN/, ["tail", "c"], { EDGE_CHANNEL_TOKEN: "" }],
    ["no channel of the name", 1, /There is no channel nothing/, ["stats", "nothing"]],
  ];

  test.each(["put", "pipe"])("a folder is no input: %s", async (command) => {
    const name = freshName();
    const line = '"$NODE" "$CHANNEL" "$COMMAND" "$NAME" < src';
    const ended = await new Running("sh", ["-c", line], { COMMAND: command, NAME: name }).ended;

    expect(ended).toMatchObject({
      code: 2,
      stderr: `channel: Cannot read the input: it is a folder: see channel ${command} --help\n`,
    });
    expect(await run(["stats", name])).toMatchObject({ code: 1 });
  });

  test("each", async () => {
    const ended = await Promise.all(cases.map(([, , , args, env]) => run(args, "", env)));

    for (const [index, [what, code, line]] of cases.entries()) {
      const stderr = expect.stringMatching(line) as string;
      expect({ what, ...ended[index] }).toEqual({ what, code, stdout: Buffer.alloc(0), stderr });
      expect(ended[index]?.stderr).toMatch(/^channel: [^\n]+\n$/);
    }
  });
});
