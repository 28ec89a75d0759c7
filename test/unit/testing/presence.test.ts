// Who reads a channel, as a client is told it by the service in memory.
import { describe, expect, test } from "vitest";
import type { PresenceEvent } from "../../../src/client/index.ts";
import { TestService } from "../../../src/testing/index.ts";

async function take(presence: AsyncIterator<PresenceEvent, void>, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) {
    const { value } = await presence.next();
    if (value !== undefined) texts.push(value.type === "present" ? String(value.readers) : `${value.type} ${value.reader}`);
  }
  return texts;
}

describe("src/testing: presence", () => {
  test("[TE1] [RG7] [RG8] who watches is told how many readers there are, and who joins, leaves and expires", async () => {
    const service = new TestService();
    const channel = service.connect({ transport: "socket" }).channel("jobs");
    await channel.putBatch(["a", "b"]);
    const presence = channel.presence();
    expect(await presence.next()).toMatchObject({ value: { type: "present", readers: 0, colos: [] } });

    const consumer = channel.consume(() => undefined, { reader: "worker" });
    expect(await take(presence, 1)).toEqual(["join worker"]);
    await consumer.stop();
    expect(await take(presence, 1)).toEqual(["leave worker"]);

    await channel.put("c");
    await service.connect().channel("jobs").pull({ reader: "puller", leaseMs: 5_000 });
    expect(await take(presence, 1)).toEqual(["join puller"]);
    await service.advance(5_000);
    expect(await take(presence, 1)).toEqual(["expiry puller"]);
  });

  test("[TE5] [RG10] after a deploy it goes on by itself, with how many there are then", async () => {
    const service = new TestService();
    const channel = service.connect({ transport: "socket" }).channel("jobs");
    const other = service.connect({ transport: "socket" }).channel("jobs");
    const presence = channel.presence();
    expect(await take(presence, 1)).toEqual(["0"]);
    other.consume(() => undefined, { reader: "worker" });
    expect(await take(presence, 1)).toEqual(["join worker"]);
    await service.deploy();
    const [again] = await Promise.all([take(presence, 2), service.advance(1_000)]);

    expect(again).toEqual(["0", "join worker"]);
    await presence.return();
    expect(await presence.next()).toEqual({ done: true, value: undefined });
  });
});
