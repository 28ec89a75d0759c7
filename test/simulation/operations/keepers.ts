// Whoever keeps the channel: creates, resizes, drains, closes, deletes, purges, removes, and looks after what died or is quarantined.
import type { DeadLetterFilter } from "../../../src/channel/dead-letters.ts";
import type { GivenSettings } from "../../../src/protocol/settings.ts";
import type { Random } from "../random.ts";
import { type ActorOperation, drawGroup, drawOffset, GROUPS } from "./operation.ts";
import { KEYS, MESSAGE_IDS } from "./producers.ts";

export function drawDelivery(random: Random): NonNullable<GivenSettings["delivery"]> {
  return {
    maxAttempts: random.oneOf(-1, 0, 1, 2, 2, 3, 3),
    retryDelaysMs: random.oneOf<readonly number[] | null>(null, null, [0], [1_000, 0, 5_000]) as number[] | null,
    onExhausted: random.oneOf("dead-letter", "dead-letter", "quarantine"),
    maxInFlight: random.oneOf(2, 5, 20, 20),
  };
}

function drawLimits(random: Random): GivenSettings {
  return { maxMessages: random.oneOf(2, 6, 12, 18, 18), maxBytes: random.oneOf(200, 900, 3_000, 3_000) };
}

function drawTtl(random: Random): GivenSettings {
  return {
    messageTtlMs: random.chance(25) ? random.oneOf(1_000, 5_000, 60_000) : null,
    onExpired: random.oneOf("drop", "dead-letter"),
  };
}

function drawMarks(random: Random): GivenSettings {
  if (random.chance(60)) return {};
  const low = random.oneOf(null, 0, 3);
  return { marks: { highMessages: random.oneOf(null, 4, 6, 50), lowMessages: low, highBytes: random.oneOf(null, 100, 600) } };
}

function drawSettings(random: Random): GivenSettings {
  return {
    ...drawLimits(random),
    maxMessageBytes: random.oneOf(150, 300, 5_000),
    growth: random.chance(25) ? { factor: random.oneOf(1.1, 2), maxMessages: random.between(15, 24), maxBytes: 4_000 } : null,
    ...drawMarks(random),
    expireAfterIdleMs: random.chance(20) ? 60_000 : null,
    ...drawTtl(random),
    delivery: drawDelivery(random),
  };
}

/** The settings of a channel that begins. */
function drawLife(random: Random): GivenSettings {
  const idempotencyWindowMs = random.oneOf(60_000, 90_000, 600_000);
  const settings = { ...drawSettings(random), idempotencyWindowMs, whenNoGroups: random.oneOf("refuse", "drop") } as const;
  const retention = random.oneOf("queue", "interest", "log");
  if (retention !== "log") return { ...settings, retention };
  return { ...settings, retention, growth: null, maxAgeMs: random.oneOf(null, null, 5_000, 60_000) };
}

function drawFilter(random: Random): DeadLetterFilter {
  return random.oneOf<DeadLetterFilter>(
    {},
    {},
    {},
    { key: random.pick(KEYS) },
    { reason: random.oneOf("expired", "ttl") },
    { olderThanMs: 5_000 },
    { group: random.pick(GROUPS) },
  );
}

