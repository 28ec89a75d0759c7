// Makes one thing wrong in a JSON document. `mustRefuse`: whatever the schema of the document, the server has to refuse it.
import type { SeededRandom } from "./seeded-random.ts";

export interface JsonMutation {
  readonly name: string;
  /** UTF-8, or what is meant to be taken for it. */
  readonly bytes: Buffer;
  readonly mustRefuse: boolean;
}

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type JsonObject = { [name: string]: Json };
type Key = string | number;

interface Place {
  readonly path: readonly Key[];
  readonly value: Json;
}

const REQUIRED = new Set(["type", "id", "versions", "messages", "bytes", "factor", "json", "text", "base64", "leaseId"]);

/** Below these names nothing is prescribed, or the names are the user's. */
function isFree(path: readonly Key[]): boolean {
  return path.includes("json");
}

function placesOf(value: Json, path: readonly Key[] = []): Place[] {
  const inside: [Key, Json][] = Array.isArray(value) ? [...value.entries()] : isObject(value) ? Object.entries(value) : [];
  // A few items of a list stand for all of them.
  const shown = inside.slice(0, 12);
  return [{ path, value }, ...(path.at(-1) === "json" ? [] : shown.flatMap(([key, item]) => placesOf(item, [...path, key])))];
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A copy of `root` with the value at `path` replaced; `undefined` takes it away. */
function replaced(root: Json, path: readonly Key[], value: Json | undefined): Json {
  const [key, ...rest] = path;
  if (key === undefined) return value ?? null;
  if (Array.isArray(root)) {
    const copy = [...root];
    if (rest.length === 0 && value === undefined) copy.splice(Number(key), 1);
    else copy[Number(key)] = replaced(root[Number(key)] ?? null, rest, value);
    return copy;
  }
  const object = root as JsonObject;
  if (rest.length > 0 || value !== undefined) return { ...object, [key]: replaced(object[key] ?? null, rest, value) };
  return Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));
}

interface TreeChange {
  readonly value: Json | undefined;
  readonly mustRefuse: boolean;
}

type TreeMutator = (place: Place, random: SeededRandom) => TreeChange | undefined;

const refuse = (value: Json | undefined): TreeChange => ({ value, mustRefuse: true });
const maybe = (value: Json | undefined): TreeChange => ({ value, mustRefuse: false });

function onNumber(change: (value: number, place: Place) => TreeChange | undefined): TreeMutator {
  return (place) => (typeof place.value === "number" ? change(place.value, place) : undefined);
}

function onText(change: (value: string, place: Place, random: SeededRandom) => TreeChange | undefined): TreeMutator {
  return (place, random) => (typeof place.value === "string" ? change(place.value, place, random) : undefined);
}

function onObject(change: (value: JsonObject, place: Place, random: SeededRandom) => TreeChange | undefined): TreeMutator {
  return (place, random) =>
    isObject(place.value) && place.path.at(-1) !== "headers" ? change(place.value, place, random) : undefined;
}

