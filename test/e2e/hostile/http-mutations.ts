// Makes one thing wrong in a request.
import type { Route } from "../../../src/protocol/route.ts";
import { findMethods } from "../../../src/protocol/routes.ts";
import { mutateJson } from "./json-mutations.ts";
import type { DeliveryModel } from "./delivery-model.ts";
import { mutatePull, mutateSettle } from "./lease-requests.ts";
import type { RequestSpec } from "./request.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { MESSAGE_MUTATORS, CONDITION_MUTATORS, CHECKPOINT_MUTATORS } from "./message-mutations.ts";
import { type RequestMutation, type Change, type Mutator, type Header, withHeaders, withoutHeader } from "./mutator.ts";

const BAD_NAMES = [
  "%",
  "%ff",
  "%00",
  "a%20b",
  "%C3%A9",
  "%E0%A4%A",
  "..%2f..",
  "-a",
  "a;b",
  "__proto__",
  "a%0d%0ab",
  "%25",
  "a".repeat(129),
  "a,b",
  "*",
];

const BAD_OFFSETS = [
  "0",
  "-1",
  "1.5",
  "NaN",
  "1e3",
  "0x1",
  "9".repeat(15),
  "9".repeat(40),
  "abc",
  "%2d1",
  "%F0%9F%92%A9",
  "+1",
  "1%20",
  "%",
  "Infinity",
];

const BAD_NUMBERS = [
  "-1",
  "1.5",
  "abc",
  "NaN",
  "Infinity",
  "1e3",
  "0x10",
  "9".repeat(400),
  "",
  "%",
  "%zz",
  "%00",
  "1%20",
  "%EF%BC%91",
  "null",
  "TRUE",
];

function onSocket(change: (spec: RequestSpec, random: SeededRandom) => Change): Mutator {
  return (spec, route, random) => (route.operationId === "openSocket" ? change(spec, random) : undefined);
}

function onBody(framing: RequestSpec["framing"], mustRefuse: boolean): Mutator {
  return (spec) =>
    spec.body === undefined || spec.body.byteLength < 2
      ? undefined
      : { spec: { ...spec, framing }, mustRefuse, isTransport: true };
}

function replacePath(spec: RequestSpec, pattern: RegExp, bad: readonly string[], random: SeededRandom): Change | undefined {
  const path = spec.path.replace(pattern, `$1${random.pick(bad)}$2`);
  return path === spec.path ? undefined : { spec: { ...spec, path }, mustRefuse: true };
}

function replaceUpgrade(spec: RequestSpec, name: string, value: string | undefined): RequestSpec {
  const rest = withoutHeader(spec, name.toLowerCase());
  return value === undefined ? rest : withHeaders(rest, [name, value]);
}

