// Valid messages, settings and numbers, as varied as the protocol allows.
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { Conditions, DedupModel } from "./dedup-model.ts";
import type { SeededRandom } from "./seeded-random.ts";

const DELAY_MS_MIN = 60 * 60 * 1000;
const TEXTS = [
  "",
  "a",
  "žluťoučký kůň",
  "🦄🧵",
  "line\nbreak",
  "tab\t",
  "quote\"'\\",
  "\u0000\u0001",
  "</script>",
  "%41%",
  "NaN",
  "\ufeffbom",
  "\u2028",
];
const JSON_VALUES: readonly unknown[] = [
  null,
  0,
  -1.5e-7,
  true,
  "text",
  [],
  {},
  [[[]]],
  { a: { b: [1, null] } },
  2 ** 64,
  { constructor: 1 },
];
const CONTENT_TYPES = [
  "text/plain",
  "application/json; charset=utf-8",
  "image/png",
  "application/vnd.x+json",
  "a/b;c=d",
  "text/html",
];
const HEADER_NAMES = ["x", "trace-id", "a.b", "!#$&'*+.^_|~-", "content-length", "set-cookie", "host", "0"];

export function randomText(random: SeededRandom, charsMax = 40): string {
  let text = random.pick(TEXTS);
  while (text.length < random.int(0, charsMax)) text += random.pick(TEXTS) + String.fromCodePoint(random.int(32, 126));
  return text;
}

export function randomName(random: SeededRandom): string {
  return randomText(random, 12) + random.pick(["k", "é", "/", "?", "#", "..", "%"]);
}

/** Few keys come often, so that messages have to wait for earlier ones of their keys. */
export function randomKey(random: SeededRandom): string {
  return random.chance(0.8) ? random.pick(["k1", "k2"]) : randomName(random);
}

/** A message in JSON form. Small ids repeat, so that some of them are there twice. */
export function randomMessage(random: SeededRandom): Record<string, unknown> {
  const kind = random.pick(["json", "text", "base64"]);
  const body =
    kind === "json"
      ? random.pick(JSON_VALUES)
      : kind === "text"
        ? randomText(random, 300)
        : Buffer.from(randomText(random, 200)).toString("base64");
  return {
    ...(random.chance(0.5) && { key: randomKey(random) }),
    ...(random.chance(0.5) && { messageId: randomMessageId(random) }),
    ...(random.chance(0.3) && { contentType: random.pick(CONTENT_TYPES) }),
    ...(random.chance(0.3) && { headers: randomHeaders(random) }),
    ...(random.chance(0.1) && randomDelay(random)),
    ...(random.chance(0.1) && { ttlMs: randomTtlMs(random) }),
    [kind]: body,
  };
}

/** Ends long after the test. */
export function randomTtlMs(random: SeededRandom): number {
  return random.int(DELAY_MS_MIN, LIMITS.ttlMsMax);
}

/** Enters at once, or long after the test. */
export function randomDelay(random: SeededRandom): { delayMs: number } | { deliverAtMs: number } {
  const delayMs = random.pick([0, DELAY_MS_MIN, DELAY_MS_MIN, LIMITS.delayMsMax - DELAY_MS_MIN]);
  return random.chance(0.5) ? { delayMs } : { deliverAtMs: delayMs === 0 ? 0 : Date.now() + delayMs };
}

export function randomMessageId(random: SeededRandom): string {
  // Never `.` or `..` alone: those are no ids.
  return random.chance(0.7) ? `id-${random.int(1, 20)}` : `m${randomName(random)}`;
}

export function randomHeaders(random: SeededRandom): Record<string, string> {
  const names = Array.from({ length: random.int(0, 3) }, () => random.pick(HEADER_NAMES));
  return Object.fromEntries(names.map((name) => [name, randomText(random, 20)]));
}

export function randomMessages(random: SeededRandom, countMax: number): Record<string, unknown>[] {
  return Array.from({ length: random.int(0, countMax) }, () => randomMessage(random));
}

/** Settings that hold for themselves, never empty. Limits are small, so that channels are full now and then. */
export function randomSettings(random: SeededRandom): Record<string, unknown> {
  const maxMessages = random.int(20, 80);
  const maxBytes = random.int(20_000, 200_000);
  const growth = random.chance(0.5) ? null : { factor: random.pick([1.25, 2, 16]), maxMessages: 200, maxBytes: 400_000 };
  return {
    maxMessages,
    ...(random.chance(0.5) && { maxBytes }),
    ...(random.chance(0.3) && { maxMessageBytes: random.int(1000, 100_000) }),
    ...(random.chance(0.5) && { growth }),
    ...(random.chance(0.3) && { expireAfterIdleMs: random.pick([null, 60_000, 86_400_000]) }),
    ...(random.chance(0.9) && { delivery: randomDelivery(random) }),
    ...(random.chance(0.2) && { idempotencyWindowMs: random.pick([3_600_000, 604_800_000]) }),
  };
}

function randomDelivery(random: SeededRandom): Record<string, unknown> {
  return {
    maxAttempts: random.pick([-1, 0, 1, 1, 2, 3, 10]),
    ...(random.chance(0.5) && { retryDelaysMs: random.pick([null, [0], [0, 3_600_000]]) }),
    onExhausted: random.pick(["dead-letter", "quarantine"]),
    ...(random.chance(0.4) && { maxInFlight: random.pick([3, 30, 10_000]) }),
  };
}

const PRODUCERS = ["p1", "p2", "a~b"];

/** A way to put once, from so few numbers and keys that some repeat: as the members of a frame. */
export function randomConditions(
  random: SeededRandom,
  { dedup, nextOffset }: { readonly dedup: DedupModel; readonly nextOffset: number },
): Conditions {
  const way = random.int(0, 9);
  const epoch = random.pick([0, 0, 0, 1, 2 ** 31]);
  const known = random.chance(0.7) ? dedup.suggest(random) : undefined;
  return {
    ...(way < 3 && { producer: known ?? { id: random.pick(PRODUCERS), epoch, seq: random.pick([1, 1, 1, 2, 2, 3, 4]) } }),
    ...(way === 3 && { idempotencyKey: random.pick(["k1", "k2", '"', "é"]) }),
    ...(random.chance(0.1) && { expectedOffset: random.chance(0.7) ? nextOffset : random.int(1, 2 ** 48) }),
  };
}

/** The messages of a batch; with a number or a key most of the time those that every put with it has. */
export function randomBatch(random: SeededRandom, { producer, idempotencyKey }: Conditions): Record<string, unknown>[] {
  const way = producer === undefined ? idempotencyKey : `${producer.id} ${producer.epoch} ${producer.seq}`;
  if (way === undefined || random.chance(0.3)) return randomMessages(random, 8);
  return [{ text: way }, { json: way, key: "k1", ...(way === "k2" && { delayMs: DELAY_MS_MIN }) }];
}

export function randomTake(random: SeededRandom): Record<string, number> {
  const max = random.int(0, 12);
  return {
    ...(random.chance(0.8) && { max }),
    ...(random.chance(0.4) && { min: random.int(0, Math.min(max, 1)) }),
  };
}
