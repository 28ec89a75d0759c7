// Producers that number their puts or give them keys, and send them again when they do not know what became of them.
import { listMessages } from "../../../src/channel/put-batch.ts";
import type { OperationOf, Origin } from "../../../src/channel/operation.ts";
import type { ProducerMark } from "../../../src/protocol/dedup.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { PutMessage } from "../../../src/protocol/message.ts";
import type { Random } from "../random.ts";
import type { World } from "../world.ts";
import { drawDelays } from "./delayed.ts";
import { type ActorOperation, drawOrigin, drawOriginOrNone, drawWaitMs } from "./operation.ts";
import { drawBatch, fill } from "./producers.ts";

const PRODUCER_IDS = ["p", "q", "r"];
const IDEMPOTENCY_KEYS = ["k", "l", "m", "n", "o"];

interface Known {
  readonly id: string;
  readonly epoch: number;
  readonly lastSeq: number;
}

/** A producer, as it knows itself. */
function drawProducer(world: World, random: Random): Known {
  const id = random.pick(PRODUCER_IDS) ?? "p";
  const known = world.model.state.producers.find((producer) => producer.id === id);
  return { id, epoch: known?.epoch ?? random.oneOf(0, 3), lastSeq: known?.outcomes.length ?? 0 };
}

function nextMark({ id, epoch, lastSeq }: Known): ProducerMark {
  return { id, epoch, seq: lastSeq + 1 };
}

/** Which of several producers that are idle equally long is forgotten for another no rule says: that is not played. */
function isForgettingOpen({ model, nowMs }: World, id: string): boolean {
  const { producers } = model.state;
  if (producers.length < LIMITS.producersMax || producers.some((producer) => producer.id === id)) return false;
  const sinceMs = Math.min(...producers.map(({ usedAtMs }) => usedAtMs));
  const longest = producers.filter(({ usedAtMs }) => usedAtMs === sinceMs);
  return longest.length > 1 && nowMs - sinceMs >= LIMITS.producerIdleMsMin;
}

function send(world: World, put: OperationOf<"put">, origin?: Origin): void {
  if (put.producer === undefined || !isForgettingOpen(world, put.producer.id)) world.perform(put, origin);
}

/** Messages, some of them delayed; rarely none, which is a put like any other. */
function drawContent(world: World, random: Random): Pick<OperationOf<"put">, "messages" | "delays"> {
  const messages = random.chance(4) ? [] : drawBatch(random);
  return random.chance(25) ? { messages, delays: drawDelays(random, messages, world.nowMs) } : { messages };
}

function drawMarkOutOfTurn(random: Random, { id, epoch, lastSeq }: Known): ProducerMark {
  return random.oneOf<ProducerMark>(
    { id, epoch, seq: lastSeq + random.oneOf(2, 3) },
    { id, epoch: epoch - 1, seq: random.oneOf(1, lastSeq + 1) },
    { id, epoch: epoch - 1, seq: 1 },
    { id, epoch: epoch + 1, seq: random.oneOf(1, 1, 2) },
    { id, epoch, seq: random.between(1, lastSeq + 1) },
    { id, epoch, seq: Math.max(1, lastSeq) },
  );
}

/** Of another size than those that were put before, or at least most likely so. */
function drawOthers(random: Random, messages: readonly PutMessage[]): readonly PutMessage[] {
  return random.chance(50) ? [...messages, ...drawBatch(random).slice(0, 1)] : drawBatch(random);
}

