// One thing wrong in a put or a checkpoint: in its body, its headers or its conditions.
import type { RequestSpec } from "./request.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { type Change, type Mutator, type Header, withHeaders, withoutHeader } from "./mutator.ts";

function onMessage(change: (spec: RequestSpec, random: SeededRandom) => Change): Mutator {
  return (spec, route, random) => (route.isMessageBody === true ? change(spec, random) : undefined);
}

function onCheckpoint(change: (spec: RequestSpec, random: SeededRandom) => Change): Mutator {
  return (spec, route, random) => (route.isValueBody === true ? change(spec, random) : undefined);
}

export const MESSAGE_MUTATORS: Readonly<Record<string, Mutator>> = {
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

export const CONDITION_MUTATORS: Readonly<Record<string, Mutator>> = {
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

export const CHECKPOINT_MUTATORS: Readonly<Record<string, Mutator>> = {
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