function nest(depth: number): Json {
  let value: Json = [];
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

function insertAt(text: string, inserted: string, random: SeededRandom): string {
  const at = random.int(0, text.length);
  return text.slice(0, at) + inserted + text.slice(at);
}

const nameIs = (place: Place, ...names: Key[]): boolean => names.includes(place.path.at(-1) ?? "");
const isBody = (value: JsonObject): boolean => "json" in value || "text" in value || "base64" in value;

const TREE_MUTATORS: Readonly<Record<string, TreeMutator>> = {
  "wrong-type": ({ value }, random) => {
    if (typeof value === "number") return refuse(random.pick<Json>([String(value), true, [value]]));
    if (typeof value === "string") return refuse(random.pick<Json>([12, true, { text: value }]));
    if (Array.isArray(value)) return refuse(random.pick<Json>([{ 0: value[0] ?? null }, 0, "[]"]));
    return isObject(value) ? refuse(random.pick<Json>([[value], [], ["a"], 7, JSON.stringify(value)])) : undefined;
  },
  "wrong-nesting": ({ value }) => (value === null ? undefined : refuse({ value })),
  negative: onNumber((value, place) => (nameIs(place, "maxAttempts") ? maybe(-1 - value) : refuse(-1 - value))),
  "non-numeric": onNumber((value) => refuse(`${value}abc`)),
  fraction: onNumber((value, place) => (nameIs(place, "factor") ? maybe(value + 0.5) : refuse(value + 0.5))),
  huge: (place, random) =>
    typeof place.value === "number" ? refuse(random.pick([1e300, Number.MAX_VALUE, 2 ** 63])) : undefined,
  "nan-like": onNumber(() => refuse("NaN")),
  infinite: onNumber(() => refuse("Infinity")),
  null: (place) =>
    nameIs(place, "growth", "expireAfterIdleMs", "retryDelaysMs") || place.value === null ? maybe(null) : refuse(null),
  missing: (place) => {
    const key = place.path.at(-1);
    if (key === undefined) return undefined;
    return REQUIRED.has(String(key)) && place.path.length < 4 ? refuse(undefined) : maybe(undefined);
  },
  "extra-member": onObject((value, _place, random) =>
    refuse({ ...value, [random.pick(["extra", "Id", "max ", "constructor", "toString", "hasOwnProperty"])]: 1 }),
  ),
  "extra-proto": onObject((value) => {
    const entries: [string, Json][] = [...Object.entries(value), ["__proto__", { id: 1 }]];
    return refuse(Object.fromEntries(entries));
  }),
  "lone-surrogate": onText((value, _place, random) => refuse(insertAt(value, random.pick(["\ud800", "\udc00"]), random))),
  "control-characters": onText((value, _place, random) =>
    maybe(insertAt(value, random.pick(["\u0000", "\u001b[2J", "\r\n", "\u2028"]), random)),
  ),
  "content-type-line-break": onText((value, place, random) =>
    nameIs(place, "contentType")
      ? refuse(`${value.split(";", 1)[0]}${random.pick(["\r\n", "\n", "\u2028", "\v", "\u3000"])};x=y`)
      : undefined,
  ),
  "long-name": onText((_value, place) =>
    nameIs(place, "key", "messageId", "contentType") ? refuse(`a/${"b".repeat(300)}`) : undefined,
  ),
  "empty-name": onText((_value, place) => (nameIs(place, "key", "messageId", "contentType", "type") ? refuse("") : undefined)),
  "bad-base64": (place, random) =>
    nameIs(place, "base64") ? refuse(random.pick(["Y", "YQ", "YQ=", "YQ==\n", "Y-_=", "====", "YQ==YQ==", "é"])) : undefined,
  "two-bodies": onObject((value) => {
    if (!isBody(value)) return undefined;
    return refuse("text" in value ? { ...value, json: null } : { ...value, text: "" });
  }),
  "two-delays": onObject((value) => (isBody(value) ? refuse({ ...value, delayMs: 0, deliverAtMs: 0 }) : undefined)),
  "far-delay": onObject((value, _place, random) => {
    if (!isBody(value)) return undefined;
    // A put that was accepted before is answered as it was, whatever its times say now.
    if (random.chance(0.3)) return maybe({ ...value, deliverAtMs: 2 ** 52 });
    return refuse({ ...value, ...random.pick([{ delayMs: 2_592_000_001 }, { delayMs: 0, deliverAtMs: 2 ** 52 }]) });
  }),
  "bad-ttl": onObject((value, _place, random) =>
    isBody(value) ? refuse({ ...value, ttlMs: random.pick([0, -1, 1.5, "1", null, 315_360_000_001]) }) : undefined,
  ),
  "no-body": onObject((value) => (isBody(value) ? refuse(withoutBody(value)) : undefined)),
  "text-is-number": (place) => (nameIs(place, "text") ? refuse(5) : undefined),
  "bad-header-name": (place, random) =>
    nameIs(place, "headers")
      ? refuse({ [random.pick(["", "Upper", "a b", "a:b", "a\r\nb", "é", "a".repeat(65), "%41"])]: "x" })
      : undefined,
  "odd-header-name": (place, random) =>
    nameIs(place, "headers")
      ? maybe(Object.fromEntries([[random.pick(["__proto__", "constructor", "prototype"]), "kept?"]]))
      : undefined,
  "big-headers": (place) => (nameIs(place, "headers") ? refuse({ a: "x".repeat(17 * 1024) }) : undefined),
  "deep-nesting": (place, random) => (place.value === null ? undefined : refuse(nest(random.pick([50, 1000, 3000])))),
  "huge-array": (place) => {
    if (nameIs(place, "versions")) return refuse(Array.from({ length: 5000 }, () => 1));
    return nameIs(place, "messages") && Array.isArray(place.value)
      ? refuse(Array.from({ length: 10_001 }, () => ({ text: "" })))
      : undefined;
  },
};

function withoutBody(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !["json", "text", "base64"].includes(name)));
}

