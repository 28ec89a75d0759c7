// Checkpoints: SPEC section CP, word by word.
import { assertNever } from "../../../src/base/assert.ts";
import type { CheckpointCondition, CheckpointOperation, CheckpointWrite, Outcome } from "../../../src/channel/operation.ts";
import type { Checkpoint, CheckpointEntry } from "../../../src/protocol/checkpoint.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { Refusal } from "../../../src/protocol/problems.ts";
import { type Book, refused, sum } from "./state.ts";

export class ModelCheckpoints {
  readonly #book: Book;

  constructor(book: Book) {
    this.#book = book;
  }

  decide(operation: CheckpointOperation, nowMs: number): Outcome {
    switch (operation.type) {
      case "read-checkpoint": {
        const checkpoint = this.#find(operation.name);
        return checkpoint === undefined ? this.#unknown(operation.name) : { type: "checkpoint", checkpoint };
      }
      case "list-checkpoints": {
        const { after = "", prefix = "", limit } = operation;
        const found = this.#book.state.checkpoints.filter(({ name }) => name > after && name.startsWith(prefix));
        const checkpoints = found.slice(0, limit).map(entryOf);
        return { type: "checkpoints", checkpoints, next: found.length > limit ? (checkpoints.at(-1)?.name ?? null) : null };
      }
      case "write-checkpoint": {
        const isCreated = this.#find(operation.write.name) === undefined;
        const fault = this.findFault(operation.write);
        if (fault !== undefined) return refused(fault);
        return { type: "checkpoint-written", checkpoint: this.write(operation.write, nowMs), isCreated };
      }
      case "delete-checkpoint":
        return this.#delete(operation.name, operation.ifMatch, nowMs);
      default:
        return assertNever(operation);
    }
  }

  /** CP3 and CP4: why a write is refused. */
  findFault({ name, value, ifMatch }: CheckpointWrite): Refusal | undefined {
    const before = this.#find(name);
    const bytes = value.byteLength;
    if (bytes > LIMITS.checkpointBytesMax) {
      return { kind: "checkpoint-too-large", checkpoint: name, bytes, limit: LIMITS.checkpointBytesMax };
    }
    if (!isAsExpected(ifMatch, before)) return conflict(name, before);
    const after = [...this.#others(name).map((other) => other.bytes), bytes];
    const tooMany = { kind: "too-many-checkpoints", checkpoint: name } as const;
    if (after.length > LIMITS.checkpointsMax) {
      return { ...tooMany, size: after.length, limit: LIMITS.checkpointsMax, unit: "checkpoints" };
    }
    if (sum(after) > LIMITS.checkpointsBytesMax) {
      return { ...tooMany, size: sum(after), limit: LIMITS.checkpointsBytesMax, unit: "bytes" };
    }
    return undefined;
  }

  /** Carries out a write that has no fault. */
  write({ name, value, contentType }: CheckpointWrite, nowMs: number): CheckpointEntry {
    const version = (this.#find(name)?.version ?? this.#book.state.deletedCheckpoint.version) + 1;
    const bytes = value.byteLength;
    const checkpoint: Checkpoint = { name, version, contentType, bytes, updatedAtMs: nowMs, value: new Uint8Array(value) };
    const checkpoints = [...this.#others(name), checkpoint].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#book.change({ checkpoints, checkpointsChangedAtMs: nowMs });
    return entryOf(checkpoint);
  }

  /** What is found on waking: when what is there was written, or something was deleted. */
  wake(): void {
    const { checkpoints, deletedCheckpoint } = this.#book.state;
    const checkpointsChangedAtMs = Math.max(deletedCheckpoint.atMs, ...checkpoints.map(({ updatedAtMs }) => updatedAtMs));
    this.#book.note({ checkpointsChangedAtMs });
  }

  #delete(name: string, ifMatch: CheckpointCondition | undefined, nowMs: number): Outcome {
    const before = this.#find(name);
    if (!isAsExpected(ifMatch, before)) return refused(conflict(name, before));
    if (before === undefined) return this.#unknown(name);
    const version = Math.max(this.#book.state.deletedCheckpoint.version, before.version);
    const deletedCheckpoint = { version, atMs: nowMs };
    this.#book.change({ checkpoints: this.#others(name), deletedCheckpoint, checkpointsChangedAtMs: nowMs });
    return { type: "checkpoint-deleted", name, version: before.version };
  }

  #find(name: string): Checkpoint | undefined {
    return this.#book.state.checkpoints.find((checkpoint) => checkpoint.name === name);
  }

  #others(name: string): Checkpoint[] {
    return this.#book.state.checkpoints.filter((checkpoint) => checkpoint.name !== name);
  }

  #unknown(checkpoint: string): Outcome {
    return refused({ kind: "unknown-checkpoint", checkpoint });
  }
}

function isAsExpected(condition: CheckpointCondition | undefined, before: Checkpoint | undefined): boolean {
  if (condition === undefined) return true;
  if (condition === "absent") return before === undefined;
  return before !== undefined && (condition === "present" || condition === before.version);
}

function conflict(checkpoint: string, before: Checkpoint | undefined): Refusal {
  return { kind: "checkpoint-conflict", checkpoint, current: before?.version ?? null };
}

function entryOf({ value: _, ...entry }: Checkpoint): CheckpointEntry {
  return entry;
}
