// Snapshots and restores over HTTP in the Workers runtime, with the real store. SPEC section SN.
import { runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { hibernate, inObject, passTime, silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  freshChannel,
  lease,
  pathOf,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  settle,
  stubOf,
} from "./service.ts";

async function begin(channel: string): Promise<string> {
  return (await read<{ snapshotId: string }>(call("POST", pathOf(channel, "/snapshots")), 201)).snapshotId;
}

function readPage(channel: string, snapshotId: string, query: string): Promise<Response> {
  return call("GET", pathOf(channel, `/snapshots/${snapshotId}${query}`));
}

async function readPages(
  channel: string,
  maxBytes = 2000,
  between = (): Promise<unknown> => Promise.resolve(),
): Promise<Uint8Array[]> {
  const snapshotId = await begin(channel);
  const pages: Uint8Array[] = [];
  for (let page = 1; ; page++) {
    const reply = await readPage(channel, snapshotId, `?page=${page}&maxBytes=${maxBytes}`);
    expect([reply.status, reply.headers.get("Content-Type")]).toEqual([200, "application/octet-stream"]);
    expect(reply.headers.get("Channel-Snapshot-Sha256")).toMatch(/^[0-9a-f]{64}$/);
    pages.push(new Uint8Array(await reply.arrayBuffer()));
    if (reply.headers.get("Channel-Snapshot-Last") === "true") break;
    await between();
  }
  await read(call("DELETE", pathOf(channel, `/snapshots/${snapshotId}`)));
  return pages;
}

async function beginRestore(channel: string): Promise<string> {
  return (await read<{ restoreId: string }>(call("POST", pathOf(channel, "/restores")), 201)).restoreId;
}

function stage(channel: string, restoreId: string, page: number, body: BodyInit): Promise<Response> {
  return call("PUT", pathOf(channel, `/restores/${restoreId}/pages/${page}`), { body });
}

function commit(channel: string, restoreId: string): Promise<Response> {
  return call("POST", pathOf(channel, `/restores/${restoreId}/commit`));
}

async function restore(
  pages: readonly Uint8Array[],
  between = (_: string): Promise<unknown> => Promise.resolve(),
): Promise<string> {
  const channel = freshChannel();
  const restoreId = await beginRestore(channel);
  for (const [index, body] of pages.entries()) {
    await read(stage(channel, restoreId, index + 1, body));
    await between(channel);
  }
  await read(commit(channel, restoreId), 201);
  return channel;
}

async function reasonOf(reply: Promise<Response>): Promise<unknown> {
  return (await readProblem(reply))["reason"];
}

function tablesOf(channel: string): Promise<string[]> {
  return inObject(channel, (_, { storage }) => {
    const select = "SELECT name FROM sqlite_master WHERE name NOT LIKE '_cf_%' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    return storage.sql
      .exec<{ name: string }>(select)
      .toArray()
      .map((row) => row.name);
  });
}

silenceWarnings();

describe("snapshots over HTTP", () => {
  test("[SN1] [SN2] [SN8] a channel goes on in another from a snapshot that was read while it worked", async () => {
    const source = await createChannel({ maxMessages: 500 });
    await putBatch(
      source,
      Array.from({ length: 200 }, (_, index) => `message ${index}`),
    );
    await call("POST", pathOf(source, "/messages"), { body: "later", headers: { "Channel-Delay-Ms": "3600000" } });
    await call("POST", pathOf(source, "/messages"), { body: "once", headers: { "Idempotency-Key": "k" } });
    await call("PUT", pathOf(source, "/checkpoints/totals"), { body: "7" });
    const {
      messages: [first, second],
    } = await lease(source, { max: 3 });
    await settle(source, { rejects: [{ leaseId: first?.leaseId, reason: "bad" }] });
    const before = await describeChannel(source);

    const pages = await readPages(source, 2000, async () => {
      await pullTexts(source, { max: 60 });
      await put(source, "new");
      await hibernate(source);
    });
    const target = await restore(pages, (channel) => hibernate(channel));

    expect(pages.length).toBeGreaterThan(2);
    const after = await describeChannel(target);
    const { depth, bytes, settings, counts, scheduled, createdAtMs } = before;
    expect(after).toMatchObject({ depth, bytes, settings, counts, scheduled, createdAtMs, state: "open" });
    expect(after.life).not.toBe(before.life);
    const problem = await readProblem(
      call("POST", pathOf(target, "/messages/settle"), { json: { acks: [{ leaseId: second?.leaseId }] } }),
    );
    expect(problem.kind).toBe("invalid-lease");
    const again = await lease(target, { max: 3 });
    expect(again.messages.map(({ offset, attempt }) => [offset, attempt])).toEqual([
      [2, 2],
      [3, 2],
      [4, 1],
    ]);
    const duplicate = await call("POST", pathOf(target, "/messages"), { body: "once", headers: { "Idempotency-Key": "k" } });
    expect(await duplicate.json()).toMatchObject({ offset: 201, duplicate: true });
    expect(await (await call("GET", pathOf(target, "/checkpoints/totals"))).text()).toBe("7");
    expect(await read(call("GET", pathOf(target, "/dead-letters")))).toMatchObject({
      deadLetters: [{ offset: 1, reason: "bad" }],
    });
    expect((await put(target, "next")).offset).toBe(202);
    await hibernate(target);
    expect((await describeChannel(target)).depth).toBe(depth + 1);
  });

  test("[SN3] a snapshot ends a minute after it was read last, and leaves no table behind", async () => {
    const source = await createChannel();
    await put(source, "a");
    const tables = await tablesOf(source);
    const snapshotId = await begin(source);
    expect((await tablesOf(source)).length).toBeGreaterThan(tables.length);
    const second = await readProblem(call("POST", pathOf(source, "/snapshots")));
    expect(second).toMatchObject({ kind: "too-many-snapshots", of: "snapshots", status: 429 });

    passTime(LIMITS.snapshotIdleMs + 1000);
    await runDurableObjectAlarm(stubOf(source));

    expect(await tablesOf(source)).toEqual(tables);
    expect((await readProblem(readPage(source, snapshotId, "?page=1"))).kind).toBe("unknown-snapshot");
  });

  test("[SN6] [SN7] what is wrong is refused and changes nothing", async () => {
    const source = await createChannel();
    await putBatch(source, ["a", "b", "c"]);
    const pages = await readPages(source, 100);
    const [first = new Uint8Array(0), second = new Uint8Array(0)] = pages;
    const target = freshChannel();
    const restoreId = await beginRestore(target);
    const flipped = new Uint8Array(first);
    flipped[40] = (flipped[40] ?? 0) ^ 1;
    const foreign = new Uint8Array(first);
    foreign[8] = 99;

    expect(await reasonOf(stage(target, restoreId, 1, flipped))).toBe("hash");
    expect(await reasonOf(stage(target, restoreId, 1, foreign))).toBe("version");
    expect(await reasonOf(stage(target, restoreId, 1, first.slice(0, 20)))).toBe("cut");
    expect(await reasonOf(stage(target, restoreId, 1, ""))).toBe("not-a-snapshot");
    expect(await reasonOf(stage(target, restoreId, 1, second))).toBe("order");
    expect(await reasonOf(commit(target, restoreId))).toBe("cut");
    expect((await readProblem(stage(target, "0123456789abcdef", 1, first))).kind).toBe("unknown-restore");
    expect((await readProblem(call("GET", pathOf(target)))).kind).toBe("unknown-channel");
    expect((await readProblem(call("POST", pathOf(source, "/restores")))).kind).toBe("channel-exists");
    for (const path of ["/snapshots/x", "/snapshots/0123456789abcdef?page=0", "/snapshots/0123456789abcdef?maxBytes=0"]) {
      expect((await readProblem(call("GET", pathOf(source, path)))).kind).toBe("invalid-request");
    }
    expect((await readProblem(readPage(source, "0123456789abcdef", ""))).kind).toBe("unknown-snapshot");
    for (const [index, body] of pages.entries()) await read(stage(target, restoreId, index + 1, body));
    await read(commit(target, restoreId), 201);
    expect(await pullTexts(target, { max: 5 })).toEqual(["a", "b", "c"]);
  });

  test("[SN1] what lies in several rows, what groups have done and what removals left come through", async () => {
    const large = "x".repeat(2_500_000);
    const queue = await createChannel({ maxMessageBytes: 4_000_000 });
    await put(queue, large);
    await put(queue, large);
    await call("POST", pathOf(queue, "/messages"), { body: large, headers: { "Channel-Delay-Ms": "3600000" } });
    const [first] = (await lease(queue, {})).messages;
    await settle(queue, { rejects: [{ leaseId: first?.leaseId }] });
    const log = await createChannel({ retention: "log" });
    for (const group of ["g1", "g2"]) await read(call("PUT", pathOf(log, `/groups/${group}`)), 201);
    await putBatch(log, ["a", "b", "c", "d"]);
    const taken = await lease(log, { max: 3, group: "g1" });
    await settle(log, { acks: [{ leaseId: taken.messages[1]?.leaseId }], retries: [{ leaseId: taken.messages[2]?.leaseId }] });
    await read(call("DELETE", pathOf(log, "/messages/4")));

    for (const source of [queue, log]) {
      const target = await restore(await readPages(source, 8_000_000));
      const [{ depth, bytes, counts }, after] = [await describeChannel(source), await describeChannel(target)];
      expect(after).toMatchObject({ depth, bytes, counts });
      for (const path of ["/messages", "/dead-letters", "/scheduled"]) {
        expect(await read(call("GET", pathOf(target, path)))).toEqual(await read(call("GET", pathOf(source, path))));
      }
    }
  });

  test("[SN9] an aborted restore leaves nothing behind", async () => {
    const target = freshChannel();
    const restoreId = await beginRestore(target);
    await read(call("DELETE", pathOf(target, `/restores/${restoreId}`)));
    await runDurableObjectAlarm(stubOf(target));

    expect(await tablesOf(target)).toEqual([]);
  });

  test("[SN7] what is no channel's content is refused, though its hashes are right, and the name stays as it was", async () => {
    const source = await createChannel();
    await put(source, "a");
    await inObject(source, (_, { storage }) => {
      storage.sql.exec("INSERT INTO dead_letter_totals (id, messages, bytes) VALUES (1, 5, 5)");
    });
    const target = freshChannel();
    const restoreId = await beginRestore(target);
    for (const [index, body] of (await readPages(source)).entries()) await read(stage(target, restoreId, index + 1, body));

    expect(await readProblem(commit(target, restoreId))).toMatchObject({ kind: "snapshot-invalid", reason: "content" });
    expect((await readProblem(call("GET", pathOf(target)))).kind).toBe("unknown-channel");
    await createChannelAt(target);
    expect(await describeChannel(target)).toMatchObject({ depth: 0 });
  });
});

async function createChannelAt(channel: string): Promise<void> {
  await read(call("PUT", pathOf(channel)), 201);
}