const PATH_MUTATORS: Readonly<Record<string, Mutator>> = {
  "bad-channel-name": (spec, _route, random) => replacePath(spec, /^(\/v1\/channels\/)[^/]+(.*)$/, BAD_NAMES, random),
  "bad-offset": (spec, route, random) =>
    route.path.endsWith("{offset}") ? replacePath(spec, /^(.*\/messages\/)[^/]+()$/, BAD_OFFSETS, random) : undefined,
  "bad-message-id": (spec, route, random) =>
    route.path.endsWith("{messageId}")
      ? replacePath(spec, /^(.*\/by-id\/)[^/]+()$/, ["a".repeat(257), "%F0%9F%92%A9".repeat(65), "%", "%ff", "a%zz"], random)
      : undefined,
  "bad-checkpoint-name": (spec, route, random) =>
    route.path.endsWith("{checkpoint}") ? replacePath(spec, /^(.*\/checkpoints\/)[^/]+()$/, BAD_NAMES, random) : undefined,
  "bad-scheduled-id": (spec, route, random) =>
    route.path.endsWith("{scheduledId}")
      ? replacePath(
          spec,
          /^(.*\/scheduled\/)[^/]+()$/,
          ["1", "-", "1-", "a-b", "1-2-3", "-1-1", "%31-", "1.5-1", "9".repeat(400)],
          random,
        )
      : undefined,
  "trailing-slash": (spec) => ({ spec: { ...spec, path: `${spec.path}/` }, mustRefuse: true }),
  "double-slash": (spec) => ({ spec: { ...spec, path: `/${spec.path}` }, mustRefuse: true }),
  "extra-segment": (spec, _route, random) => ({
    spec: { ...spec, path: `${spec.path}/${random.pick(["x/y/z/q", "%2e%2e/%2e%2e/x", "messages/by-id/1/2"])}` },
    mustRefuse: true,
  }),
  "upper-case-path": (spec) => ({
    spec: { ...spec, path: spec.path.replace(/^\/v1\/channels|^\/[a-z]/, (text) => text.toUpperCase()) },
    mustRefuse: true,
  }),
  "long-path": (spec) => ({ spec: { ...spec, path: `${spec.path}/${"a".repeat(7000)}/b/c/d` }, mustRefuse: true }),
  "wrong-method": (spec, _route, random) => {
    const served = findMethods(spec.path);
    const methods = ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"].filter(
      (method) => !served.includes(method),
    );
    return { spec: { ...spec, method: random.pick(methods) }, mustRefuse: true };
  },
  "unknown-method": (spec, _route, random) => ({
    spec: { ...spec, method: random.pick(["FOO", spec.method.toLowerCase(), "G E T"]) },
    mustRefuse: true,
    isTransport: true,
  }),
  head: (spec) =>
    spec.method === "GET"
      ? { spec: { ...spec, method: "HEAD" }, mustRefuse: false, isTransport: spec.headers.length > 0 }
      : undefined,
};

const QUERY_MUTATORS: Readonly<Record<string, Mutator>> = {
  "repeated-parameter": (spec, route) => {
    const [first] = spec.query;
    if (first === undefined || route.query === undefined) return undefined;
    return { spec: { ...spec, query: [...spec.query, first] }, mustRefuse: true };
  },
  "extra-parameter": (spec, route, random) => {
    const name = random.pick(["extra", "Limit", "__proto__", "constructor", "toString", "%00", "a[]", ""]);
    // A parameter without a name is none.
    return { spec: { ...spec, query: [...spec.query, [name, "1"]] }, mustRefuse: route.query !== undefined && name !== "" };
  },
  "bad-parameter": (spec, _route, random) => {
    const [first, ...rest] = spec.query;
    if (first === undefined || ["prefix", "after", "key", "reason"].includes(first[0])) return undefined;
    return { spec: { ...spec, query: [...rest, [first[0], random.pick(BAD_NUMBERS)]] }, mustRefuse: true };
  },
  "garbage-query": (spec, route, random) => ({
    spec: { ...spec, query: [...spec.query, [random.pick(["%", "%ff%fe", "a%00b"]), random.pick(["%", "%c3", "%80%"])]] },
    mustRefuse: route.query !== undefined,
  }),
};

