// Breaks of what a channel does beside its records: delayed messages, dedup, checkpoints, and what rides on a settle.
import type { Mutant } from "./mutant.ts";

const SCHEDULE: readonly Mutant[] = [
  {
    name: "SD3: what is scheduled takes up no room",
    file: "src/channel/traffic.ts",
    from: "messages: this.#backlog.depth + messages + reserved.messages,",
    to: "messages: this.#backlog.depth + reserved.messages,",
  },
  {
    name: "SD4: messages enter in the order of their puts",
    file: "src/channel/schedule.ts",
    from: "return a.dueAtMs - b.dueAtMs || a.id - b.id;",
    to: "return a.id - b.id;",
  },
  {
    name: "SD6: everything that is due enters in one commit",
    file: "src/channel/schedule.ts",
    from: "{ limit: room, dueByMs: nowMs }",
    to: "{ limit: 1000, dueByMs: nowMs }",
  },
  {
    name: "SD6: messages enter while the operations of a failed commit are tried again",
    file: "src/channel/channel.ts",
    from: "if (isRecovering === true) return;",
    to: "if (isRecovering === true && nowMs < 0) return;",
  },
  {
    name: "SD7: a message that entered stays scheduled",
    file: "src/channel/schedule.ts",
    from: "for (const entry of due) if (!this.#added.delete(entry.id)) this.#goneUpTo = laterOf(this.#goneUpTo, entry);",
    to: "for (const entry of due) this.#added.delete(entry.id);",
  },
  {
    name: "SD8: a cancelled message enters all the same",
    file: "src/channel/schedule.ts",
    from: "if (!this.#added.delete(key.id)) this.#cancelled.set(key.id, key);",
    to: "this.#added.delete(key.id);",
  },
  {
    name: "SD8: ids of scheduled messages begin anew after an eviction",
    file: "src/channel/schedule.ts",
    from: "this.#lastId = totals.lastId;",
    to: "this.#lastId = 0;",
  },
  {
    name: "SD10: a drain does not wait for what is scheduled",
    file: "src/channel/channel.ts",
    from: "return this.#parts.groups.isDrained && this.#parts.schedule.messages === 0;",
    to: "return this.#parts.groups.isDrained;",
  },
];

const DEDUP: readonly Mutant[] = [
  {
    name: "DD2: a gap is accepted",
    file: "src/channel/producers.ts",
    from: "return seq === producer.lastSeq + 1 ? NEXT : refuseGap(mark, producer.lastSeq + 1);",
    to: "return NEXT;",
  },
  {
    name: "DD2: a retry is stored again after an eviction",
    file: "src/channel/producers.ts",
    from: "writes: Array.from(this.#changed, ([id, producer]) => packProducer(id, producer)),",
    to: "writes: [],",
  },
  {
    name: "DD3: a stale epoch is accepted",
    file: "src/channel/producers.ts",
    from: "if (epoch < producer.epoch) return refused",
    to: "if (epoch < 0) return refused",
  },
  {
    name: "DD4: a used number with other messages is taken for a retry",
    file: "src/channel/producers.ts",
    from: "if (isSame) return",
    to: "if (isSame || seq > 0) return",
  },
  {
    name: "DD5: a producer that put lately is forgotten for another",
    file: "src/channel/producers.ts",
    from: "return retryAfterMs <= 0 ? NEXT : refused",
    to: "return retryAfterMs <= LIMITS.producerIdleMsMin ? NEXT : refused",
  },
  {
    name: "DD7: keys are kept without bound",
    file: "src/channel/idempotency.ts",
    from: 'if (this.#countKeys() < LIMITS.idempotencyKeysMax) return { type: "new" };',
    to: 'if (this.#countKeys() >= 0) return { type: "new" };',
  },
  {
    name: "DD7: keys are forgotten with others that were put before them",
    file: "src/channel/idempotency.ts",
    from: "const generation: Generation = { id: (newest?.id ?? 0) + 1, untilMs: nowMs + spanMs,",
    to: "const generation: Generation = { id: (newest?.id ?? 0) + 1, untilMs: nowMs - spanMs,",
  },
  {
    name: "DD6: a key is forgotten before its window is over",
    file: "src/channel/idempotency.ts",
    from: "found.putAtMs + windowMs <= nowMs",
    to: "found.putAtMs + windowMs / 2 <= nowMs",
  },
  {
    name: "DD6: other messages with a used key are taken for a retry",
    file: "src/channel/idempotency.ts",
    from: "if (found.fingerprint !== fingerprintOf(messages)) return",
    to: "if (found.fingerprint !== found.fingerprint) return",
  },
  {
    name: "DD8: the record of a growth takes the offset that a put expects",
    file: "src/channel/traffic.ts",
    from: "if (operation.expectedOffset === undefined) this.#grow(record, room, nowMs);",
    to: "if (nowMs > 0) this.#grow(record, room, nowMs);",
  },
  {
    name: "DD10: a put that comes early is refused, though those before it wait",
    file: "src/channel/traffic.ts",
    from: "if (judged !== undefined && !(this.#isBehind(operation, origin) && isEarly(operation, judged))) return judged;",
    to: "if (judged !== undefined) return judged;",
  },
  {
    name: "DD12: a new life knows the producers and keys of the old one",
    file: "src/channel/channel.ts",
    from: "this.#parts.dedup.restart();",
    to: "",
  },
];

