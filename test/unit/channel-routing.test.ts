// Messages of a group that are routed to its members. Rules RD1 to RD8 of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { formatSource } from "../../src/protocol/source.ts";
import { RoutedMembers, placeAt } from "./routed-members.ts";

const WAIT_MS = LIMITS.localityWaitMsDefault;

/** One member each in Frankfurt, Paris (the same region) and New York. */
function threePlaces(settings = {}): RoutedMembers {
  const members = new RoutedMembers(settings);
  members.join("frankfurt", "FRA");
  members.join("paris", "CDG");
  members.join("newark", "EWR");
  return members;
}

describe("src/channel/member-routing", () => {
  test("[RD2] a message goes to the member at the colo that it was put from", () => {
    const members = threePlaces();

    members.put("ab", "FRA");
    members.put("c", "EWR");
    members.put("d", "CDG");

    expect(["frankfurt", "paris", "newark"].map((name) => members.told(name))).toEqual(["ab", "d", "c"]);
  });

  test("[RD2] [LR6] without a member there it goes to one of the region, of the continent, then to anybody", () => {
    const members = new RoutedMembers();
    members.join("paris", "CDG");
    members.join("dubai", "DXB");
    members.join("newark", "EWR");

    // Frankfurt is in the region of Paris, Singapore on the continent of Dubai, Sydney nowhere near.
    for (const [letter, colo] of [
      ["a", "FRA"],
      ["b", "SIN"],
      ["c", "SYD"],
    ] as const)
      members.put(letter, colo);

    const attempts = [1, 2, 3].map((offset) => members.historyOf(offset).groups[0]?.events[0]);
    expect(attempts).toMatchObject([
      { reader: "paris", route: { tier: "region" } },
      { reader: "dubai", route: { tier: "continent" } },
      { route: { tier: "any", candidates: 3 } },
    ]);
  });

  test("[RD4] of a colo that is not in the table the continent is known", () => {
    const members = new RoutedMembers();
    members.join("singapore", "SIN");
    members.join("newark", "EWR");

    members.channel.put(["a"], { source: formatSource("http", { colo: "XYZ", continent: "AS" }) });

    expect([members.told("singapore"), members.told("newark")]).toEqual(["a", ""]);
    expect(members.historyOf(1)).toMatchObject({
      put: { via: "http", colo: "XYZ" },
      groups: [{ events: [{ route: { tier: "continent" } }] }],
    });
  });

  test("[RD1] members at one place are served by the line", () => {
    const members = new RoutedMembers();
    members.join("first", "FRA");
    members.join("second", "FRA");

    members.put("abcd", "FRA");

    expect([members.told("first"), members.told("second")]).toEqual(["abcd", ""]);
  });

  test("[RD1] [LR8] a strategy that is asked for holds at one place too", () => {
    const members = new RoutedMembers({ delivery: { strategy: "round-robin" } });
    members.join("first", "FRA");
    members.join("second", "FRA");

    members.put("abcd", "FRA");

    const [first, second] = [members.told("first"), members.told("second")];
    expect([first, second].toSorted()).toEqual(["ac", "bd"]);
  });

  test("[RD1] with locality none, places say nothing", () => {
    const members = threePlaces({ delivery: { locality: "none" } });

    members.put("abcd", "EWR");

    expect(members.told("frankfurt")).toBe("abcd");
  });

  test("[RD1] while a get waits the line decides", () => {
    const members = threePlaces();
    const origin = { connection: members.channel.connect(), request: 1 };
    members.channel.apply({ type: "get", waitMs: 1000, lease: { leaseMs: 30_000, isDetached: true } }, origin);

    members.put("abcd", "EWR");

    expect(members.told("frankfurt")).toBe("abcd");
  });

  test("[RD4] [LR5] with locality channel the channel's own place counts, and nothing is near where that is not known", () => {
    const members = threePlaces({ delivery: { locality: "channel" } });
    members.channel.ownPlace = placeAt("EWR");
    members.put("ab", "FRA");
    expect(members.told("newark")).toBe("ab");

    members.channel.ownPlace = undefined;
    members.put("cdefgh", "FRA");

    const told = ["frankfurt", "paris", "newark"].map((name) => members.told(name));
    expect(Array.from(told.join("")).sort().join("")).toBe("cdefgh");
    expect(told.filter((text) => text !== "").length).toBeGreaterThan(1);
  });

  test("[RD3] a message waits for a busy member nearby, and goes farther in time", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 1 });
    members.join("newark", "EWR");
    members.put("ab", "FRA");

    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["a", ""]);
    const { nextRouteAtMs = 0 } = members.channel.channel;
    expect(nextRouteAtMs).toBe(members.channel.nowMs + WAIT_MS);

    members.channel.tick(WAIT_MS - 1);
    expect(members.told("newark")).toBe("");
    members.channel.tick(1);
    expect(members.told("newark")).toBe("b");
    expect(members.channel.channel.nextRouteAtMs).toBeUndefined();
  });

  test("[RD3] credit wakes it: nobody waits for the timer", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 1 });
    members.join("newark", "EWR");
    members.put("ab", "FRA");

    members.grant("frankfurt");

    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["a b", ""]);
  });

  test("[RD3] [LR11] what waits for a paused member that has earlier messages of its key goes on when the pause is over", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA");
    members.join("newark", "EWR");
    members.put("ab", "FRA", "key");
    expect(members.told("frankfurt")).toBe("ab");

    // The first refusal pauses nobody.
    members.settle("releases", "b");
    expect(members.told("frankfurt")).toBe("b");
    members.settle("releases", "b");
    members.put("c", "FRA", "key");

    expect(members.told("frankfurt")).toBe("");
    const { nextRouteAtMs = Infinity } = members.channel.channel;
    expect(nextRouteAtMs - members.channel.nowMs).toBeLessThanOrEqual(25);
    members.channel.tick(nextRouteAtMs - members.channel.nowMs);
    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["bc", ""]);
  });

  test("[RD3] those behind one that waits go on, but for those of its key", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 1 });
    members.join("newark", "EWR");
    members.put("a", "FRA");
    members.put("b", "FRA", "k");
    members.put("c", "EWR", "k");
    members.put("d", "EWR");

    expect(members.told("newark")).toBe("d");
    members.channel.tick(WAIT_MS);
    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["a", "bc"]);
  });

  test("[RD3] after an eviction it waits on, and goes in time", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 1 });
    members.join("newark", "EWR");
    members.put("ab", "FRA");
    members.channel.evict();

    members.channel.tick(1);
    expect(members.told("newark")).toBe("");
    members.channel.tick(WAIT_MS);

    expect(members.told("newark")).toBe("b");
  });

  test("[RD3] with localityWaitMs 0, and with more than localityDepth waiting, nothing waits", () => {
    for (const delivery of [{ localityWaitMs: 0 }, { localityDepth: 0 }]) {
      const members = new RoutedMembers({ delivery });
      members.join("frankfurt", "FRA", { messages: 1 });
      members.join("newark", "EWR");

      members.put("ab", "FRA");

      expect([members.told("frankfurt"), members.told("newark")]).toEqual(["a", "b"]);
    }
  });

  test("[RD3] who leaves is waited for no more", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 1 });
    members.join("newark", "EWR");
    members.join("paris", "CDG", { messages: 1 });
    members.put("a", "CDG");
    members.put("bc", "FRA");
    expect(members.told("newark")).toBe("");

    members.leave("frankfurt");

    // What it held came back, and Paris, which is near too, is busy.
    members.channel.tick(WAIT_MS);
    expect(members.told("newark")).toBe("bc");
  });

  test("[RD2] [KO1] all of a key goes to who holds some of it, or waits", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 2 });
    members.join("newark", "EWR");
    members.put("a", "FRA", "k");
    members.put("b", "EWR", "k");
    members.put("c", "EWR", "k");

    members.channel.tick(10 * WAIT_MS);
    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["a b", ""]);
    members.settle("acks", "ab");

    // Nobody holds it any more: its owner has no credit.
    expect(members.told("newark")).toBe("c");
  });

  test("[RD2] [KO1] with credit a member is sent what waits behind its own messages of a key", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 1 });
    members.join("newark", "EWR");
    members.put("ab", "FRA", "k");
    members.put("c", "EWR");
    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["a", "c"]);

    members.grant("frankfurt");

    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["b", ""]);
  });

  test("[RD2] where one member's bytes are used up, the others are sent theirs in the same turn", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 10, bytes: 1 });
    members.join("newark", "EWR");

    members.channel.together(() => {
      members.put("x", "EWR");
      members.put("ab", "FRA");
      members.put("c", "EWR");
    });

    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["a", "xc"]);
  });

  test("[RD2] no more than the bytes of a credit: what is left waits, and goes to another in time", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA", { messages: 10, bytes: 1 });
    members.join("newark", "EWR");

    members.put("abc", "FRA");

    // One message may be larger than what is left.
    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["a", ""]);
    members.channel.tick(WAIT_MS);
    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["", "bc"]);
  });

  test("[RD5] [LR11] who releases what it was not asked for is paused from the second time on", () => {
    const members = new RoutedMembers();
    members.join("frankfurt", "FRA");
    members.join("newark", "EWR");
    members.put("a", "FRA");

    members.settle("releases", "a");
    expect(members.told("frankfurt")).toBe("a a");
    members.channel.tick(WAIT_MS);
    members.settle("releases", "a");

    // It has waited: Newark has it while Frankfurt is paused.
    expect([members.told("frankfurt"), members.told("newark")]).toEqual(["", "a"]);
    members.put("b", "FRA");
    expect(members.told("frankfurt")).toBe("");
    expect(members.channel.channel.nextRouteAtMs).toBeLessThanOrEqual(members.channel.nowMs + LIMITS.refusalPauseMsMin);
    members.channel.tick(WAIT_MS - 1);
    members.channel.tick(LIMITS.refusalPauseMsMin);
    expect(members.told("newark") + members.told("frankfurt")).toBe("b");
  });

  test("[RD5] what a reader lets lapse that says it has credit and never takes goes to another", () => {
    const members = new RoutedMembers();
    members.join("dead", "FRA");
    members.join("newark", "EWR");
    members.put("abc", "FRA");
    expect(members.told("dead")).toBe("abc");

    members.channel.tick(30_000);

    expect([members.told("dead"), members.told("newark")]).toEqual(["", "abc"]);
  });

  test("[RD5] [LR6] a reader that has credit and never takes stalls nobody, loses nothing, and is paused", () => {
    const members = new RoutedMembers();
    members.join("dead", "FRA");
    members.join("newark", "EWR");
    members.put("ab", "FRA");
    members.put("k", "FRA", "key");
    // What is put elsewhere passes what it holds, all but the messages of a key that it has some of.
    members.put("c", "EWR");
    members.put("l", "EWR", "key");
    expect([members.told("dead"), members.told("newark")]).toEqual(["ab k l", "c"]);
    members.settle("acks", "c");

    members.channel.tick(30_000);

    // All that it let lapse goes to the other, in the order of its offsets, and it is sent nothing for a while.
    expect([members.told("dead"), members.told("newark").replaceAll(" ", "")]).toEqual(["", "abkl"]);
    members.settle("acks", "abkl");
    members.put("d", "FRA");
    expect(members.told("dead")).toBe("");
    members.channel.tick(WAIT_MS);
    const [dead, newark] = [members.told("dead"), members.told("newark")];
    expect([dead, newark].filter((letters) => letters === "d")).toHaveLength(1);
    expect(members.channel.describe()).toMatchObject({ depth: 1, counts: { put: 6, acked: 5, deadLettered: 0 } });
  });

  test("[RD5] with no credit left it is sent nothing, and what is put near it goes to others when it has waited", () => {
    const members = new RoutedMembers();
    members.join("dead", "FRA", { messages: 1 });
    members.join("newark", "EWR");
    members.put("abc", "FRA");
    expect([members.told("dead"), members.told("newark")]).toEqual(["a", ""]);
    members.channel.tick(WAIT_MS);
    expect(members.told("newark").replaceAll(" ", "")).toBe("bc");
    members.settle("acks", "bc");
    members.channel.tick(30_000);

    expect([members.told("dead"), members.told("newark")]).toEqual(["", "a"]);
  });

  test("[RG2] [RD2] a reader id used by two places at once is two members: each is sent what is near it", () => {
    const members = new RoutedMembers();
    members.join("here", "FRA", { reader: "worker" });
    members.join("there", "EWR", { reader: "worker" });
    members.put("a", "EWR");
    members.put("b", "FRA");
    expect([members.told("here"), members.told("there")]).toEqual(["b", "a"]);
    members.leave("here");

    expect(members.told("there")).toBe("b");
  });

  test("[RD2] [RD3] one that joins and leaves a thousand times takes nothing with it", () => {
    const members = new RoutedMembers();
    members.join("newark", "EWR", { messages: 2000 });
    for (let times = 0; times < 1000; times++) {
      members.join("hasty", "FRA");
      members.put("x", "FRA");
      members.leave("hasty");
    }
    members.channel.tick(WAIT_MS);

    expect(members.told("newark").replaceAll(" ", "")).toHaveLength(1000);
    expect(members.channel.describe()).toMatchObject({ depth: 1000, counts: { put: 1000 } });
  });

  test("[RD6] control records are told to each member once", () => {
    const members = threePlaces();
    members.put("a", "FRA");
    members.channel.patch({ maxMessages: 77 });
    members.put("b", "EWR");

    const told = ["frankfurt", "paris", "newark"].map((name) => members.told(name));

    expect(told.map((text) => text.split("<resize>").length - 1)).toEqual([1, 1, 1]);
    expect(told.map((text) => text.replaceAll("<resize>", "").trim())).toEqual(["a", "", "b"]);
  });

  test("[RD7] work is stolen at one colo, and not from one to another", () => {
    const members = new RoutedMembers();
    members.join("busy", "FRA");
    members.put("abcdef", "FRA");
    members.join("idle abroad", "EWR");
    members.channel.tick(LIMITS.revokeAgeMs);
    expect(members.told("busy")).toBe("abcdef");

    members.join("idle", "FRA");
    members.channel.tick(LIMITS.revokeAgeMs);

    expect(members.told("busy")).toBe("?def");
    members.settle("releases", "def");
    expect(["busy", "idle", "idle abroad"].map((name) => members.told(name).length)).toEqual([0, 3, 0]);
  });

  test("[RD5] [RD7] what a member was asked for is no refusal", () => {
    const members = new RoutedMembers();
    members.join("busy", "FRA", { messages: 20 });
    members.join("abroad", "EWR");
    members.put("abcdef", "FRA");
    members.settle("releases", "f");
    members.join("idle", "FRA", { messages: 3 });
    members.channel.tick(LIMITS.revokeAgeMs);
    expect(members.told("busy")).toBe("abcdef f ?def");

    members.settle("releases", "def");
    expect(members.told("idle").length).toBe(3);
    members.put("z", "FRA");

    expect(members.told("busy")).toBe("z");
  });

  test("[RD8] the history tells why a message went to its reader", () => {
    const members = threePlaces();
    members.put("a", "FRA");
    members.put("b", "SYD");

    const route = { tier: "colo", reason: "pow2", candidates: 1, load: 0 };
    const [near] = members.historyOf(1).groups;
    expect(near?.events).toMatchObject([{ attempt: 1, reader: "frankfurt", route }]);
    const [far] = members.historyOf(2).groups;
    expect(far?.events).toMatchObject([{ route: { tier: "any", reason: "pow2", candidates: 3 } }]);

    members.settle("retries", "a", { delayMs: 1000 });
    members.channel.evict();
    const [kept] = members.historyOf(1).groups;
    expect(kept?.events).toMatchObject([{ attempt: 1, verdict: "retried", route }]);
  });

  test("[RD1] who is alone is sent everything, wherever it is", () => {
    const members = new RoutedMembers();
    members.join("newark", "EWR");

    members.put("abcd", "FRA");

    expect(members.told("newark")).toBe("abcd");
    const [group] = members.historyOf(1).groups;
    expect(group?.events[0]).not.toHaveProperty("route");
  });
});