type TextMutator = (text: string, random: SeededRandom) => { text: string | Buffer; mustRefuse: boolean };

const TEXT_MUTATORS: Readonly<Record<string, TextMutator>> = {
  "truncated-json": (text, random) => ({ text: text.slice(0, random.int(1, text.length - 1)), mustRefuse: true }),
  "trailing-garbage": (text, random) => ({ text: text + random.pick(["}", ",", "x", "\u0000", text]), mustRefuse: true }),
  "nan-literal": (text, random) => ({
    text: `${text.slice(0, -1)},"waitMs":${random.pick(["NaN", "Infinity", "-", "0x10", "01", "1e", "+1"])}}`,
    mustRefuse: true,
  }),
  "byte-order-mark": (text) => ({ text: `\ufeff${text}`, mustRefuse: true }),
  "not-an-object": (_text, random) => ({
    text: random.pick(["null", "[]", '"text"', "123", "true", "[{}]", " "]),
    mustRefuse: true,
  }),
  "comment-in-json": (text) => ({ text: `/**/${text}`, mustRefuse: true }),
  "single-quotes": (text) => ({ text: text.replaceAll('"', "'"), mustRefuse: true }),
  "raw-line-break": (text) => ({ text: text.replace('"', '"\n'), mustRefuse: true }),
  "deep-prefix": (text, random) => ({
    text: random.pick(["[", '{"a":']).repeat(random.pick([100, 100_000])) + text,
    mustRefuse: true,
  }),
  // The last one counts, so the document means what it meant before.
  "repeated-member": (text, random) => ({
    text: `{"${random.pick(["type", "id", "max", "messages"])}":0,${text.slice(1)}`,
    mustRefuse: false,
  }),
};

/** One change to `document`, which is an object. */
export function mutateJson(document: object, random: SeededRandom): JsonMutation {
  if (random.chance(0.25)) {
    const name = random.pick(Object.keys(TEXT_MUTATORS));
    const { text, mustRefuse } = TEXT_MUTATORS[name]?.(JSON.stringify(document), random) ?? { text: "", mustRefuse: true };
    // A member that was not there before is one more, and an empty object has no place to cut.
    const isSame = (name === "repeated-member" && !text.includes(",")) || text === JSON.stringify(document);
    if (isSame) return mutateJson(document, random);
    return { name, bytes: Buffer.from(text), mustRefuse };
  }
  return mutateTree(document as Json, random);
}

function mutateTree(root: Json, random: SeededRandom): JsonMutation {
  const places = placesOf(root);
  for (;;) {
    const name = random.pick(Object.keys(TREE_MUTATORS));
    const candidates = places.filter((place) => TREE_MUTATORS[name]?.(place, random) !== undefined);
    if (candidates.length === 0) continue;
    const place = random.pick(candidates);
    const change = TREE_MUTATORS[name]?.(place, random);
    if (change === undefined) continue;
    const mutated = replaced(root, place.path, change.value);
    const bytes = Buffer.from(JSON.stringify(mutated));
    return { name, bytes, mustRefuse: change.mustRefuse && !isFree(place.path) };
  }
}