const CHECKPOINTS: readonly Mutant[] = [
  {
    name: "CP2: the versions of a checkpoint begin anew after a deletion",
    file: "src/channel/checkpoints.ts",
    from: "return (version ?? held.deletedVersionMax) + 1;",
    to: "return (version ?? 0) + 1;",
  },
  {
    name: "CP3: a write that expects another version is taken",
    file: "src/channel/checkpoints.ts",
    from: 'return condition === "absent" ? version === undefined : condition === version;',
    to: 'return condition === "absent" ? version === undefined : version !== undefined;',
  },
  {
    name: "CP4: checkpoints are kept without bound",
    file: "src/channel/checkpoints.ts",
    from: "if (after.count > LIMITS.checkpointsMax) {",
    to: "if (after.count < 0) {",
  },
  {
    name: "CP9: a new life finds the checkpoints of the old one",
    file: "src/channel/channel.ts",
    from: "this.#parts.checkpoints.restart();",
    to: "",
  },
  {
    name: "LS12: a checkpoint is written though the settle that it rides on is refused",
    file: "src/channel/group-desk.ts",
    from: 'if (fault !== undefined) refused.push({ pointer: "/checkpoint", problem: fault.refusal });',
    to: 'if (fault !== undefined) refused.push({ pointer: "/checkpoint", problem: fault.refusal });\n    else if (checkpoint !== undefined && refused.length > 0) this.#checkpoints.apply([checkpoint], moment.nowMs);',
  },
  {
    name: "LS12: a settle is carried out though what rides on it is refused",
    file: "src/channel/group-desk.ts",
    from: "if (refused.length > 0) return",
    to: "if (refused.length > 0) plan.carryOut();\n    if (refused.length > 0) return",
  },
  {
    name: "LS12: room that acks free does not count for the puts that ride on them",
    file: "src/channel/group-desk.ts",
    from: "freed: plan.measureFreed()",
    to: "freed: { messages: 0, bytes: 0 }",
  },
  {
    name: "LS12: puts that ride on a settle pass those that wait",
    file: "src/channel/traffic.ts",
    from: "isFree && this.#line.firstPut() === undefined && !this.#hasNoReaders(record)",
    to: "isFree && !this.#hasNoReaders(record)",
  },
];

export const BESIDE: readonly Mutant[] = [...SCHEDULE, ...DEDUP, ...CHECKPOINTS];
