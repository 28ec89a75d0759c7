// Valid pulls, settle calls, and calls about dead letters and quarantine; and settle calls and pulls with one thing wrong.
import { LIMITS } from "../../../src/protocol/limits.ts";
import { randomKey, randomMessages, randomTake } from "./content.ts";
import type { CheckpointModel } from "./checkpoints.ts";
import type { ChannelModel } from "./model.ts";
import type { CheckpointRider, SettleEntryJson, SettleJson, SettleLists, Which } from "./delivery-forms.ts";
import type { DeliveryModel } from "./delivery-model.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** Long enough that no lease runs out while the test runs. */
const LEASE_MS_CHOICES = [600_000, LIMITS.leaseMsMax, 3_600_001];
const DELAY_MS_CHOICES = [0, 0, 3_600_000, LIMITS.retryDelayMsMax];
const REASONS = ["bad", "worse", "žluť\u0000", ""];
const VERBS = ["acks", "retries", "extends", "rejects", "releases"] as const;
const VERB_CHOICES = [
  "acks",
  "acks",
  "retries",
  "retries",
  "retries",
  "extends",
  "extends",
  "rejects",
  "releases",
  "releases",
] as const;

/** The members of a pull by lease; over HTTP it may take at once instead. */
export function randomLeasedPull(random: SeededRandom): Record<string, number | string> {
  const reader = random.chance(0.3) ? { reader: random.pick(["r", "worker-1.a", "R".repeat(LIMITS.readerNameCharsMax)]) } : {};
  return { ...randomTake(random), ...reader, leaseMs: random.pick(LEASE_MS_CHOICES) };
}

/** A settle call about leases that are live, and some that are over; now and then something rides on it. */
export function randomSettle(random: SeededRandom, model: ChannelModel): SettleJson {
  const riders = {
    ...(random.chance(0.3) && { checkpoint: randomRider(random, model.checkpoints) }),
    // What rides on a settle call enters at once.
    ...(random.chance(0.25) && {
      puts: randomMessages(random, 3).filter((form) => !("delayMs" in form || "deliverAtMs" in form)),
    }),
  };
  return { ...randomLists(random, model.delivery, Object.keys(riders).length > 0 ? 0.05 : 0.2), ...riders };
}

/** A checkpoint to write, alone or beside a settle call. */
export function randomRider(random: SeededRandom, checkpoints: CheckpointModel): CheckpointRider {
  const { names } = checkpoints;
  const name = names.length > 0 && random.chance(0.7) ? random.pick(names) : random.pick(["a", "rider"]);
  const version = checkpoints.versionOf(name);
  const condition = random.pick([{}, {}, { ifMatch: "*" }, { ifMatch: version ?? 3 }, { ifNoneMatch: "*" }] as const);
  return {
    name,
    ...condition,
    ...random.pick([{ json: { at: 1 } }, { text: "", contentType: "text/html" }, { base64: "AAE=" }]),
  };
}

function randomLists(random: SeededRandom, delivery: DeliveryModel, lostProbability: number): SettleLists {
  const live = delivery.leases.map(({ id }) => id);
  const { kept, ended } = delivery.lost;
  const ids = new Set<string>();
  const count = random.int(0, 8);
  for (let index = 0; index < count; index++) {
    const from = random.chance(lostProbability) ? kept : live.length === 0 || random.chance(0.02) ? ended : live;
    if (from.length > 0) ids.add(random.chance(0.3) ? (from[0] ?? "") : random.pick(from));
  }
  const verb = random.chance(0.6) ? random.pick(VERB_CHOICES) : undefined;
  const call: Record<string, SettleEntryJson[]> = {};
  for (const leaseId of ids) {
    const chosen = verb ?? random.pick(VERB_CHOICES);
    (call[chosen] ??= []).push({ leaseId, ...randomTerms(random, chosen) });
  }
  return call;
}

function randomTerms(random: SeededRandom, verb: (typeof VERBS)[number]): Omit<SettleEntryJson, "leaseId"> {
  if (verb === "extends") return { leaseMs: random.pick(LEASE_MS_CHOICES) };
  const reason = random.chance(0.5) ? { reason: random.pick(REASONS) } : {};
  if (verb === "rejects") return reason;
  return verb === "retries" ? { ...reason, ...(random.chance(0.7) && { delayMs: random.pick(DELAY_MS_CHOICES) }) } : {};
}

