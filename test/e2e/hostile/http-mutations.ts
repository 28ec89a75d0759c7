// Makes one thing wrong in a request.
import type { Route } from "../../../src/protocol/route.ts";
import { findMethods } from "../../../src/protocol/routes.ts";
import { mutateJson } from "./json-mutations.ts";
import type { DeliveryModel } from "./delivery-model.ts";
import { mutatePull, mutateSettle } from "./lease-requests.ts";
import type { RequestSpec } from "./request.ts";
import type { SeededRandom } from "./seeded-random.ts";

export interface RequestMutation {
  readonly name: string;
  readonly spec: RequestSpec;
  /** A reply of 2xx would be a mistake. */
  readonly mustRefuse: boolean;
  /** HTTP itself is broken: the runtime may answer in its own words, or end the connection. */
  readonly isTransport?: boolean;
  /** The kind that the refusal has to have, where only one is right and the channel is there. */
  readonly kind?: string;
}

type Change = Omit<RequestMutation, "name">;
type Mutator = (spec: RequestSpec, route: Route, random: SeededRandom) => Change | undefined;

type Header = readonly [name: string, value: string];

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

function withHeaders(spec: RequestSpec, ...headers: readonly Header[]): RequestSpec {
  return { ...spec, headers: [...spec.headers, ...headers] };
}

function withoutHeader(spec: RequestSpec, name: string): RequestSpec {
  return { ...spec, headers: spec.headers.filter(([given]) => given.toLowerCase() !== name) };
}

function onMessage(change: (spec: RequestSpec, random: SeededRandom) => Change): Mutator {
  return (spec, route, random) => (route.isMessageBody === true ? change(spec, random) : undefined);
}

function onCheckpoint(change: (spec: RequestSpec, random: SeededRandom) => Change): Mutator {
  return (spec, route, random) => (route.isValueBody === true ? change(spec, random) : undefined);
}

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

