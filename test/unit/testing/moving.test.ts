// A channel that moves while objects end, at each step of the way and in each of them. SPEC section NM.
import { assert, beforeEach, describe, expect, test, vi } from "vitest";
import type { Operation } from "../../../src/channel/operation.ts";
import type { PeerStub } from "../../../src/object/channel-stub.ts";
import type { Performed } from "../../../src/object/committer.ts";
import { packOperation } from "../../../src/object/packing.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { formatObjectName, HOME_ROUTE, leadsOn, type ChannelRoute } from "../../../src/protocol/placement.ts";
import { Chance } from "../../../src/testing/chance.ts";
import { Clock } from "../../../src/testing/clock.ts";
import { MemoryObject } from "../../../src/testing/memory-object.ts";

const CHANNEL = "orders";

/** What happens to a call between two objects. */
type Fault = { readonly call: number; readonly victim: "caller" | "called" | "authority"; readonly when: "before" | "after" };

class World {
  readonly clock = new Clock(1_800_000_000_000);
  readonly #chance = new Chance(7);
  readonly #objects = new Map<string, MemoryObject>();
  /** Calls between objects so far. */
  calls = 0;
  fault: Fault | undefined;

  object(name: string): MemoryObject {
    const known = this.#objects.get(name);
    if (known !== undefined) return known;
    const find = (other: string): PeerStub => this.#peer(other, name);
    const object = new MemoryObject({ name, find, clock: this.clock, chance: this.#chance, mayCreate: false });
    this.#objects.set(name, object);
    return object;
  }

  get authority(): MemoryObject {
    return this.object(CHANNEL);
  }

  /** The names of the objects that would serve the channel. */
  get serving(): string[] {
    return [...this.#objects]
      .filter(([, { served, host }]) => served !== undefined && host.record !== undefined)
      .map(([name]) => name);
  }

  /** As a worker does that knows the route, or none. */
  async perform(operation: Operation, known?: ChannelRoute): Promise<Performed> {
    const ask = (route: ChannelRoute | undefined): ReturnType<MemoryObject["perform"]> =>
      this.object(formatObjectName(CHANNEL, route?.generation ?? 0)).perform(packOperation(operation), undefined, route?.epoch);
    const first = await this.settled(ask(known));
    if ("outcome" in first) return first;
    assert(leadsOn(first.route, known));
    const second = await this.settled(ask(first.route));
    assert("outcome" in second);
    return second;
  }

  async settled<Value>(coming: Promise<Value>): Promise<Value> {
    const state = { isOver: false };
    const end = (): void => void (state.isOver = true);
    coming.then(end, end);
    for (let turn = 0; turn < 1000 && !state.isOver; turn++) await this.clock.advance(1);
    return await coming;
  }

  #peer(name: string, caller: string): PeerStub {
    const peer = (): MemoryObject => this.object(name);
    const pass = async <Value>(call: (object: MemoryObject) => Promise<Value>): Promise<Value> => {
      const { fault } = this;
      this.calls += 1;
      const isHit = fault?.call === this.calls;
      const end = (): void => {
        if (fault !== undefined) this.object({ caller, called: name, authority: CHANNEL }[fault.victim]).reset();
      };
      if (isHit && fault.when === "before") end();
      const value = await call(peer());
      if (isHit && fault.when === "after") end();
      return value;
    };
    return {
      tellRoute: () => pass((object) => object.tellRoute()),
      comeHome: (generation) => pass((object) => object.comeHome(generation)),
      depart: (order) => pass((object) => object.depart(order)),
      arrive: (order) => pass((object) => object.arrive(order)),
    };
  }
}

function put(text: string): Operation {
  const body = new TextEncoder().encode(text);
  return { type: "put", messages: [{ body, presentation: "text", contentType: "text/plain; charset=utf-8" }] };
}

async function createWorld(): Promise<World> {
  const world = new World();
  await world.perform({ type: "create", settings: {} });
  for (const text of ["a", "b", "c"]) await world.perform(put(text));
  return world;
}

async function move(world: World, locationHint: "weur" | "apac"): Promise<unknown> {
  return (await world.settled(world.authority.move({ locationHint }))).refusal?.kind;
}

/** What is there, in its order. */
async function browse(world: World): Promise<readonly (readonly [number, string])[]> {
  const { outcome } = await world.perform({ type: "browse", fromOffset: 1, limit: 100 });
  assert(outcome.type === "page");
  return outcome.messages.map(({ offset, body }) => [offset, new TextDecoder().decode(body)]);
}

/** Of the longer of two moves: from the authority, and from one later generation to the next. */
async function countCalls(): Promise<number> {
  const world = await createWorld();
  await move(world, "weur");
  world.calls = 0;
  await move(world, "apac");
  expect(world.calls).toBeGreaterThan(4);
  return world.calls;
}

beforeEach(() => {
  const spy = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  return () => spy.mockRestore();
});

describe("routes", () => {
  test("[NM4] a route that points at its own object, or to an epoch that is over, leads nowhere", () => {
    const route = { epoch: 3, generation: 2 };

    expect(leadsOn(HOME_ROUTE, undefined)).toBe(false);
    expect(leadsOn(route, undefined)).toBe(true);
    expect(leadsOn(route, route)).toBe(false);
    expect(leadsOn({ epoch: 4, generation: 2 }, route)).toBe(false);
    expect(leadsOn({ epoch: 2, generation: 1 }, route)).toBe(false);
    expect(leadsOn({ epoch: 4, generation: 0 }, route)).toBe(true);
  });

  test("[NM3] [NM5] whoever is asked that has not the channel tells where it is, and creates nothing", async () => {
    const world = await createWorld();
    expect(await move(world, "weur")).toBeUndefined();
    expect(await move(world, "apac")).toBeUndefined();
    const route = { epoch: 2, generation: 2, locationHint: "apac" };

    for (const [generation, epoch] of [
      [0, undefined],
      [0, 0],
      [1, 1],
      [2, 1],
      [7, 7],
    ] as const) {
      const object = world.object(formatObjectName(CHANNEL, generation));
      expect(await world.settled(object.perform(packOperation({ type: "create", settings: {} }), undefined, epoch))).toEqual({
        route,
      });
    }
    expect(world.serving).toEqual([`2/${CHANNEL}`]);
  });

  test("[NM5] when nothing is left of a channel that moved, its name is the authority's again", async () => {
    const world = await createWorld();
    await move(world, "weur");
    await world.perform({ type: "delete", graceMs: 0 });
    await world.clock.advance(LIMITS.tombstoneMs + 60_000);

    const stale: ChannelRoute = { epoch: 1, generation: 1 };
    expect((await world.perform({ type: "describe" }, stale)).outcome).toMatchObject({ refusal: { kind: "unknown-channel" } });
    expect((await world.perform({ type: "create", settings: {} })).outcome.type).toBe("created");
    expect(world.serving).toEqual([CHANNEL]);
    expect(await move(world, "apac")).toBeUndefined();
    expect(world.serving).toEqual([`2/${CHANNEL}`]);
  });
});

describe("a place at creation", () => {
  test("[NM10] a jurisdiction is an object of its own; where nothing is created, the name is the authority's again", async () => {
    const world = new World();
    expect(await world.settled(world.authority.place({ jurisdiction: "eu" }))).toEqual({});
    expect((await world.perform({ type: "create", settings: {} })).outcome.type).toBe("created");
    expect(world.serving).toEqual([`1/${CHANNEL}`]);
    expect(await world.settled(world.authority.place({ jurisdiction: "eu" }))).toEqual({});
    expect((await world.settled(world.authority.place({ locationHint: "oc" }))).refusal).toMatchObject({
      kind: "settings-conflict",
      conflicts: ["locationHint"],
    });
    await world.clock.advance(60_000);
    expect((await world.perform(put("a"))).outcome).toMatchObject({ type: "put", offset: 1 });

    const empty = new World();
    await empty.settled(empty.authority.place({ jurisdiction: "eu" }));
    expect((await empty.perform(put("a"))).outcome).toMatchObject({ refusal: { kind: "unknown-channel" } });
    await empty.clock.advance(60_000);
    expect((await empty.settled(empty.authority.tellRoute())).route).toEqual({ epoch: 2, generation: 0 });
    expect((await empty.perform({ type: "create", settings: {} })).outcome.type).toBe("created");
    expect(empty.serving).toEqual([CHANNEL]);
  });
});

describe("a move", () => {
  test("[NM7] one at a time, and what comes meanwhile waits and is not lost", async () => {
    const world = await createWorld();
    const moving = move(world, "weur");
    const second = world.authority.move({ locationHint: "apac" });
    const waiting = world.perform(put("d"));

    expect((await second).refusal).toMatchObject({ kind: "channel-moving" });
    expect(await moving).toBeUndefined();
    expect((await waiting).outcome).toMatchObject({ type: "put", offset: 4 });
    expect(await move(world, "weur")).toBe("already-there");
  });

  test("[NM7] [NM8] what waited for a move that comes to nothing is done where the channel stays", async () => {
    const world = await createWorld();
    // The new place forgets what was begun there.
    world.fault = { call: 2, victim: "called", when: "before" };
    const moving = move(world, "weur");
    const waiting = world.perform(put("d"));

    expect(await moving).toBe("unavailable");
    expect((await waiting).outcome).toMatchObject({ type: "put", offset: 4 });
    expect(world.serving).toEqual([CHANNEL]);
  });

  test("[NM8] what comes in the middle of a move is done by who has the channel then, and not by who leaves", async () => {
    const world = await createWorld();
    const moving = move(world, "weur");
    // The first page is on its way.
    for (let turn = 0; world.calls < 2 && turn < 1_000; turn++) await Promise.resolve();
    expect(world.calls).toBe(2);
    const waiting = world.perform(put("d"));

    expect(await moving).toBeUndefined();
    expect((await waiting).outcome).toMatchObject({ type: "put", offset: 4 });
    expect(await browse(world)).toEqual(["a", "b", "c", "d"].map((text, index) => [index + 1, text]));
    expect(world.serving).toEqual([`1/${CHANNEL}`]);
  });

  test("[NM8] word that another move came to nothing does not end the one that goes on", async () => {
    const world = await createWorld();
    const moving = move(world, "weur");
    const told = world.authority.depart({ type: "stay", generation: 7 });

    expect([await moving, (await told).refusal]).toEqual([undefined, undefined]);
    expect(world.serving).toEqual([`1/${CHANNEL}`]);
  });

  test("[NM8] an object that serves the channel is brought no other, and forgets nothing by a word that comes late", async () => {
    const world = await createWorld();
    expect(await move(world, "weur")).toBeUndefined();
    const there = world.object(formatObjectName(CHANNEL, 1));
    const route: ChannelRoute = { epoch: 2, generation: 1 };
    await world.settled(there.arrive({ type: "discard" }));

    await expect(world.settled(there.arrive({ type: "begin", route }))).rejects.toThrow("brought here already");
    expect(await browse(world)).toEqual(["a", "b", "c"].map((text, index) => [index + 1, text]));
    expect(world.serving).toEqual([`1/${CHANNEL}`]);
  });

  const victims = ["caller", "called", "authority"] as const;
  const whens = ["before", "after"] as const;
  test.each(victims.flatMap((victim) => whens.map((when) => ({ victim, when }))))(
    "[NM8] [NM9] whatever ends of it, one object serves all of it in the end: the $victim, $when each call",
    async ({ victim, when }) => {
      const calls = await countCalls();
      let moved = 0;
      for (let call = 1; call <= calls; call++) {
        const world = await createWorld();
        // From the authority, and from one later generation to the next.
        for (const hint of ["weur", "apac"] as const) {
          world.calls = 0;
          world.fault = { call, victim, when };
          await move(world, hint).catch(() => undefined);
          world.fault = undefined;
          await world.clock.advance(60_000);
          const before = await browse(world);
          const { outcome } = await world.perform(put(`after ${hint}`));

          expect(world.serving).toHaveLength(1);
          expect(outcome).toMatchObject({ type: "put", offset: before.length + 1 });
          if (world.serving[0] !== CHANNEL) moved += 1;
        }
        expect(await browse(world)).toEqual(["a", "b", "c", "after weur", "after apac"].map((text, index) => [index + 1, text]));
        expect(await move(world, "weur")).toBeOneOf([undefined, "already-there"]);
      }
      // Some of the moves were carried on with, others given up.
      expect(moved).toBeGreaterThan(0);
      expect(moved).toBeLessThan(2 * calls);
    },
  );
});
