// What a worker does with routes that lead nowhere. Rules NM3 and NM4.
import { describe, expect, test, vi } from "vitest";
import { ROUTE_HEADER } from "../../src/object/channel-stub.ts";
import type { Env } from "../../src/object/env.ts";
import { formatObjectName, type ChannelRoute } from "../../src/protocol/placement.ts";
import { ask, fetchFrom } from "../../src/worker/channel-client.ts";
import { RefusalError } from "../../src/worker/refusal-error.ts";
import { routesOf } from "../../src/worker/route-cache.ts";

const CHANNEL = "orders";
const AWAY: ChannelRoute = { epoch: 1, generation: 1 };
const LOST = { kind: "unavailable", outcome: "not-applied", retryAfterMs: 0 };

/** A worker whose objects, by their names, tell these routes and serve nobody; and the names of those that it asked. */
function sentOn(routes: Readonly<Record<string, ChannelRoute>>): { readonly env: Env; readonly asked: string[] } {
  const asked: string[] = [];
  const getByName = (name: string) => {
    const route = (): ChannelRoute => {
      asked.push(name);
      const told = routes[name];
      if (told === undefined) throw new Error(`Nobody should ask ${name}`);
      return told;
    };
    return {
      perform: async () => ({ route: route() }),
      fetch: async () => new Response(null, { headers: { [ROUTE_HEADER]: JSON.stringify(route()) } }),
    };
  };
  return { env: { CHANNELS: { getByName } } as unknown as Env, asked };
}

async function refusalsOf(env: Env): Promise<unknown[]> {
  const upgrade = new Request("https://object/socket");
  const asking = [ask(env, CHANNEL, { type: "describe" }, ["described"]), fetchFrom(env, CHANNEL, upgrade)];
  return (await Promise.allSettled(asking)).map((settled) =>
    settled.status === "rejected" && settled.reason instanceof RefusalError ? settled.reason.refusal : settled,
  );
}

describe("src/worker/channel-client", () => {
  test("[NM4] a route that points at the object that told it is not followed: nothing was done, and the next call asks anew", async () => {
    const { env, asked } = sentOn({ [CHANNEL]: { epoch: 1, generation: 0 } });

    expect(await refusalsOf(env)).toEqual([LOST, LOST]);
    expect(asked).toEqual([CHANNEL, CHANNEL]);
    expect(routesOf(env).find(CHANNEL)).toBeUndefined();
  });

  test("[NM3] two objects that point at each other are asked once each", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { env, asked } = sentOn({ [CHANNEL]: AWAY, [formatObjectName(CHANNEL, 1)]: { epoch: 2, generation: 0 } });

    expect(await refusalsOf(env)).toEqual([LOST, LOST]);
    expect(asked.toSorted()).toEqual([formatObjectName(CHANNEL, 1), formatObjectName(CHANNEL, 1), CHANNEL, CHANNEL]);
    expect(routesOf(env).find(CHANNEL)).toBeUndefined();
  });

  test("[NM4] a route that is kept and is over by now is not followed to an older one", async () => {
    const { env, asked } = sentOn({ [formatObjectName(CHANNEL, 2)]: AWAY });
    routesOf(env).keep(CHANNEL, { epoch: 2, generation: 2 });
    const described = ask(env, CHANNEL, { type: "describe" }, ["described"]);

    await expect(described).rejects.toMatchObject({ refusal: LOST });
    expect(asked).toEqual([formatObjectName(CHANNEL, 2)]);
    expect(routesOf(env).find(CHANNEL)).toBeUndefined();
  });
});