const MESSAGE_MUTATORS: Readonly<Record<string, Mutator>> = {
  "escaped-injection": onMessage((spec, random) => ({
    spec: withHeaders(withoutHeader(spec, "channel-key"), [
      "Channel-Key",
      random.pick(["a%0d%0aX-Evil:%201", "%0a", "%00", "a%0d%0a%0d%0a<html>"]),
    ]),
    mustRefuse: false,
  })),
  "bad-escape": onMessage((spec, random) => ({
    spec: withHeaders(spec, [
      random.pick(["Channel-Header-x-bad", "Channel-Header-y"]),
      random.pick(["%", "%zz", "%ff", "%c3%28", "\xe9", "a\tb", "%ED%A0%80"]),
    ]),
    mustRefuse: true,
  })),
  "long-key": onMessage((spec, random) => ({
    spec: withHeaders(spec, [
      random.pick(["Channel-Key", "Channel-Message-Id"]),
      random.pick(["k".repeat(300), "%F0%9F%92%A9".repeat(65)]),
    ]),
    mustRefuse: true,
  })),
  "empty-key": onMessage((spec) => ({
    spec: withHeaders(withoutHeader(spec, "channel-key"), ["Channel-Key", ""]),
    mustRefuse: true,
  })),
  "bad-delay": onMessage((spec, random) => ({
    spec: withHeaders(withoutHeader(withoutHeader(spec, "channel-delay-ms"), "channel-deliver-at-ms"), [
      random.pick(["Channel-Delay-Ms", "Channel-Deliver-At-Ms"]),
      random.pick(["-1", "1.5", "1e3", "NaN", "0x10", "1, 2", "tomorrow", "%31", "2592000001000000", "999999999999999"]),
    ]),
    mustRefuse: true,
  })),
  "bad-ttl": onMessage((spec, random) => ({
    spec: withHeaders(withoutHeader(spec, "channel-ttl-ms"), [
      "Channel-Ttl-Ms",
      random.pick(["0", "-1", "1.5", "1e3", "", "NaN", "1, 2", "%31", "315360000001"]),
    ]),
    mustRefuse: true,
  })),
  "two-delays": onMessage((spec) => ({
    spec: withHeaders(
      withoutHeader(withoutHeader(spec, "channel-delay-ms"), "channel-deliver-at-ms"),
      ["Channel-Delay-Ms", "0"],
      ["Channel-Deliver-At-Ms", "0"],
    ),
    mustRefuse: true,
  })),
  "bad-header-name": onMessage((spec, random) => ({
    spec: withHeaders(spec, [`Channel-Header-${random.pick(["", "a%41", "a`b", "n".repeat(65)])}`, "x"]),
    mustRefuse: true,
  })),
  "unknown-channel-header": onMessage((spec, random) => ({
    spec: withHeaders(spec, [random.pick(["Channel-Keys", "channel-id", "Channel-", "Channel-Header", "Channel-Depth"]), "x"]),
    mustRefuse: true,
  })),
  "odd-header-name": onMessage((spec, random) => ({
    spec: withHeaders(spec, [`Channel-Header-${random.pick(["__proto__", "constructor", "prototype", "tostring"])}`, "kept%3F"]),
    mustRefuse: false,
  })),
  "repeated-header": onMessage((spec) => ({
    spec: withHeaders(spec, ["Channel-Header-twice", "a"], ["channel-header-Twice", "b"]),
    mustRefuse: false,
  })),
  "big-headers": onMessage((spec) => ({
    spec: withHeaders(spec, ["Channel-Header-big", "x".repeat(17 * 1024)]),
    mustRefuse: true,
  })),
  "bad-content-type": onMessage((spec, random) => ({
    spec: withHeaders(withoutHeader(spec, "content-type"), [
      "Content-Type",
      random.pick(["text", "/", "a/b/c", "text/plain\xff", `a/${"b".repeat(300)}`, "a/b, c/d", "é/x"]),
    ]),
    mustRefuse: true,
  })),
  "mislabelled-body": onMessage((spec, random) => ({
    spec: {
      ...withHeaders(withoutHeader(spec, "content-type"), ["Content-Type", random.pick(["application/json", "text/plain"])]),
      body: Buffer.from(random.pick(["ff", "c328", "5b5b", "00", "efbbbf7b7d", ""]), "hex"),
    },
    mustRefuse: false,
  })),
  "too-large": onMessage((spec) => ({
    spec: { ...spec, body: Buffer.alloc(1024 * 1024 + 1), framing: "length" },
    mustRefuse: true,
  })),
};

const BAD_CONDITIONS: readonly (readonly Header[])[] = [
  [["Producer-Id", "p1"]],
  [
    ["Producer-Id", "p1"],
    ["Producer-Epoch", "0"],
  ],
  ...["-1", "2147483649", "1e3", "0x1", "1.5", "a"].map((epoch) => numbered("p1", epoch, "1")),
  ...["0", "9007199254740992", "1e3", "+1", "1 2", "9".repeat(400)].map((seq) => numbered("p1", "0", seq)),
  ...["-p", "a b", "p".repeat(129), "\xff", "__proto__"].map((id) => numbered(id, "0", "1")),
  [...numbered("p1", "0", "1"), ["Idempotency-Key", "k1"]],
  ...['"open', "a b", '""', '"a"b', "k".repeat(257), "\xff", '"\\x"'].map((key): readonly Header[] => [["Idempotency-Key", key]]),
];

function numbered(id: string, epoch: string, seq: string): readonly Header[] {
  return [
    ["Producer-Id", id],
    ["Producer-Epoch", epoch],
    ["Producer-Seq", seq],
  ];
}

const CONDITION_MUTATORS: Readonly<Record<string, Mutator>> = {
  "bad-conditions": (spec, route, random) => {
    if (route.hasConditionHeaders !== true) return undefined;
    const names = ["producer-id", "producer-epoch", "producer-seq", "idempotency-key"];
    const plain = names.reduce((without, name) => withoutHeader(without, name), spec);
    return { spec: withHeaders(plain, ...random.pick(BAD_CONDITIONS)), mustRefuse: true, kind: "invalid-request" };
  },
  "bad-expected-offset": (spec, route, random) => {
    if (route.hasConditionHeaders !== true) return undefined;
    const query = spec.query.filter(([name]) => name !== "expectedOffset");
    const bad = random.pick(["0", "-1", "1.5", "", "abc", "281474976710657", "9".repeat(400)]);
    return { spec: { ...spec, query: [...query, ["expectedOffset", bad]] }, mustRefuse: true, kind: "invalid-request" };
  },
};

const BAD_TAGS = ["7", '"a"', '"-1"', '"1", "2"', '""', '*, "1"', 'w/"1"', `"${"9".repeat(16)}"`, "\xff", '"1', "x".repeat(5000)];

const CHECKPOINT_MUTATORS: Readonly<Record<string, Mutator>> = {
  "bad-tag": (spec, route, random) => {
    const isWrite = route.operationId === "writeCheckpoint";
    if (!isWrite && route.operationId !== "deleteCheckpoint") return undefined;
    const plain = withoutHeader(withoutHeader(spec, "if-match"), "if-none-match");
    const name = isWrite && random.chance(0.4) ? "If-None-Match" : "If-Match";
    return { spec: withHeaders(plain, [name, random.pick(BAD_TAGS)]), mustRefuse: true };
  },
  "two-conditions": onCheckpoint((spec) => ({
    spec: withHeaders(withoutHeader(withoutHeader(spec, "if-match"), "if-none-match"), ["If-Match", "*"], ["If-None-Match", "*"]),
    mustRefuse: true,
  })),
  "bad-value-type": onCheckpoint((spec, random) => ({
    spec: withHeaders(withoutHeader(spec, "content-type"), [
      "Content-Type",
      random.pick(["text", "/", "a/b, c/d", "text/plain\xff"]),
    ]),
    mustRefuse: true,
  })),
  "too-large-value": onCheckpoint((spec, random) => ({
    spec: { ...spec, body: Buffer.alloc(1024 * 1024 + 1), framing: random.chance(0.5) ? "length" : "chunked" },
    mustRefuse: true,
  })),
  "largest-value": onCheckpoint((spec) => ({
    spec: { ...spec, body: Buffer.alloc(1024 * 1024, 7), framing: "length" },
    mustRefuse: false,
  })),
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