const HEADER_MUTATORS: Readonly<Record<string, Mutator>> = {
  "wrong-content-type": (spec, route, random) => {
    if (spec.body === undefined || route.body === undefined) return undefined;
    const type = random.pick([
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "application/jsonp",
      "json",
      "\xff",
    ]);
    return { spec: withHeaders(withoutHeader(spec, "content-type"), ["Content-Type", type]), mustRefuse: true };
  },
  "no-content-type": (spec, route) =>
    spec.body === undefined || route.body === undefined
      ? undefined
      : { spec: withoutHeader(spec, "content-type"), mustRefuse: true },
  "content-encoding": (spec, _route, random) =>
    spec.body === undefined
      ? undefined
      : { spec: withHeaders(spec, ["Content-Encoding", random.pick(["gzip", "br", "deflate", "\xff"])]), mustRefuse: true },
  "foreign-origin": (spec, _route, random) => ({
    spec: withHeaders(spec, [
      "Origin",
      random.pick(["https://evil.example", "null", "http://127.0.0.1.evil.example", "x", "http://[::1"]),
    ]),
    mustRefuse: spec.path !== "/healthz",
  }),
  "foreign-host": (spec, _route, random) => ({
    spec: { ...spec, host: random.pick(["evil.example", "127.0.0.1.evil.example", "localhost.:1", "0.0.0.0"]) },
    mustRefuse: spec.path !== "/healthz",
  }),
  "broken-host": (spec, _route, random) => ({
    spec: { ...spec, host: random.pick(["", "a b", "[::1", "%zz", "127.0.0.1:99999", "@", "a@b:c", "///", "\xff"]) },
    mustRefuse: spec.path !== "/healthz",
    isTransport: true,
  }),
  "repeated-host": (spec) => ({ spec: withHeaders(spec, ["Host", "127.0.0.1:1"]), mustRefuse: false, isTransport: true }),
  "odd-headers": (spec, _route, random) => ({
    spec: withHeaders(
      spec,
      random.pick<Header>([
        ["Authorization", "Bearer \xff"],
        ["X-HTTP-Method-Override", "DELETE"],
        ["Range", "bytes=0-99999999999999999999"],
        ["If-Match", "*"],
        ["Accept", "nothing/*;q=9"],
        ["Accept-Encoding", "gzip, br, zstd, \x01"],
        ["Cookie", "a=".repeat(2000)],
        ["X-Forwarded-Host", "evil.example"],
        ["CF-Connecting-IP", "not an address"],
        ["Upgrade", "h2c"],
        ["Expect", "100-continue"],
        ["Via", "\t\t"],
      ]),
    ),
    mustRefuse: false,
    isTransport: true,
  }),
  "long-header": (spec, _route, random) => ({
    spec: withHeaders(
      spec,
      random.pick<Header>([
        ["X-Long", "v".repeat(60_000)],
        ["x".repeat(8000), "v"],
        ["Cookie", "v".repeat(300_000)],
        ["Origin", `http://${"o".repeat(20_000)}.example`],
      ]),
    ),
    mustRefuse: false,
    isTransport: true,
  }),
  "many-headers": (spec, _route, random) => ({
    spec: withHeaders(spec, ...Array.from({ length: random.pick([100, 1000]) }, (_, index): Header => [`X-${index}`, "v"])),
    mustRefuse: false,
    isTransport: true,
  }),
  "broken-header": (spec, _route, random) => ({
    spec: withHeaders(
      spec,
      random.pick<Header>([
        ["X A", "b"],
        ["X\x00A", "b"],
        ["X-A", "a\x00b"],
        ["X-A", "a\rb"],
        ["X-A", "b\r\n folded"],
        ["", "b"],
        ["\xff", "b"],
      ]),
    ),
    mustRefuse: true,
    isTransport: true,
  }),
};

const FRAMING_MUTATORS: Readonly<Record<string, Mutator>> = {
  "length-too-long": onBody("length-too-long", true),
  "chunked-cut": onBody("chunked-cut", true),
  "length-too-short": (spec, route, random) => onBody("length-too-short", route.body !== undefined)(spec, route, random),
  "broken-length": (spec, _route, random) => {
    if (spec.body === undefined) return undefined;
    const value = random.pick(["-1", "abc", "1e3", "99999999999999999999", "0x10", "1, 2", " "]);
    return { spec: { ...withHeaders(spec, ["Content-Length", value]), framing: "raw" }, mustRefuse: true, isTransport: true };
  },
  "huge-length": (spec) =>
    spec.body === undefined || spec.body.byteLength === 0
      ? undefined
      : {
          spec: { ...withHeaders(spec, ["Content-Length", "1000000000000"]), framing: "raw" },
          mustRefuse: true,
          isTransport: true,
        },
  "broken-chunks": (spec, _route, random) => {
    if (spec.body === undefined) return undefined;
    const body = Buffer.from(
      random.pick(["zz\r\nabc\r\n", "-1\r\n\r\n", "ffffffffffffffffff\r\n", "3\r\nabcdef\r\n0\r\n\r\n", "\r\n\r\n"]),
    );
    return {
      spec: { ...withHeaders(spec, ["Transfer-Encoding", "chunked"]), body, framing: "raw" },
      mustRefuse: true,
      isTransport: true,
    };
  },
  "two-framings": (spec) =>
    spec.body === undefined
      ? undefined
      : { spec: withHeaders(spec, ["Transfer-Encoding", "identity"]), mustRefuse: false, isTransport: true },
  "body-without-need": (spec, route) =>
    spec.body !== undefined || route.body !== undefined || route.operationId === "openSocket"
      ? undefined
      : { spec: { ...spec, body: Buffer.from('{"a":'), framing: "length" }, mustRefuse: false },
  "not-utf8": (spec, route) => {
    if (spec.body === undefined || route.body === undefined) return undefined;
    const at = spec.body.indexOf('"') + 1;
    return {
      spec: { ...spec, body: Buffer.concat([spec.body.subarray(0, at), Buffer.from([0xff, 0xc3]), spec.body.subarray(at)]) },
      mustRefuse: true,
    };
  },
  "empty-body": (spec, route) =>
    spec.body === undefined || route.body === undefined
      ? undefined
      : { spec: { ...spec, body: Buffer.alloc(0), framing: "length" }, mustRefuse: route.isBodyOptional !== true },
};

