// A valid frame of each type, and frames with one thing wrong.
import { randomBatch, randomConditions, randomMessage, randomTake } from "./content.ts";
import { mutateJson } from "./json-mutations.ts";
import { mutatePull, mutateSettle, randomLeasedPull, randomRider, randomSettle } from "./lease-requests.ts";
import type { ChannelModel } from "./model.ts";
import type { SeededRandom } from "./seeded-random.ts";

export type FrameDocument = Readonly<Record<string, unknown>> & { readonly type: string };

export interface FrameMutation {
  readonly name: string;
  readonly data: string | Buffer;
  readonly mustRefuse: boolean;
  /** The kind that the refusal has to have, where only one is right. */
  readonly kind?: string;
}

export interface FrameContext {
  readonly random: SeededRandom;
  readonly model: ChannelModel;
  /** An id that nothing waits with. */
  readonly freshId: number;
  /** Ids of requests that wait, or that were promised room. */
  readonly usedIds: readonly number[];
  /** Ids of subscriptions that are open. */
  readonly subscribedIds: readonly number[];
}

type Builder = (context: FrameContext) => FrameDocument;

function maybeWait(random: SeededRandom, probability: number): object {
  return random.chance(probability) ? { waitMs: random.pick([0, 1, 50, 300_000, Number.MAX_SAFE_INTEGER]) } : {};
}

function subscribedId({ random, freshId, subscribedIds }: FrameContext): number {
  return subscribedIds.length > 0 && random.chance(0.8) ? random.pick(subscribedIds) : freshId;
}

/** Most of the time one that is there. */
function checkpointName({ random, model }: FrameContext): string {
  const { names } = model.checkpoints;
  return names.length > 0 && random.chance(0.7) ? random.pick(names) : random.pick(["a", "none"]);
}

const BUILDERS: Readonly<Record<string, Builder>> = {
  hello: ({ random }) => ({ type: "hello", versions: random.pick([[1], [1, 2], [65_535, 1], [1, 1]]) }),
  put: ({ random, freshId, model }) => ({
    type: "put",
    id: freshId,
    ...randomMessage(random),
    ...randomConditions(random, model),
    ...maybeWait(random, 0.2),
  }),
  "put-batch": ({ random, freshId, model }) => {
    const conditions = randomConditions(random, model);
    const messages = randomBatch(random, conditions);
    return { type: "put-batch", id: freshId, messages, ...conditions, ...maybeWait(random, 0.2) };
  },
  reserve: ({ random, freshId }) => ({
    type: "reserve",
    id: freshId,
    messages: random.int(1, 30),
    bytes: random.int(0, 20_000),
    ...maybeWait(random, 0.5),
  }),
  get: ({ random, freshId }) => ({ type: "get", id: freshId, ...randomTake(random), ...maybeWait(random, 0.3) }),
  pull: ({ random, freshId }) => ({
    type: "pull",
    id: freshId,
    ...randomLeasedPull(random),
    ...maybeWait(random, 0.2),
    ...(random.chance(0.5) && { detached: true }),
  }),
  settle: ({ random, freshId, model }) => ({ type: "settle", id: freshId, ...randomSettle(random, model) }),
  cancel: ({ random, freshId, usedIds }) => ({
    type: "cancel",
    id: usedIds.length > 0 && random.chance(0.8) ? random.pick(usedIds) : freshId,
  }),
  stats: ({ freshId }) => ({ type: "stats", id: freshId }),
  // Taps without credit for messages: one change makes a member of it, which would take what the model knows nothing of.
  subscribe: ({ random, freshId }) => ({
    type: "subscribe",
    id: freshId,
    tap: true,
    credit: { messages: 0 },
    ...(random.chance(0.4) && { filter: random.pick<object>([{}, { keys: ["a", "b"] }, { headers: { trace: "1" } }]) }),
  }),
  credit: (context) => ({ type: "credit", id: subscribedId(context), messages: 0 }),
  "read-checkpoint": (context) => ({ type: "read-checkpoint", id: context.freshId, name: checkpointName(context) }),
  "write-checkpoint": ({ random, freshId, model }) => ({
    type: "write-checkpoint",
    id: freshId,
    ...randomRider(random, model.checkpoints),
  }),
  "delete-checkpoint": (context) => {
    const { random, freshId, model } = context;
    const name = checkpointName(context);
    const version = model.checkpoints.versionOf(name) ?? random.int(1, 9);
    const ifMatch = random.pick<object>([{}, { ifMatch: "*" }, { ifMatch: version }, { ifMatch: version + 1 }]);
    return { type: "delete-checkpoint", id: freshId, name, ...ifMatch };
  },
  "list-checkpoints": ({ random, freshId }) => ({
    type: "list-checkpoints",
    id: freshId,
    ...(random.chance(0.4) && { limit: random.pick([1, 2, 1000]) }),
    ...(random.chance(0.4) && { prefix: random.pick(["a", "a.", "zz"]) }),
    ...(random.chance(0.4) && { after: random.pick(["a", "B"]) }),
  }),
  echo: ({ random }) => ({ type: "echo", echo: random.int(0, 2 ** 32 - 1) }),
  watch: ({ freshId }) => ({ type: "watch", id: freshId }),
  presence: ({ freshId }) => ({ type: "presence", id: freshId }),
  unsubscribe: (context) => ({ type: "unsubscribe", id: subscribedId(context) }),
};

/** Types that a valid frame is known for. */
export const BUILT_FRAMES: ReadonlySet<string> = new Set(Object.keys(BUILDERS));

export function buildFrame(type: string, context: FrameContext): FrameDocument {
  const build = BUILDERS[type];
  if (build === undefined) throw new Error(`Cannot build a frame of type ${type}: add one to frames.ts`);
  return build(context);
}

