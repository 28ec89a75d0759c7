// Members of a group in several colos, over real sockets: what was put near them comes to them. SPEC section RD.
import { describe, expect, test } from "vitest";
import type { MessageHistory } from "../../src/protocol/history.ts";
import { hibernate } from "./inside.ts";
import { call, createChannel, openSocket, pathOf, read, readProblem, type TestSocket, textsOf } from "./service.ts";

async function join(channel: string, colo: string, { messages = 100, group = {} } = {}): Promise<TestSocket> {
  const socket = await openSocket(channel, { headers: { "Edge-Colo": colo } });
  const credit = { messages, bytes: 1_000_000 };
  const subscribed = await socket.ask({ type: "subscribe", id: 1, credit, reader: colo, ...group });
  expect(subscribed).toMatchObject({ type: "subscribed", id: 1 });
  return socket;
}

async function putFrom(channel: string, colo: string, ...texts: string[]): Promise<void> {
  const json = { messages: texts.map((text) => ({ text })) };
  await read(call("POST", pathOf(channel, "/messages/batch"), { json, headers: { "Edge-Colo": colo } }), 201);
}

async function told(socket: TestSocket): Promise<string> {
  const frames = await socket.settle();
  return frames.flatMap(({ messages }) => textsOf(messages)).join("");
}

/** How many of so many puts at once are refused for want of room. */
async function countRefusedOf(channel: string, puts: number): Promise<number> {
  const sent = Array.from({ length: puts }, () => call("POST", pathOf(channel, "/messages"), { body: "x" }));
  const replies = await Promise.all(sent);
  await Promise.all(replies.map((reply) => reply.text()));
  return replies.filter(({ status }) => status === 429).length;
}

describe("routing", () => {
  test("[RD2] a message goes to the member at its colo, also after hibernation", async () => {
    const channel = await createChannel();
    const frankfurt = await join(channel, "FRA");
    const singapore = await join(channel, "SIN");
    await putFrom(channel, "SIN", "a");
    await putFrom(channel, "FRA", "b");
    expect([await told(frankfurt), await told(singapore)]).toEqual(["b", "a"]);

    await hibernate(channel);
    await putFrom(channel, "SIN", "c", "d");

    expect([await told(frankfurt), await told(singapore)]).toEqual(["", "cd"]);
  });

  test("[RD3] it waits for a busy member nearby, and then goes to another, though nothing happens", async () => {
    const channel = await createChannel();
    const frankfurt = await join(channel, "FRA", { messages: 1 });
    const singapore = await join(channel, "SIN");
    await putFrom(channel, "FRA", "a", "b");
    expect(await told(frankfurt)).toBe("a");

    const { messages } = await singapore.next();

    expect(textsOf(messages)).toEqual(["b"]);
  });

  test("[RD8] its history tells why", async () => {
    const channel = await createChannel();
    await join(channel, "FRA");
    await join(channel, "SIN");
    await putFrom(channel, "SIN", "a");

    const { put, groups } = await read<MessageHistory>(call("GET", pathOf(channel, "/messages/1/history")));

    expect(put.colo).toBe("SIN");
    const route = { tier: "colo", reason: "pow2", candidates: 1, load: 0 };
    expect(groups[0]?.events).toMatchObject([{ attempt: 1, reader: "SIN", route }]);
  });

  test("[RD1] each group is routed by its own settings", async () => {
    const channel = await createChannel({ retention: "log" });
    for (const [group, locality] of [
      ["near", "origin"],
      ["any", "none"],
    ]) {
      const json = { settings: { locality } };
      await read(call("PUT", pathOf(channel, `/groups/${group}`), { json }), 201);
    }
    const members = ["near", "any"].flatMap((group) => ["FRA", "SIN"].map((colo) => join(channel, colo, { group: { group } })));
    const [nearFra, nearSin, anyFra, anySin] = await Promise.all(members);
    await putFrom(channel, "SIN", "a");

    const all = [nearFra, nearSin, anyFra, anySin].map((socket) => (socket === undefined ? Promise.resolve("") : told(socket)));

    const [inFra, inSin, ...others] = await Promise.all(all);
    expect([inFra, inSin]).toEqual(["", "a"]);
    expect(others.join("")).toBe("a");
  });

  test("[LR1] admission is exact: of a burst of puts those are refused that have no room, also after hibernation", async () => {
    const channel = await createChannel({ maxMessages: 10 });
    expect(await countRefusedOf(channel, 17)).toBe(7);
    await call("DELETE", pathOf(channel, "/messages/3"));
    await hibernate(channel);

    expect(await countRefusedOf(channel, 5)).toBe(4);
  });

  test.each([
    [{ locality: "near" }, "/delivery/locality", "Expected origin, channel or none"],
    [{ strategy: "fastest" }, "/delivery/strategy", "Expected pow2, least-loaded, round-robin, consistent-hash or pow2-cached"],
    [
      { strategies: ["pow2"] },
      "/delivery/strategies",
      expect.stringMatching(/^Unknown member: expected one of .*\blocality\b.*\bstrategy\b/) as string,
    ],
    [{ localityWaitMs: -1 }, "/delivery/localityWaitMs", "Expected at least 0"],
    [{ localityDepth: 1e9 }, "/delivery/localityDepth", "Expected at most 10000"],
  ])("[protocol:settings] refuses %j and says what there is", async (delivery, pointer, detail) => {
    const channel = await createChannel();

    const problem = await readProblem(call("PATCH", pathOf(channel), { json: { delivery } }));

    expect(problem).toMatchObject({ kind: "invalid-request", status: 400, errors: [{ pointer, detail }] });
  });
});
