// Checkpoints over HTTP in the Workers runtime: entity tags, conditions, bounds, pages, restarts and rows. SPEC section CP.
import { describe, expect, test } from "vitest";
import type { CheckpointEntry } from "../../src/protocol/checkpoint.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { pointersOf } from "./http.ts";
import { execute, restart, runAlarm, silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  freshChannel,
  openSocket,
  patchChannel,
  pathOf,
  type ProblemJson,
  put,
  read,
  readProblem,
} from "./service.ts";

interface PageJson {
  readonly checkpoints: readonly CheckpointEntry[];
  readonly next: string | null;
}

type Headers = Readonly<Record<string, string>>;

function addressOf(channel: string, name: string): string {
  return pathOf(channel, `/checkpoints/${name}`);
}

function write(channel: string, name: string, body: BodyInit = "x", headers: Headers = {}): Promise<Response> {
  return call("PUT", addressOf(channel, name), { body, headers: { "Content-Type": "text/plain", ...headers } });
}

function get(channel: string, name: string): Promise<Response> {
  return call("GET", addressOf(channel, name));
}

function remove(channel: string, name: string, headers: Headers = {}): Promise<Response> {
  return call("DELETE", addressOf(channel, name), { headers });
}

function list(channel: string, query = ""): Promise<PageJson> {
  return read<PageJson>(call("GET", pathOf(channel, `/checkpoints${query}`)));
}

/** The text and tag of a checkpoint, or the kind of the refusal. */
async function look(channel: string, name: string): Promise<string> {
  const reply = await get(channel, name);
  return reply.ok ? `${await reply.text()} ${reply.headers.get("ETag")}` : (await reply.json<ProblemJson>()).kind;
}

async function writtenBy(channel: string, work: () => Promise<unknown>): Promise<number> {
  const before = (await describeChannel(channel)).rows.written;
  await work();
  return (await describeChannel(channel)).rows.written - before;
}

silenceWarnings();

