// An object in whose place another one is already: what it still does, and what its storage keeps it from. SPEC rule RC11.
import { env } from "cloudflare:workers";
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { Operation } from "../../src/channel/operation.ts";
import type { ChannelObject } from "../../src/object/channel-object.ts";
import { packOperation } from "../../src/object/packing.ts";
import { formatRelayObject } from "../../src/object/relay-name.ts";
import type { RelayObject } from "../../src/object/relay-object.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { formatObjectName } from "../../src/protocol/placement.ts";
import type { ChannelEntry } from "../../src/protocol/description.ts";
import { inObject, passTime, runAlarm, silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  openSocket,
  pathOf,
  put,
  putBatch,
  read,
  stubOf,
  textsOf,
  untilChannel,
} from "./service.ts";

/** Begins another instance of the object; the one before lives on in what this returns, without its storage. */
async function supersede(stub: DurableObjectStub, webSockets: "close" | "hibernate" = "close"): Promise<ChannelObject> {
  const superseded = await runInDurableObject<ChannelObject, ChannelObject>(stub, (object) => object);
  await evictDurableObject(stub, { webSockets });
  return superseded;
}

function relayOf(channel: string): DurableObjectStub {
  if (env.RELAYS === undefined) throw new Error("The worker under test has relays");
  return env.RELAYS.getByName(formatRelayObject({ channel, relay: "LHR/0", jurisdiction: undefined }));
}

async function isListed(channel: string): Promise<boolean> {
  const { channels } = await read<{ channels: ChannelEntry[] }>(call("GET", `/v1/channels?prefix=${channel}`));
  return channels.some((entry) => entry.channel === channel);
}

const LOOKING: readonly Operation[] = [
  { type: "describe" },
  { type: "browse", fromOffset: 1, limit: 9 },
  { type: "read", offset: 1 },
  { type: "history", offset: 1 },
  { type: "get", min: 9, max: 9 },
  { type: "list-readers", limit: 9 },
  { type: "list-groups", limit: 9 },
  { type: "dead-letters", fromOffset: 1, limit: 9, filter: {} },
  { type: "quarantine", limit: 9 },
  { type: "list-scheduled", limit: 9 },
  { type: "list-checkpoints", limit: 9 },
  { type: "create", settings: {} },
];

describe("src/object: an object that is superseded", () => {
  silenceWarnings();

  test("[RC11] does nothing more behind what it waited for, and its caller is told", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    const gate = Promise.withResolvers<void>();
    let isResumed = false;
    const calling = inObject(channel, async (object) => {
      await gate.promise;
      isResumed = true;
      return await object.perform(packOperation({ type: "purge" }));
    }).catch(String);
    await inObject(channel, (_, context) => context.abort("Superseded")).catch(() => undefined);

    expect(await calling).toContain("Superseded");
    expect((await put(channel, "b")).offset).toBe(2);
    gate.resolve();
    expect(await describeChannel(channel)).toMatchObject({ depth: 2, counts: { put: 2, removed: 0 } });
    expect(isResumed).toBe(false);
  });

  test.each(LOOKING)("[RC11] is refused by its storage, also where nothing is written: $type", async (operation) => {
    const channel = await createChannel();
    await put(channel, "a");
    const superseded = await supersede(stubOf(channel));
    await put(channel, "b");

    const performed = await inObject(channel, () => superseded.perform(packOperation(operation)));

    const refusal = { kind: "storage-failed", outcome: "not-applied", retryAfterMs: 1000 };
    expect(performed).toMatchObject({ outcome: { type: "refused", refusal } });
  });

  test("[RC11] writes nothing", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);
    const superseded = await supersede(stubOf(channel));

    for (const operation of [{ type: "get" }, { type: "purge" }, { type: "delete", graceMs: 0 }] as const) {
      const performed = await inObject(channel, () => superseded.perform(packOperation(operation)));
      expect(performed).toMatchObject({ outcome: { type: "refused", refusal: { kind: "storage-failed" } } });
    }

    expect(await describeChannel(channel)).toMatchObject({ state: "open", depth: 2, counts: { put: 2, acked: 0, removed: 0 } });
  });

  test("[RC11] [LC9] tells the directory nothing", async () => {
    const channel = await createChannel();
    const superseded = await supersede(stubOf(channel));

    await expect(() => inObject(channel, () => superseded.alarm())).rejects.toThrow("on behalf of a different Durable Object");

    expect(await isListed(channel)).toBe(false);
    await runAlarm(channel);
    expect(await isListed(channel)).toBe(true);
  });

  test("[RC11] sends no messages, though their leases would go with the socket", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await socket.ask({ type: "subscribe", id: 1, credit: { messages: 0, bytes: 1000 } });
    await put(channel, "a");
    const superseded = await supersede(stubOf(channel), "hibernate");
    const credit = JSON.stringify({ type: "credit", id: 1, messages: 1, bytes: 0 });

    await inObject(channel, (_, context) => {
      for (const each of context.getWebSockets()) superseded.webSocketMessage(each, credit);
    });

    expect(await socket.settle()).toEqual([]);
    socket.send(JSON.parse(credit));
    expect(textsOf((await socket.next()).messages)).toEqual(["a"]);
  });

  test("[RC11] [NM5] does not give up the name of a channel of which nothing is left", async () => {
    const channel = await createChannel();
    await read(call("POST", pathOf(channel, "/move"), { json: { locationHint: "weur" } }));
    await read(call("DELETE", pathOf(channel)));
    const moved = env.CHANNELS.getByName(formatObjectName(channel, 1));
    await runInDurableObject<ChannelObject, void>(moved, (object) => object.alarm());
    const superseded = await supersede(moved);
    passTime(LIMITS.tombstoneMs + 60_000);

    await expect(() => runInDurableObject(moved, () => superseded.alarm())).rejects.toThrow(
      "on behalf of a different Durable Object",
    );

    const { route } = await inObject(channel, (authority) => authority.tellRoute());
    expect(route.generation).toBe(1);
    await runInDurableObject<ChannelObject, void>(moved, (object) => object.alarm());
    expect((await inObject(channel, (authority) => authority.tellRoute())).route.generation).toBe(0);
  });

  test("[RC11] [RY12] does not tell the channel that a relay has no readers", async () => {
    const channel = await createChannel({ retention: "log", relays: { from: 1 } });
    const socket = await openSocket(channel, { colo: "LHR", read: "plain" });
    const subscribing = { type: "subscribe", id: 1, credit: { messages: 9, bytes: 1000 }, from: { at: "last" } };
    expect(await socket.ask(subscribing)).toMatchObject({ type: "subscribed" });
    await put(channel, "a");
    expect(textsOf((await socket.next()).messages)).toEqual(["a"]);
    const relay = relayOf(channel);
    // It parts with the channel, which it tells nothing more unless it has no readers.
    passTime(LIMITS.relayIdleMs);
    await runInDurableObject<RelayObject, void>(relay, (object) => object.alarm());
    await untilChannel(channel, ({ connections }) => connections === 0);
    const superseded = await runInDurableObject<RelayObject, RelayObject>(relay, (object) => object);
    await evictDurableObject(relay, { webSockets: "hibernate" });

    const closing = runInDurableObject(relay, (_, context) => {
      for (const each of context.getWebSockets()) superseded.webSocketClose(each, 1000, "", true);
    });

    await expect(() => closing).rejects.toThrow("on behalf of a different Durable Object");
    expect((await describeChannel(channel)).relays).toEqual(["LHR/0"]);
    await put(channel, "b");
    expect(textsOf((await socket.next()).messages)).toEqual(["b"]);
  });
});