const BAD_CONDITIONS: readonly object[] = [
  { producer: { id: "p1", epoch: 0, seq: 1 }, idempotencyKey: "k1" },
  { producer: { id: "p1", epoch: 0, seq: 0 } },
  { producer: { id: "p1", epoch: 2 ** 31 + 1, seq: 1 } },
  { producer: { id: "-p1", epoch: 0, seq: 1 } },
  { producer: { id: "p".repeat(129), epoch: 0, seq: 1 } },
  { producer: { id: "p1", epoch: 0 } },
  { producer: "p1" },
  { idempotencyKey: "" },
  { idempotencyKey: "é".repeat(129) },
  { idempotencyKey: "\ud800" },
  { expectedOffset: 0 },
  { expectedOffset: 2 ** 48 + 1 },
];

type Mutator = (frame: FrameDocument, context: FrameContext) => Omit<FrameMutation, "name"> | undefined;

function text(document: object): string {
  return JSON.stringify(document);
}

const MUTATORS: Readonly<Record<string, Mutator>> = {
  binary: (frame) => ({ data: Buffer.from(text(frame)), mustRefuse: true, kind: "invalid-request" }),
  "binary-garbage": (_frame, { random }) => ({
    data: Buffer.from(random.pick(["", "00", "ff".repeat(1000), "7b7d"]), "hex"),
    mustRefuse: true,
    kind: "invalid-request",
  }),
  "empty-frame": () => ({ data: "", mustRefuse: true, kind: "invalid-request" }),
  "unknown-type": (frame, { random }) => {
    const type = random.pick([
      "PUT",
      "put ",
      "welcome",
      "got",
      "put-ok",
      "__proto__",
      "constructor",
      "toString",
      "x".repeat(5000),
      "\ud83e",
    ]);
    return { data: text({ ...frame, type }), mustRefuse: true, kind: "unknown-frame" };
  },
  "unsafe-id": (frame, { random }) => {
    if (!("id" in frame)) return undefined;
    const id = random.pick<unknown>([2 ** 53, -1, 0.5, "1", null, [1], { id: 1 }, 1e308]);
    return { data: text({ ...frame, id }), mustRefuse: true, kind: "invalid-request" };
  },
  "largest-id": (frame) =>
    "id" in frame ? { data: text({ ...frame, id: Number.MAX_SAFE_INTEGER }), mustRefuse: false } : undefined,
  "negative-zero-id": (frame) =>
    "id" in frame ? { data: text(frame).replace(/"id":\d+/, '"id":-0'), mustRefuse: false } : undefined,
  "used-id": (frame, { random, usedIds }) => {
    if (usedIds.length === 0 || !["put", "put-batch", "get", "pull", "reserve"].includes(frame.type)) return undefined;
    return { data: text({ ...frame, id: random.pick(usedIds) }), mustRefuse: false };
  },
  "never-fits": (frame, { model }) => {
    const { description } = model;
    if (frame.type !== "put-batch" || description === undefined || model.state !== "open") return undefined;
    const most = Math.max(description.limits.maxMessages, description.settings.growth?.maxMessages ?? 0);
    if (most >= 10_000) return undefined;
    const messages = Array.from({ length: most + 1 }, () => ({ text: "" }));
    // Without its conditions, which are looked at first.
    return {
      data: text({ type: frame.type, id: frame["id"], waitMs: 1000, messages }),
      mustRefuse: true,
      kind: "batch-too-large",
    };
  },
  "too-large-message": (frame) => {
    if (frame.type !== "put") return undefined;
    return { data: text({ type: "put", id: frame["id"], text: "x".repeat(1024 * 1024 + 1) }), mustRefuse: true };
  },
  "min-above-max": (frame) =>
    frame.type === "get" || frame.type === "pull" ? { data: text({ ...frame, min: 5, max: 4 }), mustRefuse: true } : undefined,
  "bad-conditions": (frame, { random }) => {
    if (frame.type !== "put" && frame.type !== "put-batch") return undefined;
    const plain = { ...frame, producer: undefined, idempotencyKey: undefined };
    return { data: text({ ...plain, ...random.pick(BAD_CONDITIONS) }), mustRefuse: true, kind: "invalid-request" };
  },
  "server-frame": (_frame, { freshId, random }) => ({
    data: text(
      random.pick([
        { type: "got", id: freshId, messages: [] },
        { type: "problem", problem: {} },
        { type: "room", id: freshId, reservedMs: 1 },
      ]),
    ),
    mustRefuse: true,
    kind: "unknown-frame",
  }),
};

function mutateLeases(frame: FrameDocument, { random, model }: FrameContext): FrameMutation | undefined {
  if (frame.type !== "pull" && frame.type !== "settle") return undefined;
  const { type, id, ...members } = frame;
  const mutated = frame.type === "pull" ? mutatePull(members, random) : mutateSettle(members, random, model.delivery);
  const { document, ...rest } = mutated;
  return { ...rest, data: text({ type, id, ...document }) };
}

/** One change to a valid frame. */
export function mutateFrame(frame: FrameDocument, context: FrameContext): FrameMutation {
  const { random } = context;
  const leased = random.chance(0.6) ? mutateLeases(frame, context) : undefined;
  if (leased !== undefined) return leased;
  if (random.chance(0.6)) {
    const { name, bytes, mustRefuse } = mutateJson(frame, random);
    return { name, data: String(bytes), mustRefuse };
  }
  for (;;) {
    const [name, mutate] = random.pick(Object.entries(MUTATORS));
    const change = mutate(frame, context);
    if (change !== undefined) return { name, ...change };
  }
}
