// Producers: puts of one message and of batches, that wait for room, and that use the room that they were promised.
import { encodeUtf8 } from "../../../src/protocol/bytes.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { PutMessage } from "../../../src/protocol/message.ts";
import type { Random } from "../random.ts";
import { type ActorOperation, drawOrigin, drawOriginOrNone, drawWaitMs } from "./operation.ts";

export const KEYS = ["a", "b", "clé"];
export const MESSAGE_IDS = ["x", "y"];

/** A message of about `bytes` bytes whose body tells it from all others. */
function drawMessage(random: Random, bytes: number): PutMessage {
  const body = encodeUtf8(
    random
      .draw32()
      .toString(16)
      .padStart(8, "0")
      .repeat(1 + bytes / 8)
      .slice(0, Math.max(8, bytes)),
  );
  const key = random.chance(65) ? random.pick(KEYS) : undefined;
  const messageId = random.chance(20) ? random.pick(MESSAGE_IDS) : undefined;
  const headers = random.chance(10) ? { trace: "é" } : undefined;
  const ttlMs = random.chance(12) ? random.oneOf(1, 1_000, 5_000, 60_000) : undefined;
  return { body, presentation: "text", contentType: "text/plain; charset=utf-8", key, messageId, headers, ttlMs };
}

export function drawBatch(random: Random): PutMessage[] {
  const count = random.oneOf(1, 1, 1, 2, 3, 4, 7);
  return Array.from({ length: count }, () => drawMessage(random, random.oneOf(8, 8, 20, 50, 120)));
}

/** Messages that have this size together. */
export function fill(random: Random, messages: number, bytes: number): PutMessage[] {
  return Array.from({ length: messages }, (_, index) => {
    const body = encodeUtf8(
      random
        .draw32()
        .toString(16)
        .repeat(1 + bytes / 4)
        .slice(0, index === 0 ? bytes : 0),
    );
    return { body, presentation: "text", contentType: "text/plain; charset=utf-8" };
  });
}

export const PRODUCERS: readonly ActorOperation[] = [
  {
    name: "put",
    weight: 110,
    run: (world, random) => {
      world.perform({ type: "put", messages: drawBatch(random) }, drawOriginOrNone(world, random));
    },
  },
  {
    name: "put behind a control record, and wait until it expires",
    weight: 5,
    run: (world, random) => {
      const maxMessages = random.oneOf(2, 3);
      const ttlMs = random.oneOf(1_000, 5_000, 60_000);
      const messages = fill(random, maxMessages, 8).map((message) => ({ ...message, ttlMs }));
      world.perform({ type: "purge" });
      // Twice, so that the limits change whatever they were.
      for (const limit of [maxMessages + 1, maxMessages])
        world.perform({ type: "patch", patch: { maxMessages: limit, growth: null } });
      world.perform({ type: "put", messages });
      world.perform({ type: "put", messages: fill(random, 1, 8), waitMs: 60_000 }, drawOrigin(world, random));
    },
  },
  {
    name: "put and wait",
    weight: 40,
    run: (world, random) => {
      world.perform({ type: "put", messages: drawBatch(random), waitMs: drawWaitMs(random) }, drawOrigin(world, random));
    },
  },
  {
    name: "put nothing",
    weight: 3,
    run: (world, random) => {
      world.perform({ type: "put", messages: [] }, drawOriginOrNone(world, random));
    },
  },
  {
    name: "put too large a message",
    weight: 4,
    run: (world, random) => {
      const bytes = (world.model.state.record?.settings.maxMessageBytes ?? 200) + random.oneOf(0, 1, 50);
      world.perform({ type: "put", messages: [drawMessage(random, 8), drawMessage(random, Math.min(bytes, 5000))] });
    },
  },
  {
    name: "put too large a batch",
    weight: 4,
    run: (world, random) => {
      const messages = Array.from({ length: LIMITS.batchMessagesMax + random.below(2) }, () =>
        drawMessage(random, random.oneOf(8, 150)),
      );
      world.perform({ type: "put", messages, waitMs: 1000 }, drawOrigin(world, random));
    },
  },
  {
    name: "reserve room",
    weight: 14,
    run: (world, random) => {
      const messages = random.between(1, 4);
      const bytes = random.between(8, 300);
      world.perform(
        { type: "reserve", messages, bytes, waitMs: random.chance(50) ? 0 : drawWaitMs(random) },
        drawOrigin(world, random),
      );
    },
  },
  {
    name: "use a promise",
    weight: 30,
    run: (world, random) => {
      const promise = random.pick(world.model.state.promises.filter(({ connection }) => world.isOpen(connection)));
      const more = random.oneOf(0, 0, 0, 0, 0, 1);
      const origin = promise ?? drawOrigin(world, random);
      const messages = fill(random, (promise?.max ?? 1) + more, promise?.bytes ?? 8);
      const { connection, request } = origin;
      world.perform({ type: "put", messages, isPromised: random.chance(90) }, { connection, request });
    },
  },
];
