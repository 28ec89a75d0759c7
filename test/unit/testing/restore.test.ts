// Snapshots in the memory of a test: a channel is restored, and what somebody made up is refused and leaves nothing behind.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { chainDigest, DIGEST_BYTES, NO_DIGEST } from "../../../src/protocol/digest.ts";
import { TestService } from "../../../src/testing/index.ts";

const CHANNELS = "https://channels.example.com/v1/channels";

async function post<Body>(service: TestService, path: string): Promise<Body> {
  const reply = await service.fetch(`${CHANNELS}/${path}`, { method: "POST" });
  return (await reply.json()) as Body;
}

/** The only page of a snapshot of a channel with two messages. */
async function snapshotPage(service: TestService): Promise<Uint8Array> {
  const channel = service.connect().channel("source");
  await channel.putBatch(["first", "second"]);
  const { snapshotId } = await post<{ snapshotId: string }>(service, "source/snapshots");
  const reply = await service.fetch(`${CHANNELS}/source/snapshots/${snapshotId}?page=1`, {});
  expect(reply.headers.get("Channel-Snapshot-Last")).toBe("true");
  return new Uint8Array(await reply.arrayBuffer());
}

/** Restores a page into a channel `target`, and returns the id of the restore and what came of it: the first refusal, or the channel. */
async function restore(service: TestService, page: Uint8Array): Promise<{ restoreId: string; outcome: unknown }> {
  const { restoreId } = await post<{ restoreId: string }>(service, "target/restores");
  const staged = await service.fetch(`${CHANNELS}/target/restores/${restoreId}/pages/1`, { method: "PUT", body: page });
  if (!staged.ok) return { restoreId, outcome: await staged.json() };
  return { restoreId, outcome: await post(service, `target/restores/${restoreId}/commit`) };
}

/** The page with another text of the same length in it, and the hash that its bytes then have. */
function forge(page: Uint8Array, from: string, to: string): Uint8Array {
  const place = new TextDecoder("latin1").decode(page).indexOf(from);
  expect(place).toBeGreaterThan(0);
  const forged = page.slice();
  forged.set(new TextEncoder().encode(to), place);
  const end = forged.byteLength - DIGEST_BYTES;
  forged.set(chainDigest(NO_DIGEST, forged.subarray(0, end)), end);
  return forged;
}

beforeEach(() => {
  // Failures are logged; these are meant.
  vi.spyOn(console, "warn").mockImplementation(() => {});
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("src/testing: snapshots", () => {
  test("[TE1] [SN1] a restored channel has what the first had, and goes on where it stood", async () => {
    const service = new TestService();
    const { outcome } = await restore(service, await snapshotPage(service));
    const target = service.connect().channel("target");

    expect(outcome).toMatchObject({ channel: "target" });
    expect((await target.getBatch({ max: 5 })).map(({ body }) => body)).toEqual(["first", "second"]);
    expect(await target.put("third")).toMatchObject({ offset: 3 });
  });

  test.each([
    ["text that is no JSON", '"firstOffset":1', '"firstOffset":x'],
    ["a table that there is not", "segment", "segmend"],
    ["a segment without its messages", '"bytes$":0', '"bytes$":7'],
  ])("[TE1] [SN7] of a page with %s nothing stands, and the restore can be given up", async (_, from, to) => {
    const service = new TestService();
    const page = await snapshotPage(service);

    const { restoreId, outcome } = await restore(service, forge(page, from, to));
    const target = service.connect({ retries: 0 }).channel("target");
    await service.fetch(`${CHANNELS}/target/restores/${restoreId}`, { method: "DELETE" });

    expect(outcome).toMatchObject({ kind: "snapshot-invalid", reason: "content" });
    expect(await target.put("in its place")).toMatchObject({ offset: 1 });
    expect((await target.getBatch({ max: 5 })).map(({ body }) => body)).toEqual(["in its place"]);
  });
});