const NUMBERED: readonly ActorOperation[] = [
  {
    name: "put with a number",
    weight: 54,
    run: (world, random) => {
      const producer = nextMark(drawProducer(world, random));
      send(world, { type: "put", ...drawContent(world, random), producer }, drawOriginOrNone(world, random));
    },
  },
  {
    name: "put with a number and wait",
    weight: 11,
    run: (world, random) => {
      // The next one comes behind it on its connection, and has its turn when both have room.
      const origin = drawOrigin(world, random);
      const known = drawProducer(world, random);
      const waitMs = drawWaitMs(random);
      send(world, { type: "put", ...drawContent(world, random), producer: nextMark(known), waitMs }, origin);
      const later = { ...known, lastSeq: known.lastSeq + 1 };
      const request = origin.request + 1;
      send(world, { type: "put", ...drawContent(world, random), producer: nextMark(later), waitMs }, { ...origin, request });
    },
  },
  {
    name: "use a promise with conditions",
    weight: 14,
    run: (world, random) => {
      const promise = random.pick(world.model.state.promises.filter(({ connection }) => world.isOpen(connection)));
      const { connection, request } = promise ?? drawOrigin(world, random);
      const messages = fill(random, promise?.max ?? 1, promise?.bytes ?? 8);
      const named = random.oneOf<Pick<OperationOf<"put">, "producer" | "idempotencyKey">>(
        { producer: nextMark(drawProducer(world, random)) },
        { idempotencyKey: random.pick(IDEMPOTENCY_KEYS) ?? "k" },
        {},
      );
      const expected = random.chance(30) ? { expectedOffset: world.model.state.nextOffset + random.oneOf(0, 0, 1) } : {};
      const delays = random.chance(30) ? drawDelays(random, messages, world.nowMs) : [];
      send(world, { type: "put", messages, delays, ...named, ...expected, isPromised: true }, { connection, request });
    },
  },
  {
    name: "put out of turn",
    weight: 20,
    run: (world, random) => {
      const producer = drawMarkOutOfTurn(random, drawProducer(world, random));
      const waitMs = random.chance(30) ? { waitMs: drawWaitMs(random) } : {};
      send(world, { type: "put", ...drawContent(world, random), producer, ...waitMs }, drawOriginOrNone(world, random));
    },
  },
  {
    name: "put at an offset",
    weight: 16,
    run: (world, random) => {
      const expectedOffset = world.model.state.nextOffset + random.oneOf(0, 0, 0, 1, -1);
      const waitMs = random.chance(30) ? { waitMs: drawWaitMs(random) } : {};
      send(world, { type: "put", ...drawContent(world, random), expectedOffset, ...waitMs }, drawOrigin(world, random));
    },
  },
];

const KEYED: readonly ActorOperation[] = [
  {
    name: "put with a key",
    weight: 18,
    run: (world, random) => {
      const idempotencyKey = random.pick(IDEMPOTENCY_KEYS) ?? "k";
      send(world, { type: "put", ...drawContent(world, random), idempotencyKey }, drawOriginOrNone(world, random));
    },
  },
];

const AGAIN: readonly ActorOperation[] = [
  {
    name: "send again",
    weight: 40,
    run: (world, random) => {
      const put = world.ledger.retries.sent[random.oneOf(0, 0, 1, random.below(12))];
      if (put !== undefined) send(world, put, drawOriginOrNone(world, random));
    },
  },
  {
    name: "send again when a key is nearly or just forgotten",
    weight: 8,
    run: (world, random) => {
      const key = random.pick(world.model.state.keys);
      const windowMs = world.model.state.record?.settings.idempotencyWindowMs ?? 0;
      if (key === undefined) return;
      const { messages, idempotencyKey, putAtMs } = key;
      world.jump(Math.max(0, putAtMs + windowMs - random.oneOf(0, 1, windowMs / 10) - world.nowMs));
      send(world, { type: "put", messages, idempotencyKey }, drawOriginOrNone(world, random));
    },
  },
  {
    name: "send others with a used key or number",
    weight: 10,
    run: (world, random) => {
      const put = random.pick(world.ledger.retries.sent);
      if (put === undefined) return;
      send(
        world,
        { ...put, messages: drawOthers(random, listMessages(put.messages)), delays: [] },
        drawOriginOrNone(world, random),
      );
    },
  },
  {
    name: "send again after a crash",
    weight: 16,
    run: (world, random) => {
      // Nobody was told what became of the put: it is sent again until somebody is, and then once more.
      const known = drawProducer(world, random);
      const named = random.chance(60)
        ? { producer: nextMark(known) }
        : { idempotencyKey: random.pick(IDEMPOTENCY_KEYS) ?? "k", expectedOffset: world.model.state.nextOffset };
      const put: OperationOf<"put"> = { type: "put", ...drawContent(world, random), ...named };
      send(world, put);
      world.end(random.oneOf("crash-after-commit", "crash-after-commit", "crash-before-commit", "commit-fails", "evict"));
      send(world, put, drawOriginOrNone(world, random));
      world.end(random.oneOf("hold", "none", "evict"));
      send(world, put, drawOriginOrNone(world, random));
    },
  },
];

export const RETRIERS: readonly ActorOperation[] = [...NUMBERED, ...KEYED, ...AGAIN];
