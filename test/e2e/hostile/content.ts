// Valid messages, settings and numbers, as varied as the protocol allows.
import type { SeededRandom } from "./seeded-random.ts";

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
    [kind]: body,
  };
}

export function randomMessageId(random: SeededRandom): string {
  return random.chance(0.7) ? `id-${random.int(1, 20)}` : randomName(random);
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

export function randomTake(random: SeededRandom): Record<string, number> {
  const max = random.int(0, 12);
  return {
    ...(random.chance(0.8) && { max }),
    ...(random.chance(0.4) && { min: random.int(0, Math.min(max, 1)) }),
  };
}