describe("src/worker/checkpoint-routes", () => {
  test("[CP1] a checkpoint is written and read with its version, and no browser runs it", async () => {
    const channel = await createChannel();

    const created = await write(channel, "a", "<script>1</script>", { "Content-Type": "text/html; charset=utf-8" });
    const replaced = await write(channel, "a", new Uint8Array([0, 255, 128]), { "Content-Type": "image/png" });
    const reply = await get(channel, "a");

    expect([created.status, created.headers.get("ETag")]).toEqual([201, '"1"']);
    expect(replaced.headers.get("ETag")).toBe('"2"');
    const entry = await read<CheckpointEntry>(replaced, 200);
    expect(entry).toEqual({ name: "a", version: 2, contentType: "image/png", bytes: 3, updatedAtMs: expect.any(Number) });
    expect(new Uint8Array(await reply.arrayBuffer())).toEqual(new Uint8Array([0, 255, 128]));
    const names = ["Content-Type", "ETag", "Channel-Updated-At-Ms", "X-Content-Type-Options", "Content-Security-Policy"];
    const shown = ["image/png", '"2"', String(entry.updatedAtMs), "nosniff", "default-src 'none'; sandbox"];
    expect(names.map((name) => reply.headers.get(name))).toEqual(shown);
  });

  test("[CP1] a value may be empty and have no content type; HEAD tells the version", async () => {
    const channel = await createChannel();

    const entry = await read<CheckpointEntry>(call("PUT", addressOf(channel, "a")), 201);
    const head = await call("HEAD", addressOf(channel, "a"));

    expect(entry).toMatchObject({ bytes: 0, contentType: "application/octet-stream" });
    expect([head.status, head.headers.get("ETag"), await head.text()]).toEqual([200, '"1"', ""]);
    expect((await (await get(channel, "a")).arrayBuffer()).byteLength).toBe(0);
  });

  test("[CP4] a value of 1 MiB comes back bit for bit, one byte more is refused and changes nothing", async () => {
    const channel = await createChannel();
    const bytes = Uint8Array.from({ length: LIMITS.checkpointBytesMax }, (_, index) => (index * 7) % 251);
    const [fits, tooLarge] = [bytes, new Uint8Array(LIMITS.checkpointBytesMax + 1)];

    await read(write(channel, "a", fits), 201);
    const problem = await readProblem(write(channel, "a", tooLarge));
    const streamed = await readProblem(write(channel, "a", new Blob([tooLarge]).stream()));

    const limit = LIMITS.checkpointBytesMax;
    const facts = { kind: "checkpoint-too-large", status: 413, checkpoint: "a", bytes: limit + 1, limit };
    expect([problem, streamed]).toMatchObject([facts, facts]);
    await restart(channel);
    const kept = await get(channel, "a");
    expect(kept.headers.get("ETag")).toBe('"1"');
    expect(crypto.subtle.timingSafeEqual(await kept.arrayBuffer(), fits)).toBe(true);
  });

  test("[CP3] If-Match takes the version that is there, also as a weak tag, and refuses others with it", async () => {
    const channel = await createChannel();
    await write(channel, "a", "1");

    const stale = await readProblem(write(channel, "a", "lost", { "If-Match": '"7"' }));
    const first = await write(channel, "a", "2", { "If-Match": '"1"' });
    const weak = await write(channel, "a", "3", { "If-Match": ' W/"2" ' });
    const any = await write(channel, "a", "4", { "If-Match": "*" });

    expect(stale).toMatchObject({ kind: "checkpoint-conflict", status: 412, retry: "refetch", checkpoint: "a", current: 1 });
    expect([first, weak, any].map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(await look(channel, "a")).toBe('4 "4"');
    for (const tag of ['"1"', "*"]) {
      const problem = await readProblem(write(channel, "none", "x", { "If-Match": tag }));
      expect(problem).toMatchObject({ kind: "checkpoint-conflict", status: 412, current: null });
    }
    expect(await look(channel, "none")).toBe("unknown-checkpoint");
  });

  test("[CP3] If-None-Match: * creates only", async () => {
    const channel = await createChannel();
    const headers = { "If-None-Match": "*" };

    const created = await write(channel, "a", "1", headers);
    const problem = await readProblem(write(channel, "a", "2", headers));

    expect(created.status).toBe(201);
    expect(problem).toMatchObject({ kind: "checkpoint-conflict", status: 412, current: 1 });
    expect(await look(channel, "a")).toBe('1 "1"');
  });

  test("[CP2] [CP3] a deletion may be conditional, and the name goes on above its version", async () => {
    const channel = await createChannel();
    for (const text of ["1", "2"]) await write(channel, "a", text);

    const problem = await readProblem(remove(channel, "a", { "If-Match": '"1"' }));
    const removed = await read(remove(channel, "a", { "If-Match": '"2"' }));

    expect(problem).toMatchObject({ kind: "checkpoint-conflict", current: 2 });
    expect(removed).toEqual({ name: "a", version: 2 });
    expect(await readProblem(get(channel, "a"))).toMatchObject({ kind: "unknown-checkpoint", status: 404, checkpoint: "a" });
    expect((await readProblem(remove(channel, "a"))).kind).toBe("unknown-checkpoint");
    expect(await readProblem(remove(channel, "a", { "If-Match": "*" }))).toMatchObject({ status: 412, current: null });
    await restart(channel);
    expect((await write(channel, "a")).headers.get("ETag")).toBe('"3"');
  });

  test("[G11] conditions in any other form are refused, and nothing is written or deleted", async () => {
    const channel = await createChannel();
    await write(channel, "a", "1");
    const matches = [
      "1",
      '"a"',
      '"-1"',
      '"1.5"',
      '"1", "2"',
      '""',
      '*, "1"',
      '"03"',
      'w/"1"',
      `"${"1".repeat(16)}"`,
      "**",
      "x".repeat(5000),
    ];

    for (const value of matches) {
      const headers = { "If-Match": value };
      expect([value, await pointersOf(write(channel, "a", "lost", headers))]).toEqual([value, ["/header/If-Match"]]);
      expect([value, await pointersOf(remove(channel, "a", headers))]).toEqual([value, ["/header/If-Match"]]);
    }
    for (const value of ['"1"', "**", '*, "1"']) {
      const reply = write(channel, "a", "lost", { "If-None-Match": value });
      expect([value, await pointersOf(reply)]).toEqual([value, ["/header/If-None-Match"]]);
    }
    expect(await pointersOf(write(channel, "a", "lost", { "If-Match": '"1"', "If-None-Match": "*" }))).toEqual([
      "/header/If-None-Match",
    ]);
    expect(await pointersOf(remove(channel, "a", { "If-None-Match": "*" }))).toEqual(["/header/If-None-Match"]);
    expect(await look(channel, "a")).toBe('1 "1"');
  });

  test("[G11] names, queries and content types that are not valid are refused", async () => {
    const channel = await createChannel();
    for (const name of ["-a", ".a", "%20", "a%2Fb", "%C3%BC", "a@b", "x".repeat(LIMITS.checkpointNameCharsMax + 1)]) {
      for (const reply of [write(channel, name), get(channel, name), remove(channel, name)]) {
        expect([name, await pointersOf(reply)]).toEqual([name, ["/path/checkpoint"]]);
      }
    }
    for (const query of ["after=%20", "prefix=-", "limit=0", `limit=${LIMITS.checkpointsPageMax + 1}`, "limit=x", "after="]) {
      const pointer = `/query/${query.split("=")[0]}`;
      expect([query, await pointersOf(call("GET", pathOf(channel, `/checkpoints?${query}`)))]).toEqual([query, [pointer]]);
    }
    expect(await pointersOf(write(channel, "a", "x", { "Content-Type": "text" }))).toEqual(["/header/Content-Type"]);
    expect((await list(channel)).checkpoints).toEqual([]);
  });

  test("[CP6] checkpoints are listed by pages, by prefix, without values", async () => {
    const channel = await createChannel();
    for (const name of ["b", "a.2", "a.1", "a.10", "c"]) await write(channel, name, name);

    const first = await list(channel, "?limit=2");
    const second = await list(channel, `?limit=2&after=${first.next}`);
    const third = await list(channel, `?limit=2&after=${second.next}`);

    const names = [first, second, third].map(({ checkpoints }) => checkpoints.map(({ name }) => name));
    expect(names).toEqual([["a.1", "a.10"], ["a.2", "b"], ["c"]]);
    expect(third.next).toBeNull();
    const entry = { name: "a.10", version: 1, contentType: "text/plain", bytes: 4, updatedAtMs: expect.any(Number) };
    expect(first.checkpoints[1]).toEqual(entry);
    expect((await list(channel, "?prefix=a.1")).checkpoints).toHaveLength(2);
    expect(await list(channel, "?prefix=d")).toEqual({ checkpoints: [], next: null });
  });

  test("[CP7] a channel that does not exist is not created, a deleted one is told, other states serve", async () => {
    const [unknown, deleted, closed] = [freshChannel(), await createChannel(), await createChannel()];
    await write(deleted, "a");
    await call("DELETE", pathOf(deleted, "?force=true"));
    await patchChannel(closed, { state: "closed" });

    for (const [channel, kind] of [
      [unknown, "unknown-channel"],
      [deleted, "channel-deleted"],
    ] as const) {
      const replies = [
        write(channel, "a"),
        get(channel, "a"),
        remove(channel, "a"),
        call("GET", pathOf(channel, "/checkpoints")),
      ];
      for (const reply of replies) expect((await readProblem(reply)).kind).toBe(kind);
    }
    expect((await readProblem(call("GET", pathOf(unknown)))).kind).toBe("unknown-channel");
    expect([(await write(closed, "a")).status, await look(closed, "a")]).toEqual([201, 'x "1"']);
  });

  test("[CP9] a purge leaves checkpoints, a new life has none", async () => {
    const channel = await createChannel();
    await put(channel, "m");
    for (const text of ["1", "2"]) await write(channel, "a", text);
    await call("DELETE", pathOf(channel, "/messages"));
    const purged = await look(channel, "a");

    await call("DELETE", pathOf(channel, "?force=true"));
    await read(call("PUT", pathOf(channel)), 201);

    expect([purged, await look(channel, "a"), (await list(channel)).checkpoints]).toEqual(['2 "2"', "unknown-checkpoint", []]);
    expect((await write(channel, "a")).headers.get("ETag")).toBe('"1"');
  });
});

describe("src/object/committer: checkpoints", () => {
  test("[CP3] of many writes at once that expect the same version one wins", async () => {
    const channel = await createChannel();
    await write(channel, "a", "start");

    const replies = await Promise.all(
      Array.from({ length: 20 }, (_, index) => write(channel, "a", String(index), { "If-Match": '"1"' })),
    );

    const statuses = replies.map(({ status }) => status).sort((a, b) => a - b);
    expect(statuses).toEqual([200, ...Array<number>(19).fill(412)]);
    expect(await look(channel, "a")).toBe(`${replies.findIndex(({ status }) => status === 200)} "2"`);
  });

  test("[CP10] a write is one row, a deletion two, reads and refusals none", async () => {
    const channel = await createChannel({ expireAfterIdleMs: null });
    await write(channel, "a", "x".repeat(100_000));
    // Tells the directory, which is a row of its own.
    await runAlarm(channel);
    await restart(channel);

    expect(await writtenBy(channel, () => write(channel, "b"))).toBe(1);
    expect(await writtenBy(channel, () => write(channel, "a", "x".repeat(200_000)))).toBe(1);
    expect(await writtenBy(channel, () => remove(channel, "b"))).toBe(2);
    expect(await writtenBy(channel, () => write(channel, "a", "lost", { "If-None-Match": "*" }))).toBe(0);
    expect(await writtenBy(channel, () => get(channel, "a"))).toBe(0);
    expect(await writtenBy(channel, () => list(channel))).toBe(0);
  });

  test("[CP10] waking and messages read no checkpoints", async () => {
    const channel = await createChannel();
    const rowsRead: number[] = [];
    for (const count of [1, 40]) {
      await Promise.all(Array.from({ length: count }, (_, index) => write(channel, `n${index}`)));
      await restart(channel);
      rowsRead.push((await describeChannel(channel)).rows.read);
    }

    expect(rowsRead[1]).toBe(rowsRead[0]);
  });

  test("[RC6] a write that storage refuses changes nothing; deletions work meanwhile", async () => {
    const channel = await createChannel();
    for (const name of ["a", "b"]) await write(channel, name, "kept");
    const raise = "SELECT RAISE(ABORT, 'database or disk is full')";
    await execute(channel, `CREATE TRIGGER refuse BEFORE INSERT ON checkpoint BEGIN ${raise}; END`);

    const problem = await readProblem(write(channel, "a", "lost"));
    const removed = await remove(channel, "b");

    expect(problem).toMatchObject({ kind: "storage-failed", outcome: "not-applied" });
    expect([removed.status, await look(channel, "a")]).toEqual([200, 'kept "1"']);
    await execute(channel, "DROP TRIGGER refuse");
    expect((await write(channel, "b")).headers.get("ETag")).toBe('"2"');
  });
});

describe("src/object/checkpoint-requests: frames", () => {
  test("[CP1] [CP3] a checkpoint is written, read, listed and deleted over the socket as over HTTP", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const written = await socket.ask({ type: "write-checkpoint", id: 1, name: "a", json: { at: 7 }, ifNoneMatch: "*" });
    expect(written).toMatchObject({ type: "checkpoint-written", id: 1, name: "a", version: 1, bytes: 8, created: true });
    expect(await look(channel, "a")).toBe('{"at":7} "1"');
    const { created: _, ...entry } = written as unknown as Record<string, unknown>;
    expect(await socket.ask({ type: "read-checkpoint", id: 2, name: "a" })).toEqual({
      ...entry,
      type: "checkpoint",
      id: 2,
      json: { at: 7 },
    });
    expect(await socket.ask({ type: "write-checkpoint", id: 3, name: "a", text: "b", ifMatch: 1 })).toMatchObject({
      version: 2,
      created: false,
    });
    await write(channel, "b", "x");
    const page = await list(channel, "?limit=1");
    expect(await socket.ask({ type: "list-checkpoints", id: 4, limit: 1 })).toEqual({ type: "checkpoints", id: 4, ...page });
    expect(await socket.ask({ type: "list-checkpoints", id: 5, after: "a", prefix: "b" })).toMatchObject({
      checkpoints: [{ name: "b" }],
      next: null,
    });
    expect(await socket.ask({ type: "delete-checkpoint", id: 6, name: "a", ifMatch: "*" })).toEqual({
      type: "checkpoint-deleted",
      id: 6,
      name: "a",
      version: 2,
    });
    expect(await look(channel, "a")).toBe("unknown-checkpoint");
  });

  test("[CP3] [CP4] [G11] what is refused over HTTP is refused in a frame, with the same facts, and the socket goes on", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const kindOf = async (frame: object): Promise<unknown> => {
      const { type, problem } = await socket.ask({ id: 1, ...frame });
      return type === "problem" ? problem : type;
    };
    await write(channel, "a");
    const large = "x".repeat(LIMITS.checkpointBytesMax + 1);

    expect(await kindOf({ type: "read-checkpoint", name: "b" })).toMatchObject({ kind: "unknown-checkpoint", checkpoint: "b" });
    expect(await kindOf({ type: "write-checkpoint", name: "a", text: "", ifMatch: 7 })).toMatchObject({
      kind: "checkpoint-conflict",
      current: 1,
    });
    expect(await kindOf({ type: "write-checkpoint", name: "a", text: large })).toMatchObject({
      kind: "checkpoint-too-large",
      bytes: LIMITS.checkpointBytesMax + 1,
    });
    expect(await kindOf({ type: "write-checkpoint", name: "a", text: "", ifMatch: 1, ifNoneMatch: "*" })).toMatchObject({
      errors: [{ pointer: "/ifNoneMatch" }],
    });
    expect(await kindOf({ type: "write-checkpoint", name: "a" })).toMatchObject({ errors: [{ pointer: "" }] });
    expect(await kindOf({ type: "delete-checkpoint", name: "a", ifMatch: 2 })).toMatchObject({ kind: "checkpoint-conflict" });
    expect(await kindOf({ type: "read-checkpoint", name: "a" })).toBe("checkpoint");
  });

  test("[CP1] [G6] values of the largest size are read by the hundred at once, in their order", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await write(channel, "large", "x".repeat(LIMITS.checkpointBytesMax));
    socket.send(...Array.from({ length: 100 }, (_, id) => ({ type: "read-checkpoint", id, name: "large" })));
    const frames = await socket.settle();
    expect(frames.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, id) => id));
  });
});