/** Which dead letters to put again or to drop. */
export function randomWhich(random: SeededRandom, delivery: DeliveryModel): Which & { olderThanMs?: number } {
  const offsets = [...delivery.deadLetters.keys()];
  return {
    ...(random.chance(0.3) && { offset: offsets.length > 0 ? random.pick(offsets) : random.int(1, 99) }),
    ...(random.chance(0.2) && { key: randomKey(random) }),
    ...(random.chance(0.2) && { reason: random.pick(["expired", "retried", "rejected", ...REASONS]) }),
    ...(random.chance(0.2) && { olderThanMs: 0 }),
    ...(random.chance(0.2) && { from: offsets.length > 0 ? random.pick(offsets) : random.int(1, 99) }),
    ...(random.chance(0.5) && { max: random.int(1, 5) }),
  };
}

/** Which quarantined messages: by offset or by key. */
export function randomQuarantined(
  random: SeededRandom,
  delivery: DeliveryModel,
  keyOf: (offset: number) => string | undefined,
): Which {
  const { quarantined } = delivery;
  const offset = quarantined.length > 0 && random.chance(0.9) ? random.pick(quarantined) : random.int(1, 2 ** 48);
  const key = keyOf(offset) ?? randomKey(random);
  return random.chance(0.3) ? { key } : { offset };
}

export interface DocumentMutation {
  readonly name: string;
  readonly document: object;
  readonly mustRefuse: boolean;
  readonly kind?: string;
}

type Change = Omit<DocumentMutation, "name">;
type SettleMutator = (call: SettleJson, random: SeededRandom, delivery: DeliveryModel) => Change | undefined;

const invalidLease = (document: object): Change => ({ document, mustRefuse: true, kind: "invalid-lease" });
const invalidRequest = (document: object): Change => ({ document, mustRefuse: true, kind: "invalid-request" });

/** Replaces the id of one entry. */
function replaceId(call: SettleJson, random: SeededRandom, change: (leaseId: string) => string | undefined): object | undefined {
  const verbs = VERBS.filter((one) => (call[one] ?? []).length > 0);
  if (verbs.length === 0) return undefined;
  const verb = random.pick(verbs);
  const list = call[verb] ?? [];
  const at = random.int(0, list.length - 1);
  const leaseId = change(list[at]?.leaseId ?? "");
  return leaseId === undefined ? undefined : { ...call, [verb]: list.with(at, { ...list[at], leaseId }) };
}

function onId(make: (document: object) => Change, change: (leaseId: string, random: SeededRandom) => string): SettleMutator {
  return (call, random) => {
    const document = replaceId(call, random, (leaseId) => change(leaseId, random));
    return document === undefined ? undefined : make(document);
  };
}

function withEntry(call: SettleJson, verb: keyof SettleLists, entry: object): object {
  return { ...call, [verb]: [...(call[verb] ?? []), entry] };
}

function idsOf(call: SettleJson): string[] {
  return VERBS.flatMap((verb) => (call[verb] ?? []).map(({ leaseId }) => leaseId));
}

function swapDigit(text: string, at: number): string {
  return text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1);
}

