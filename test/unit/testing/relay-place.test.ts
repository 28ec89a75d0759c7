// Where relays are: how their objects are found. SPEC RY13. The local runtime has no jurisdictions: namespaces are doubles here.
import { describe, expect, test } from "vitest";
import { formatRelayObject, parseRelayObject, RELAY_HEADER, RELAY_JURISDICTION_HEADER } from "../../../src/object/relay-name.ts";
import { findRelay } from "../../../src/object/relay-stub.ts";
import { Whereabouts, type Standing } from "../../../src/object/whereabouts.ts";
import { fetchPlain } from "../../../src/worker/plain-socket.ts";

/** Notes by which names and with what its objects are asked for; each answers as `answer` does. */
class Namespace {
  readonly asked: (readonly [jurisdiction: string | undefined, name: string, options: object])[] = [];
  readonly #answer: () => Response;
  readonly #within: string | undefined;
  readonly #all: Namespace;

  constructor(answer = () => new Response(), within?: string, all?: Namespace) {
    this.#answer = answer;
    this.#within = within;
    this.#all = all ?? this;
  }

  jurisdiction(within: string): Namespace {
    return new Namespace(this.#answer, within, this.#all);
  }

  getByName(name: string, options: object): object {
    this.#all.asked.push([this.#within, name, options]);
    return { fetch: () => Promise.resolve(this.#answer()) };
  }
}

function asNamespace(namespace: Namespace): DurableObjectNamespace {
  return namespace as unknown as DurableObjectNamespace;
}

describe("src/object/relay-stub", () => {
  test.each([
    ["FRA/0", undefined, [undefined, "FRA/0/orders", { locationHint: "weur" }]],
    ["NRT/3", undefined, [undefined, "NRT/3/orders", { locationHint: "apac" }]],
    ["XXX/0", undefined, [undefined, "XXX/0/orders", {}]],
    ["FRA/0", "eu", ["eu", "FRA/0@eu/orders", { locationHint: "weur" }]],
    ["NRT/0", "eu", ["eu", "NRT/0@eu/orders", {}]],
    ["IAD/1", "fedramp", ["fedramp", "IAD/1@fedramp/orders", { locationHint: "enam" }]],
    ["FRA/0", "fedramp", ["fedramp", "FRA/0@fedramp/orders", {}]],
  ] as const)("[RY13] finds %s of a channel in %s", (relay, jurisdiction, expected) => {
    const namespace = new Namespace();
    findRelay(asNamespace(namespace), { channel: "orders", relay, jurisdiction });
    expect(namespace.asked).toEqual([expected]);
    const [, name] = expected;
    expect(parseRelayObject(name)).toMatchObject({ channel: "orders", relay, jurisdiction });
  });

  test("[RY13] a relay knows its channel, colo and jurisdiction by its name", () => {
    for (const jurisdiction of ["eu", undefined] as const) {
      const address = { channel: "a@b:c", relay: "LHR/12", jurisdiction };
      expect(parseRelayObject(formatRelayObject(address))).toEqual({ ...address, colo: "LHR", place: 12 });
    }
    for (const name of ["orders", "LHR/orders", "LHR/64/orders", "LHR/0@mars/orders"])
      expect(() => parseRelayObject(name)).toThrow("Not the name of a relay");
  });

  test("[RY13] the relays of a channel are where its object is, wherever its authority sends to", () => {
    const route = { epoch: 3, generation: 2, jurisdiction: "eu" } as const;
    const at = (objectName: string): Whereabouts => {
      const standing: Standing = { channel: "orders", state: "here", route };
      const store = {
        read: () => standing,
        write: () => undefined,
        eraseOthers: () => undefined,
        eraseAll: () => Promise.resolve(),
      };
      return new Whereabouts({ objectName, store, nowMs: () => 0 });
    };
    expect([at("2/orders").jurisdiction, at("orders").jurisdiction]).toEqual(["eu", undefined]);
  });
});

describe("src/worker/plain-socket", () => {
  test("[RY13] readers go to the relay in the jurisdiction that the channel names, also while that is remembered", async () => {
    const told = { [RELAY_HEADER]: "FRA", [RELAY_JURISDICTION_HEADER]: "eu" };
    const channels = new Namespace(() => new Response(null, { headers: told }));
    const relays = new Namespace(() => new Response("served"));
    const [CHANNELS, RELAYS] = [asNamespace(channels), asNamespace(relays)];
    const env = { CHANNELS, RELAYS, DIRECTORY: CHANNELS };
    const request = new Request("https://channel/socket");
    for (let time = 0; time < 2; time++) {
      const reply = await fetchPlain(env, "placed", request, { colo: "FRA" });
      expect(await reply.text()).toBe("served");
    }
    const expected = ["eu", "FRA/0@eu/placed", { locationHint: "weur" }];
    expect(relays.asked).toEqual([expected, expected]);
    expect(channels.asked).toHaveLength(1);
  });
});
