// A channel that moves to another place, and back, in the Workers runtime. SPEC section NM.
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { formatObjectName } from "../../src/protocol/placement.ts";
import { silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  entriesOf,
  freshChannel,
  lease,
  openSocket,
  pathOf,
  pull,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  settle,
} from "./service.ts";

function move(channel: string, placement: object): Promise<Response> {
  return call("POST", pathOf(channel, "/move"), { json: placement });
}

silenceWarnings();

describe("a move", () => {
  test("[NM6] a channel goes on elsewhere with all that it has, the same life, and offsets without a gap", async () => {
    const channel = await createChannel({ retention: "queue" });
    await putBatch(channel, ["a", "b", "c", "d"]);
    await call("POST", pathOf(channel, "/messages"), { body: "once", headers: { "Idempotency-Key": "k" } });
    await call("POST", pathOf(channel, "/messages"), { body: "later", headers: { "Channel-Delay-Ms": "3600000" } });
    await call("PUT", pathOf(channel, "/checkpoints/totals"), { body: "7" });
    const { messages } = await lease(channel, { max: 2 });
    await settle(channel, { rejects: [{ leaseId: messages[0]?.leaseId, reason: "bad" }] });
    const before = await describeChannel(channel);

    await read(move(channel, { locationHint: "weur" }));

    const after = await describeChannel(channel);
    const { depth, bytes, settings, counts, scheduled, createdAtMs, life } = before;
    expect(after).toMatchObject({ channel, depth, bytes, settings, counts, scheduled, createdAtMs, life, state: "open" });
    expect((await settle(channel, { acks: entriesOf(messages.slice(1)) })).acked).toBe(1);
    expect(await pullTexts(channel, { max: 9 })).toEqual(["c", "d", "once"]);
    expect(await (await call("GET", pathOf(channel, "/checkpoints/totals"))).text()).toBe("7");
    const again = await call("POST", pathOf(channel, "/messages"), { body: "once", headers: { "Idempotency-Key": "k" } });
    expect(await again.json()).toMatchObject({ offset: 5, duplicate: true });
    expect(await put(channel, "e")).toMatchObject({ offset: 6 });
    expect((await pull(channel, { max: 9 })).messages.map(({ offset }) => offset)).toEqual([6]);
  });

  test("[NM6] it moves again and back; connections are closed with 4410 and lead to the new place", async () => {
    const channel = await createChannel();
    for (const [turn, locationHint] of ["weur", "apac", "weur"].entries()) {
      const socket = await openSocket(channel);
      expect(await socket.ask({ type: "put", id: 1, text: `turn ${turn}` })).toMatchObject({ type: "put-ok", offset: turn + 1 });
      await read(move(channel, { locationHint }));
      expect(await socket.closed).toMatchObject({ code: 4410 });
    }
    expect(await pullTexts(channel, { max: 9 })).toEqual(["turn 0", "turn 1", "turn 2"]);
    expect(env.CHANNELS.getByName(formatObjectName(channel, 3)).name).toBe(`3/${channel}`);
  });

  test("[NM10] [NM11] a channel is created at a place, shows it, and confirms it; a jurisdiction is refused where there is none", async () => {
    const channel = freshChannel();
    const created = await read<object>(call("PUT", pathOf(channel), { json: { maxMessages: 7, locationHint: "oc" } }), 201);
    expect(created).toMatchObject({
      settings: { maxMessages: 7 },
      place: { epoch: 0, generation: 0, locationHint: "oc", jurisdiction: null, colo: null },
      suggestedLocationHint: null,
    });
    await read(call("PUT", pathOf(channel), { json: { locationHint: "oc" } }));
    expect(await readProblem(call("PUT", pathOf(channel), { json: { locationHint: "me" } }))).toMatchObject({
      kind: "settings-conflict",
      conflicts: ["locationHint"],
      current: { locationHint: "oc" },
    });
    expect(await readProblem(move(channel, { locationHint: "oc" }))).toMatchObject({ kind: "already-there" });
    await read(move(channel, { locationHint: "me" }));
    expect((await describeChannel(channel)).place).toMatchObject({ epoch: 1, generation: 1, locationHint: "me" });
    const other = pathOf(freshChannel());
    expect((await readProblem(call("PUT", other, { json: { jurisdiction: "eu" } }))).kind).toBe("jurisdiction-unavailable");
    expect((await readProblem(call("PUT", other, { json: { locationHint: "EU" } }))).kind).toBe("invalid-request");
    expect((await readProblem(call("GET", other))).kind).toBe("unknown-channel");
  });

  test("[NM12] where most of the traffic comes from elsewhere, the description suggests that place", async () => {
    const channel = freshChannel();
    await read(call("PUT", pathOf(channel), { json: { locationHint: "weur" } }), 201);
    const putFrom = (colo: string): Promise<unknown> =>
      read(call("POST", pathOf(channel, "/messages"), { body: "m", colo }), 201);
    await putFrom("AMS");
    expect((await describeChannel(channel)).suggestedLocationHint).toBeNull();
    for (let count = 0; count < 3; count++) await putFrom("SYD");
    expect((await describeChannel(channel)).suggestedLocationHint).toBe("oc");
  });

  test("[NM7] what can not move is refused, and stays as it is", async () => {
    expect((await readProblem(move(freshChannel(), { locationHint: "weur" }))).kind).toBe("unknown-channel");
    const channel = await createChannel();
    for (const placement of [{}, { locationHint: "mars" }, { jurisdiction: "eu", locationHint: "weur" }, { colo: "AMS" }]) {
      expect((await readProblem(move(channel, placement))).kind).toBe("invalid-request");
    }
    expect(await readProblem(move(channel, { locationHint: "mars" }))).toMatchObject({
      errors: [{ detail: "Expected one of wnam, enam, sam, weur, eeur, apac, oc, afr, me" }],
    });
    expect((await readProblem(move(channel, { jurisdiction: "eu" }))).kind).toBe("jurisdiction-unavailable");
    const { snapshotId } = await read<{ snapshotId: string }>(call("POST", pathOf(channel, "/snapshots")), 201);
    expect((await readProblem(move(channel, { locationHint: "weur" }))).kind).toBe("too-many-snapshots");
    await read(call("DELETE", pathOf(channel, `/snapshots/${snapshotId}`)));
    await read(move(channel, { locationHint: "weur" }));
    expect(await readProblem(move(channel, { locationHint: "weur" }))).toMatchObject({
      kind: "already-there",
      locationHint: "weur",
    });
    await read(call("PATCH", pathOf(channel), { json: { state: "closed" } }));
    expect((await readProblem(move(channel, { locationHint: "apac" }))).kind).toBe("channel-closed");
    await read(call("DELETE", pathOf(channel, "?force=true")));
    expect((await readProblem(move(channel, { locationHint: "apac" }))).kind).toBe("channel-deleted");
  });
});