const SETTLE_MUTATORS: Readonly<Record<string, SettleMutator>> = {
  "truncated-lease": onId(invalidLease, (leaseId, random) => leaseId.slice(0, random.int(0, leaseId.length - 1))),
  "changed-seal": onId(invalidLease, (leaseId, random) => swapDigit(leaseId, leaseId.length - random.int(1, 16))),
  "changed-holder": onId(invalidLease, (leaseId, random) => swapDigit(leaseId, leaseId.length - random.int(18, 33))),
  "upper-case-lease": onId(
    (document) => ({ document, mustRefuse: false }),
    (leaseId) => leaseId.toUpperCase(),
  ),
  "longer-lease": onId(invalidLease, (leaseId) => `${leaseId}0`),
  "odd-lease": onId(
    (document) => ({ document, mustRefuse: true }),
    (leaseId, random) =>
      random.pick([
        "",
        "x".repeat(64),
        "x".repeat(65),
        `0${leaseId}`,
        `-${leaseId}`,
        ` ${leaseId}`,
        leaseId.replaceAll("-", "_"),
        "__proto__",
      ]),
  ),
  // These are not sealed: such a lease is over, or never was.
  "changed-offset": onId(
    (document) => ({ document, mustRefuse: false }),
    (leaseId, random) => leaseId.replace(/^0-\d+/, `0-${random.int(1, 999)}`),
  ),
  "changed-attempt": onId(
    (document) => ({ document, mustRefuse: false }),
    (leaseId) => leaseId.replace(/^(\d+-\d+)-(\d+)/, "$1-9$2"),
  ),
  "changed-group": onId(
    (document) => ({ document, mustRefuse: false }),
    (leaseId, random) => leaseId.replace(/^0/, String(random.int(1, 9999))),
  ),
  "foreign-lease": (call, random, { foreign }) => {
    if (foreign.length === 0) return undefined;
    const document = replaceId(call, random, () => random.pick(foreign));
    return document === undefined ? undefined : invalidLease(document);
  },
  "repeated-lease": (call, random) => {
    const ids = idsOf(call);
    if (ids.length === 0) return undefined;
    return invalidRequest(withEntry(call, random.pick(["acks", "releases", "rejects"]), { leaseId: random.pick(ids) }));
  },
  "bad-delay": (call, random) =>
    invalidRequest(
      withEntry(call, "retries", { leaseId: "0-1-1-0-0", delayMs: random.pick([-1, 0.5, LIMITS.retryDelayMsMax + 1, 1e300]) }),
    ),
  "bad-extension": (call, random) =>
    invalidRequest(
      withEntry(call, "extends", {
        leaseId: "0-1-1-0-0",
        leaseMs: random.pick([0, LIMITS.leaseMsMin - 1, LIMITS.leaseMsMax + 1, -1]),
      }),
    ),
  "no-extension": (call) => invalidRequest(withEntry(call, "extends", { leaseId: "0-1-1-0-0" })),
  "long-reason": (call) => invalidRequest(withEntry(call, "rejects", { leaseId: "0-1-1-0-0", reason: "é".repeat(513) })),
  "terms-of-others": (call, random) =>
    invalidRequest(withEntry(call, random.pick(["acks", "releases"]), { leaseId: "0-1-1-0-0", delayMs: 0 })),
  "bad-rider": (call, random) => {
    const checkpoint = random.pick([
      { name: "a" },
      { name: "-a", text: "" },
      { name: "a", text: "", json: 1 },
      { name: "a", text: "", ifMatch: 1, ifNoneMatch: "*" },
      { name: "a", text: "", ifMatch: 0 },
      { name: "a", text: "", ifMatch: '"1"' },
      { name: "a", text: "", ifNoneMatch: 1 },
      { name: "a", base64: "A" },
      { name: "a", text: "", contentType: "text" },
      { name: "a", text: "", delayMs: 0 },
      { name: "a", text: "", key: "k" },
      [],
    ]);
    return invalidRequest({ ...call, checkpoint });
  },
  "bad-puts": (call, random) => {
    const puts = random.pick<unknown>([
      { text: "" },
      [{}],
      [{ text: "" }, { text: "", delayMs: 0 }],
      [{ text: "", deliverAtMs: 1 }],
      [{ text: "", json: 1 }],
      [{ text: "", key: "" }],
      ["text"],
      null,
    ]);
    return invalidRequest({ ...call, puts });
  },
  "too-many-leases": (call) =>
    invalidRequest({
      ...call,
      acks: Array.from({ length: LIMITS.settleEntriesMax + 1 }, (_, index) => ({ leaseId: `${index}` })),
    }),
};

/** Ids that are nearly right come twice as often as calls that the schema refuses. */
const SETTLE_CHOICES = Object.entries(SETTLE_MUTATORS).flatMap((choice) =>
  choice[0].endsWith("-lease") || choice[0].startsWith("changed-") ? [choice, choice] : [choice],
);

/** One thing wrong in a settle call. */
export function mutateSettle(call: SettleJson, random: SeededRandom, delivery: DeliveryModel): DocumentMutation {
  const [leaseId] = delivery.issued.keys();
  // A call without any lease has nothing that could be nearly right.
  const filled = idsOf(call).length === 0 && leaseId !== undefined ? { ...call, acks: [{ leaseId }] } : call;
  for (;;) {
    const [name, mutate] = random.pick(SETTLE_CHOICES);
    const change = mutate(filled, random, delivery);
    if (change !== undefined) return { name, ...change };
  }
}

/** One thing wrong in a pull. */
export function mutatePull(pull: object, random: SeededRandom): DocumentMutation {
  const leaseMs = random.pick<unknown>([0, LIMITS.leaseMsMin - 1, LIMITS.leaseMsMax + 1, -1, 1000.5, "1000", null]);
  return random.pick<() => DocumentMutation>([
    () => ({ name: "bad-lease-time", ...invalidRequest({ ...pull, leaseMs }) }),
    () => ({ name: "bad-detached", ...invalidRequest({ ...pull, detached: random.pick([false, 1, "true", null]) }) }),
    () => ({ name: "bad-ack", ...invalidRequest({ ...pull, ack: random.pick(["manual", "", true, null]) }) }),
    () => ({ name: "ack-and-lease", ...invalidRequest({ ...pull, ack: "auto", leaseMs: LIMITS.leaseMsMin }) }),
  ])();
}
