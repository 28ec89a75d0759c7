// Members that are asked for what others wait for. Rule SB13 of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import type { Effect, Origin } from "../../src/channel/operation.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import { listLeaseIds } from "../../src/protocol/lease-run.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, expectType, textMessage, textsOf } from "./channel-harness.ts";

const AGE_MS = LIMITS.revokeAgeMs;

/** A channel whose members are known by names. */
class Members {
  readonly channel = new ChannelHarness({ settings: { retention: "log" } });
  readonly #origins = new Map<string, Origin>();
  /** What each was sent and asked for, in order. */
  readonly #told = new Map<string, string[]>();
  readonly #texts = new Map<string, string>();

  constructor() {
    this.channel.apply({ type: "create-group", group: "workers", settings: {}, start: { at: "first" } });
  }

  subscribe(name: string, { messages = 10, group = "workers" } = {}): void {
    const origin = { connection: this.channel.connect(), request: 1 };
    this.#origins.set(name, origin);
    const target = { type: "member", leaseMs: 30_000, group } as const;
    expectType(this.channel.apply({ type: "subscribe", target, credit: { messages, bytes: 1_000_000 } }, origin), "subscribed");
  }

  /** Puts messages, the text of each being its key where `isKeyed`. */
  put(texts: string, isKeyed = false): void {
    this.channel.putMessages(Array.from(texts).map((text) => ({ ...textMessage(text), ...(isKeyed && { key: text }) })));
  }

  /** One has taken all that was put, another waits, and time passes until the first may be asked. */
  leaveWaiting(texts: string, isKeyed = false): void {
    this.subscribe("slow");
    this.put(texts, isKeyed);
    this.subscribe("idle");
    this.channel.tick(AGE_MS);
  }

  originOf(name: string): Origin {
    const origin = this.#origins.get(name);
    if (origin === undefined) throw new Error(`Nobody is called ${name}`);
    return origin;
  }

