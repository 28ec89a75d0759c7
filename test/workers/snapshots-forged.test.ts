// Pages whose hashes are right and whose content somebody made up. SPEC rule SN7: each is refused, or what comes of it can be worked with.
import { describe, expect, test } from "vitest";
import { silenceWarnings } from "./inside.ts";
import { call, createChannel, freshChannel, lease, pathOf, putBatch, read, readProblem, settle } from "./service.ts";

const HASH_BYTES = 32;
const HEADER_BYTES = 14;
const SEED = 20_261_125;
const MUTATIONS = 300;

/** A whole number from 0 to below `end`; the same ones each time. */
function createRandom(seed: number): (end: number) => number {
  let state = seed;
  return (end) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * end);
  };
}

/** The page with the hash that its bytes have; it is the first. */
async function seal(page: Uint8Array): Promise<Uint8Array> {
  const content = page.slice(0, -HASH_BYTES);
  const hashed = new Uint8Array(HASH_BYTES + content.byteLength);
  hashed.set(content, HASH_BYTES);
  const sealed = new Uint8Array(page);
  sealed.set(new Uint8Array(await crypto.subtle.digest("SHA-256", hashed)), content.byteLength);
  return sealed;
}

/** A channel with something of everything, in one page. */
async function snapshotOfAll(): Promise<Uint8Array> {
  const channel = await createChannel({ delivery: { maxAttempts: 3, onExhausted: "quarantine" }, maxMessages: 100 });
  const text = { text: "some text", key: "KKEY", messageId: "IIDD", headers: { trace: "HHDR" } };
  await read(call("POST", pathOf(channel, "/messages/batch"), { json: { messages: [text, { json: { a: 1 } }, text] } }), 201);
  await read(call("PATCH", pathOf(channel), { json: { maxMessages: 200 } }));
  await putBatch(channel, ["a", "b", "c", "d"]);
  await read(call("DELETE", pathOf(channel, "/messages/6")));
  await read(call("POST", pathOf(channel, "/messages"), { body: "later", headers: { "Channel-Delay-Ms": "3600000" } }), 201);
  const numbered = { "Producer-Id": "p", "Producer-Epoch": "1", "Producer-Seq": "1" };
  await read(call("POST", pathOf(channel, "/messages"), { body: "numbered", headers: numbered }), 201);
  await read(call("POST", pathOf(channel, "/messages"), { body: "keyed", headers: { "Idempotency-Key": "k" } }), 201);
  await read(call("PUT", pathOf(channel, "/checkpoints/totals"), { body: "7" }), 201);
  const { messages } = await lease(channel, { max: 3 });
  const [first, second] = messages.map(({ leaseId }) => leaseId);
  await settle(channel, { rejects: [{ leaseId: second, reason: "bad" }], retries: [{ leaseId: first, delayMs: 60_000 }] });
  const { snapshotId } = await read<{ snapshotId: string }>(call("POST", pathOf(channel, "/snapshots")), 201);
  const reply = await call("GET", pathOf(channel, `/snapshots/${snapshotId}?page=1`));
  expect(reply.headers.get("Channel-Snapshot-Last")).toBe("true");
  return new Uint8Array(await reply.arrayBuffer());
}

/** A restore of one page: undefined where it was carried out, or else why it was not. */
async function tryRestore(channel: string, page: Uint8Array): Promise<string | undefined> {
  const { restoreId } = await read<{ restoreId: string }>(call("POST", pathOf(channel, "/restores")), 201);
  for (const [method, path, body] of [
    ["PUT", "/pages/1", page],
    ["POST", "/commit", null],
  ] as const) {
    const reply = await call(method, pathOf(channel, `/restores/${restoreId}${path}`), { body });
    if (reply.ok) await reply.body?.cancel();
    else {
      await read(call("DELETE", pathOf(channel, `/restores/${restoreId}`)));
      const { kind, reason } = await readProblem(reply);
      return JSON.stringify([kind, reason]);
    }
  }
  return undefined;
}

/** The first of all that can be asked of a channel which fails on our side; undefined where none does. */
async function findFailure(channel: string): Promise<string | undefined> {
  const pull = { json: { max: 100, leaseMs: 1000 } };
  const asked: readonly (readonly [string, string, { readonly json?: unknown }?])[] = [
    ["GET", ""],
    ["GET", "/messages?limit=100"],
    ["GET", "/messages/1"],
    ["GET", "/messages/1/history"],
    ["GET", "/messages/2/history"],
    ["GET", "/dead-letters"],
    ["GET", "/quarantine"],
    ["GET", "/scheduled"],
    ["GET", "/groups"],
    ["GET", "/checkpoints/totals"],
    ["POST", "/messages/pull", pull],
    ["DELETE", "/messages/by-id/IIDD"],
    ["POST", "/dead-letters/redrive"],
    ["POST", "/messages/pull", { json: { max: 100, ack: "auto" } }],
    ["DELETE", "/messages"],
    ["DELETE", "?force=true"],
  ];
  for (const [method, path, options] of asked) {
    const reply = await call(method, pathOf(channel, path), options);
    const text = await reply.text();
    if (reply.status >= 500) return `${method} ${path}: ${reply.status} ${text}`;
  }
  return undefined;
}

function replace(page: Uint8Array, from: string, to: readonly number[]): Uint8Array {
  const forged = new Uint8Array(page);
  const place = new TextDecoder("latin1").decode(page).indexOf(from);
  expect(place).toBeGreaterThan(0);
  forged.set(to, place);
  return forged;
}

silenceWarnings();

describe("forged snapshots", () => {
  test("[SN7] a key, an id, a header or a body that is no UTF-8 is refused as the page comes", async () => {
    const page = await snapshotOfAll();
    const channel = freshChannel();

    for (const text of ["KKEY", "IIDD", "HHDR", "some text"]) {
      const forged = await seal(replace(page, text, [0x4b, 0xff]));
      const { restoreId } = await read<{ restoreId: string }>(call("POST", pathOf(channel, "/restores")), 201);
      const staged = await readProblem(call("PUT", pathOf(channel, `/restores/${restoreId}/pages/1`), { body: forged }));
      expect([text, staged.kind, staged["reason"]]).toEqual([text, "snapshot-invalid", "content"]);
      await read(call("DELETE", pathOf(channel, `/restores/${restoreId}`)));
    }
    expect(await tryRestore(channel, page)).toBeUndefined();
    expect(await findFailure(channel)).toBeUndefined();
  });

  test("[SN7] whatever is changed in a page, it is refused or the channel that comes of it answers", async () => {
    const page = await snapshotOfAll();
    const random = createRandom(SEED);
    const contentBytes = page.byteLength - HEADER_BYTES - HASH_BYTES;
    let channel = freshChannel();
    const refusals = new Set<string>();
    const failures: string[] = [];
    let restored = 0;

    for (let round = 0; round < MUTATIONS; round++) {
      const forged = new Uint8Array(page);
      for (let left = 1 + random(2); left > 0; left--) {
        const place = HEADER_BYTES + random(contentBytes);
        forged[place] = random(2) === 0 ? random(256) : (forged[place] ?? 0) ^ (1 << random(8));
      }
      const refused = await tryRestore(channel, await seal(forged));
      if (refused !== undefined) refusals.add(refused);
      else {
        const failure = await findFailure(channel);
        if (failure !== undefined) failures.push(`round ${round}: ${failure}`);
        channel = freshChannel();
        restored += 1;
      }
    }
    expect(failures).toEqual([]);
    expect(restored).toBeGreaterThan(10);
    expect([...refusals]).toEqual(['["snapshot-invalid","content"]']);
  }, 120_000);
});