const LIFE: readonly ActorOperation[] = [
  {
    name: "create",
    weight: 16,
    run: (world, random) => {
      world.perform({ type: "create", settings: drawLife(random) });
    },
  },
  {
    name: "recover",
    weight: 60,
    run: (world, random) => {
      const { record } = world.model.state;
      // Without a channel that works most of what follows would only be refused.
      if (record === undefined || record.state === "deleted") {
        world.perform({ type: "create", settings: drawLife(random) });
      } else if (record.state !== "open" && random.chance(60)) world.perform({ type: "patch", patch: { state: "open" } });
    },
  },
  {
    name: "confirm",
    weight: 3,
    run: (world) => {
      const settings = structuredClone(world.model.state.record?.settings ?? {}) as GivenSettings;
      world.perform({ type: "create", settings });
    },
  },
  {
    name: "resize",
    weight: 10,
    run: (world, random) => {
      world.perform({ type: "patch", patch: drawLimits(random) });
    },
  },
  {
    name: "change settings",
    weight: 8,
    run: (world, random) => {
      const patch = random.oneOf<GivenSettings>(
        { delivery: drawDelivery(random) },
        drawSettings(random),
        drawTtl(random),
        { maxAgeMs: random.oneOf(null, 5_000), whenNoGroups: random.oneOf("refuse", "drop") },
        { retention: random.oneOf("queue", "interest", "log") },
      );
      world.perform({ type: "patch", patch });
    },
  },
  {
    name: "drain",
    weight: 5,
    run: (world) => {
      world.perform({ type: "patch", patch: { state: "draining" } });
    },
  },
  {
    name: "close",
    weight: 3,
    run: (world) => {
      world.perform({ type: "patch", patch: { state: "closed" } });
    },
  },
  {
    name: "open",
    weight: 18,
    run: (world) => {
      world.perform({ type: "patch", patch: { state: "open" } });
    },
  },
  {
    name: "delete",
    weight: 3,
    run: (world) => {
      world.perform({ type: "delete", graceMs: 0 });
    },
  },
  {
    name: "delete with grace",
    weight: 3,
    run: (world, random) => {
      world.perform({ type: "delete", graceMs: random.oneOf(1_000, 20_000) });
    },
  },
  {
    name: "forbid or allow creation by use",
    weight: 3,
    run: (world) => {
      world.mayCreate = !world.mayCreate;
      world.record(() => `  creation by use: ${world.mayCreate}`);
    },
  },
];

const MESSAGES: readonly ActorOperation[] = [
  {
    name: "purge",
    weight: 3,
    run: (world) => {
      world.perform({ type: "purge" });
    },
  },
  {
    name: "remove",
    weight: 18,
    run: (world, random) => {
      world.perform({ type: "remove", offset: drawOffset(world, random) });
    },
  },
  {
    name: "remove by id",
    weight: 8,
    run: (world, random) => {
      world.perform({ type: "remove-by-id", messageId: random.pick(MESSAGE_IDS) ?? "x" });
    },
  },
  {
    name: "redrive",
    weight: 10,
    run: (world, random) => {
      world.perform({ type: "redrive", fromOffset: 1, max: random.oneOf(1, 2, 10), filter: drawFilter(random) });
    },
  },
  {
    name: "drop dead letters",
    weight: 4,
    run: (world, random) => {
      const only = random.pick(world.model.state.deadLetters)?.message.offset;
      const filter = random.chance(50) ? { offset: only ?? 1 } : drawFilter(random);
      world.perform({ type: "drop-dead-letters", fromOffset: 1, max: random.oneOf(1, 10), filter });
    },
  },
  {
    name: "release from quarantine",
    weight: 8,
    run: (world, random) => {
      const one = random.oneOf<object>({}, { key: random.pick(KEYS) }, { offset: drawOffset(world, random) });
      world.perform({ type: "release-quarantine", ...one, ...drawGroup(world, random) });
    },
  },
  {
    name: "drop from quarantine",
    weight: 6,
    run: (world, random) => {
      const one = random.oneOf<object>({}, { key: random.pick(KEYS) }, { offset: drawOffset(world, random) });
      world.perform({ type: "drop-quarantine", ...one, ...drawGroup(world, random) });
    },
  },
];

const LOOKS: readonly ActorOperation[] = [
  {
    name: "browse",
    weight: 4,
    run: (world, random) => {
      world.perform({ type: "browse", fromOffset: drawOffset(world, random), limit: random.between(1, 6) });
    },
  },
  {
    name: "read",
    weight: 4,
    run: (world, random) => {
      world.perform({ type: "read", offset: drawOffset(world, random) });
    },
  },
  {
    name: "list dead letters",
    weight: 4,
    run: (world, random) => {
      world.perform({ type: "dead-letters", fromOffset: 1, limit: random.between(1, 4), filter: drawFilter(random) });
    },
  },
  {
    name: "list the quarantine",
    weight: 3,
    run: (world, random) => {
      world.perform({ type: "quarantine", limit: random.between(1, 4), ...drawGroup(world, random) });
    },
  },
];

export const KEEPERS: readonly ActorOperation[] = [...LIFE, ...MESSAGES, ...LOOKS];