  /** Since the last call: texts of messages, and after a `?` of those that it was asked for. */
  told(name: string): string {
    for (const effect of this.channel.takeAnswers()) this.#note(effect);
    return (this.#told.get(name) ?? []).splice(0).join("");
  }

  settle(verb: "acks" | "releases", texts: string): void {
    const ids = [...this.#texts].filter(([, text]) => texts.includes(text)).map(([leaseId]) => ({ leaseId }));
    const { refused } = expectType(this.channel.settle({ [verb]: ids }), "settled");
    if (refused.length > 0) throw new Error(`Refused: ${JSON.stringify(refused)}`);
  }

  #note({ outcome, ...origin }: Effect): void {
    const name = [...this.#origins].find(([, one]) => one.connection === origin.connection)?.[0] ?? "";
    const told = this.#told.get(name) ?? [];
    this.#told.set(name, told);
    if (outcome.type === "revoke") {
      told.push("?", ...outcome.leases.flatMap(listLeaseIds).map((leaseId) => this.#texts.get(leaseId) ?? "none"));
      return;
    }
    const { messages, granted } = expectType(outcome, "delivered");
    for (const [index, { body }] of messages.entries()) {
      const text = decodeUtf8(body) ?? "";
      told.push(text);
      this.#texts.set(granted?.leaseIds[index] ?? "", text);
    }
  }
}

describe("src/channel/work-stealing", () => {
  test("[SB13] who waits has half of what another holds, the newest, once that is held for a while", () => {
    const members = new Members();
    members.subscribe("slow");
    members.put("abcdef");
    expect(members.told("slow")).toBe("abcdef");
    members.subscribe("idle");
    members.channel.tick(AGE_MS - 1);
    expect(members.told("slow")).toBe("");

    members.channel.tick(1);

    expect(members.told("slow")).toBe("?def");
    members.settle("releases", "def");
    expect(members.told("idle")).toBe("def");
    expect(members.told("slow")).toBe("");
    const group = members.channel.apply({ type: "describe-group", group: "workers" });
    expect(group).toMatchObject({ description: { leased: 6 } });
  });

  test("[SB13] what it holds is looked at in time though nothing happens, and then not before something does", () => {
    const members = new Members();
    members.subscribe("slow");
    members.put("ab");
    expect(members.channel.channel.nextStealingAtMs).toBeUndefined();
    const startMs = members.channel.nowMs;
    members.subscribe("idle");
    const { nextStealingAtMs = 0 } = members.channel.channel;
    expect(nextStealingAtMs).toBe(startMs + AGE_MS);

    members.channel.tick(AGE_MS);
    expect(members.told("slow")).toBe("ab?b");
    members.channel.tick(AGE_MS);

    expect(members.told("slow")).toBe("");
    expect(members.channel.channel.nextStealingAtMs).toBeUndefined();
  });

  test("[SB13] what is too young when it is looked at first is looked at again in time", () => {
    const members = new Members();
    members.subscribe("slow", { messages: 2 });
    members.put("ab");
    members.subscribe("idle");
    expect(members.channel.channel.nextStealingAtMs).toBe(members.channel.nowMs + AGE_MS);

    members.channel.tick(AGE_MS);

    expect(members.told("slow")).toBe("ab?b");
  });

  test("[SB13] what is too young in one group is looked at in time, also where another is asked with the same look", () => {
    const members = new Members();
    members.leaveWaiting("ab");
    members.channel.apply({ type: "create-group", group: "others", settings: {}, start: { at: "first" } });
    members.subscribe("slow too", { group: "others" });
    members.subscribe("idle too", { group: "others" });
    members.told("slow");
    // What was asked for is forgotten, and when was looked: both groups are looked at together.
    members.channel.evict();

    members.channel.tick(1);

    expect(members.told("slow")).toBe("?b");
    expect(members.channel.channel.nextStealingAtMs).toBe(members.channel.nowMs + AGE_MS);
    members.channel.tick(AGE_MS);
    expect(members.told("slow too")).toBe("ab?b");
  });

  test("[SB13] nobody is looked for in a channel that is deleted, nor where only gets have taken what there was", () => {
    const members = new Members();
    members.subscribe("slow");
    members.put("ab");
    members.subscribe("idle");
    expect(members.channel.channel.nextStealingAtMs).toBeDefined();
    members.channel.delete();
    expect(members.channel.channel.nextStealingAtMs).toBeUndefined();

    const pulled = new Members();
    pulled.put("ab");
    pulled.channel.pull({ group: "workers", max: 2 });
    pulled.channel.pull({ group: "workers", waitMs: 60_000 }, { connection: pulled.channel.connect(), request: 1 });
    pulled.channel.tick(1);
    expect(pulled.channel.channel.nextStealingAtMs).toBeUndefined();
  });

  test("[SB13] each lease is asked for once, and those that are asked for count as given", () => {
    const members = new Members();
    members.leaveWaiting("abcdefgh");
    expect(members.told("slow")).toBe("abcdefgh?efgh");
    for (let look = 0; look < 3; look++) members.channel.tick(AGE_MS);
    expect(members.told("slow")).toBe("");

    // It had begun with these.
    members.settle("acks", "efgh");
    members.channel.tick(AGE_MS);

    expect(members.told("slow")).toBe("?cd");
  });

  test("[SB13] a message that was leased again may be asked for again", () => {
    const members = new Members();
    members.leaveWaiting("abcd");
    expect(members.told("slow")).toBe("abcd?cd");
    members.settle("releases", "cd");
    expect(members.told("idle")).toBe("cd");
    members.settle("acks", "ab");
    expect(members.told("slow")).toBe("");

    members.channel.tick(AGE_MS);

    expect(members.told("idle")).toBe("?d");
  });

  test("[SB13] of a key all that is leased is asked for, or nothing", () => {
    const members = new Members();
    members.leaveWaiting("xyyyz", true);
    expect(members.told("slow")).toBe("xyyyz?xz");
    members.settle("acks", "x");
    members.settle("releases", "z");
    expect(members.told("idle")).toBe("z");
    members.put("yyyyy", true);
    expect(members.told("slow")).toBe("yyyyy");

    // Three of a key were not asked for since they were too many; now its new ones are too young.
    members.channel.tick(AGE_MS - 1);
    expect(members.told("slow")).toBe("");
    members.put("wwww", true);
    members.channel.tick(1);

    expect(members.told("idle")).toContain("wwww");
  });

  test("[SB13] a key of which some were asked for is not asked for again when more of it came", () => {
    const members = new Members();
    members.leaveWaiting("aayy", true);
    expect(members.told("slow")).toBe("aayy?yy");
    members.channel.close(members.originOf("idle").connection);
    members.put("yyyyyy", true);
    members.channel.tick(AGE_MS);
    expect(members.told("slow")).toBe("yyyyyy");

    members.subscribe("another");

    expect(members.told("slow")).toBe("?aa");
  });

  test("[SB13] at most what who waits can take is asked for", () => {
    const members = new Members();
    members.subscribe("slow");
    members.put("abcdef");
    members.subscribe("idle", { messages: 1 });
    members.channel.tick(AGE_MS);

    expect(members.told("slow")).toBe("abcdef?f");
  });

  test("[SB13] a get that waits counts as who waits, with the fewest that it takes", () => {
    const members = new Members();
    members.subscribe("slow");
    members.put("abcdef");
    const patient = { connection: members.channel.connect(), request: 7 };
    members.channel.pull({ group: "workers", min: 4, max: 5, waitMs: 60_000 }, patient);
    members.channel.tick(AGE_MS);
    expect(members.told("slow")).toBe("abcdef");
    members.channel.apply({ type: "cancel", request: 7 }, patient);
    members.channel.takeAnswers();

    const quick = { connection: members.channel.connect(), request: 8 };
    members.channel.pull({ group: "workers", min: 3, max: 5, waitMs: 60_000 }, quick);
    members.channel.tick(AGE_MS);
    expect(members.told("slow")).toBe("?def");
    members.settle("releases", "def");

    const answers = members.channel.takeAnswers();
    expect(answers.map(({ connection, outcome }) => [connection, textsOf(outcome)])).toEqual([
      [quick.connection, ["d", "e", "f"]],
    ]);
  });

  test("[SB13] who holds as much as the others is not asked", () => {
    const members = new Members();
    members.subscribe("first", { messages: 3 });
    members.put("abc");
    members.subscribe("second");
    members.put("de");
    expect([members.told("first"), members.told("second")]).toEqual(["abc", "de"]);
    members.channel.tick(AGE_MS);
    members.channel.tick(AGE_MS);
    expect([members.told("first"), members.told("second")]).toEqual(["", ""]);

    members.settle("acks", "d");

    members.channel.tick(AGE_MS);
    expect([members.told("first"), members.told("second")]).toEqual(["?c", ""]);
  });

  test("[SB13] who is asked goes to the end of the line, though it stood before who waits", () => {
    const members = new Members();
    members.subscribe("slow", { messages: 10 });
    members.put("abcd");
    members.subscribe("idle");
    members.channel.tick(AGE_MS);
    expect(members.told("slow")).toBe("abcd?cd");
    members.channel.evict();

    members.settle("releases", "cd");

    expect(members.told("idle")).toBe("cd");
  });

  test("[SB13] nobody is asked while there is something to hand out, for another group, or in a group that is paused", () => {
    const members = new Members();
    members.channel.apply({ type: "create-group", group: "others", settings: {}, start: { at: "last" } });
    members.subscribe("slow", { messages: 4 });
    members.put("abcdef");
    expect(members.told("slow")).toBe("abcd");
    members.subscribe("other", { group: "others" });
    members.channel.apply({ type: "seek-group", group: "others", to: { at: "last" } });
    members.told("other");
    members.channel.tick(AGE_MS);
    expect(members.told("slow")).toBe("");

    members.channel.apply({ type: "change-group", group: "workers", isPaused: true });
    members.subscribe("idle");
    members.channel.tick(AGE_MS);
    expect([members.told("slow"), members.told("idle")]).toEqual(["", ""]);

    members.channel.apply({ type: "change-group", group: "workers", isPaused: false });
    expect([members.told("slow"), members.told("idle")]).toEqual(["?d", "ef"]);
  });

  test("[SB13] [SB9] what was asked for is forgotten with the memory: after an eviction it is asked for once more", () => {
    const members = new Members();
    members.leaveWaiting("abcd");
    expect(members.told("slow")).toBe("abcd?cd");

    members.channel.evict();
    members.channel.tick(0);

    expect(members.told("slow")).toBe("?cd");
  });
});