const SOCKET_MUTATORS: Readonly<Record<string, Mutator>> = {
  "upgrade-without-connection": onSocket((spec) => ({
    spec: replaceUpgrade(spec, "Connection", undefined),
    mustRefuse: false,
    isTransport: true,
  })),
  "upgrade-to-other": onSocket((spec, random) => ({
    spec: replaceUpgrade(spec, "Upgrade", random.pick(["h2c", "websocket2", "websocket, h2c", undefined])),
    mustRefuse: true,
  })),
  "upgrade-key": onSocket((spec, random) => ({
    spec: replaceUpgrade(spec, "Sec-WebSocket-Key", random.pick(["", "x", "\xff", undefined])),
    mustRefuse: false,
    isTransport: true,
  })),
  "upgrade-version": onSocket((spec, random) => ({
    spec: replaceUpgrade(spec, "Sec-WebSocket-Version", random.pick(["8", "abc", "", undefined])),
    mustRefuse: true,
    isTransport: true,
  })),
  "upgrade-protocol": onSocket((spec, random) => ({
    spec: replaceUpgrade(
      spec,
      "Sec-WebSocket-Protocol",
      random.pick(["channel.v2.json", "Channel.V1.Json", "channel.v1.json2, x", "\x7f"]),
    ),
    mustRefuse: true,
    isTransport: true,
  })),
};

const GROUPS: readonly Readonly<Record<string, Mutator>>[] = [
  PATH_MUTATORS,
  QUERY_MUTATORS,
  HEADER_MUTATORS,
  MESSAGE_MUTATORS,
  CHECKPOINT_MUTATORS,
  CONDITION_MUTATORS,
  FRAMING_MUTATORS,
  SOCKET_MUTATORS,
];

function mutateLeases(spec: RequestSpec, random: SeededRandom, delivery: DeliveryModel): RequestMutation | undefined {
  if (spec.operationId !== "settleMessages" && spec.operationId !== "pullMessages") return undefined;
  const document = JSON.parse(String(spec.body)) as object;
  const mutated = spec.operationId === "pullMessages" ? mutatePull(document, random) : mutateSettle(document, random, delivery);
  const { document: changed, ...rest } = mutated;
  return { ...rest, spec: { ...spec, body: Buffer.from(JSON.stringify(changed)) } };
}

/** One change to a valid request: often to its JSON body, where it has one. */
export function mutateRequest(spec: RequestSpec, route: Route, random: SeededRandom, delivery: DeliveryModel): RequestMutation {
  const leased = random.chance(0.6) ? mutateLeases(spec, random, delivery) : undefined;
  if (leased !== undefined) return leased;
  if (spec.body !== undefined && route.body !== undefined && random.chance(0.5)) {
    const { name, bytes, mustRefuse } = mutateJson(JSON.parse(String(spec.body)) as object, random);
    return { name, spec: { ...spec, body: bytes }, mustRefuse };
  }
  for (;;) {
    const mutators = Object.entries(random.pick(GROUPS));
    const [name, mutate] = random.pick(mutators);
    const change = mutate(spec, route, random);
    if (change !== undefined) return { name, ...change };
  }
}
