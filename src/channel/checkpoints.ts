// Checkpoints: named, versioned values beside the messages. SPEC section CP. What this commit writes lies over what is stored; of the
// rest nothing is kept in memory but how many there are, so that a write can be judged.
import { assert, assertNever } from "../base/assert.ts";
import type { Checkpoint, CheckpointEntry } from "../protocol/checkpoint.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { CheckpointChanges, CheckpointDeletions, CheckpointRange, CheckpointStore } from "./checkpoint-store.ts";
import type { CheckpointCondition, CheckpointOperation, CheckpointWrite, OperationOf, Outcome } from "./operation.ts";

/** A write of a list that can not be applied. */
export interface CheckpointFault {
  /** The place of the write in the list. */
  readonly index: number;
  readonly refusal: Refusal;
}

/** What a write is judged against: all that is stored, with what this commit does. */
interface Held {
  readonly count: number;
  readonly bytes: number;
  readonly deletedVersionMax: number;
}

const NOTHING_HELD: Held = { count: 0, bytes: 0, deletedVersionMax: 0 };

export class Checkpoints {
  readonly #store: CheckpointStore;
  /** Read at first use. Invariant: it is there whenever the draft is not empty. */
  #held: Held | undefined;
  #changedAtMs = 0;

  // What the next commit changes: undefined stands for a deletion.
  readonly #draft = new Map<string, Checkpoint | undefined>();
  #isReset = false;
  #deletions: CheckpointDeletions | undefined;

  constructor(store: CheckpointStore) {
    this.#store = store;
  }

  /** When a checkpoint was last written or deleted; 0 for never (rule CP8). */
  readChangedAtMs(): number {
    this.#readHeld();
    return this.#changedAtMs;
  }

  decide(operation: CheckpointOperation, nowMs: number): Outcome {
    switch (operation.type) {
      case "read-checkpoint":
        return this.#decideRead(operation.name);
      case "list-checkpoints":
        return this.#decideList(operation);
      case "write-checkpoint":
        return this.#decideWrite(operation.write, nowMs);
      case "delete-checkpoint":
        return this.#decideDelete(operation, nowMs);
      default:
        return assertNever(operation);
    }
  }

  /**
   * Says which writes of a list can not be applied, in their order, and changes nothing; none where all can. Each is judged as if those
   * before it that are not refused had been applied (rule CP5). Names and content types are checked where they come in.
   */
  judge(writes: readonly CheckpointWrite[]): readonly CheckpointFault[] {
    const faults: CheckpointFault[] = [];
    const written = new Map<string, { readonly version: number; readonly bytes: number }>();
    let held = this.#readHeld();
    for (const [index, write] of writes.entries()) {
      const before = written.get(write.name) ?? this.#findEntry(write.name);
      const after = addWrite(held, before?.bytes, write.value.byteLength);
      const refusal = refuseWrite(write, before?.version, after);
      if (refusal !== undefined) {
        faults.push({ index, refusal });
        continue;
      }
      written.set(write.name, { version: nextVersion(held, before?.version), bytes: write.value.byteLength });
      held = after;
    }
    return faults;
  }

  /** Applies writes that `judge` found no fault with, since when nothing changed. Returns what they have become, in their order. */
  apply(writes: readonly CheckpointWrite[], nowMs: number): readonly CheckpointEntry[] {
    return writes.map(({ name, value, contentType }) => {
      const held = this.#readHeld();
      const before = this.#findEntry(name);
      const bytes = value.byteLength;
      const entry: CheckpointEntry = {
        name,
        version: nextVersion(held, before?.version),
        contentType,
        bytes,
        updatedAtMs: nowMs,
      };
      // Copied: the bytes may lie in memory that others share.
      this.#draft.set(name, { ...entry, value: new Uint8Array(value) });
      this.#held = addWrite(held, before?.bytes, bytes);
      this.#changedAtMs = nowMs;
      return entry;
    });
  }

  /** Begins a new life: forgets all checkpoints and their versions. */
  restart(): void {
    this.#draft.clear();
    this.#isReset = true;
    this.#deletions = undefined;
    this.#held = NOTHING_HELD;
    this.#changedAtMs = 0;
  }

  /** Hands over what has to be written and begins the next commit; undefined when nothing changed. */
  takeChanges(): CheckpointChanges | undefined {
    if (!this.#isReset && this.#draft.size === 0) return undefined;
    const drafts = [...this.#draft];
    const changes: CheckpointChanges = {
      isReset: this.#isReset,
      delete: drafts.flatMap(([name, checkpoint]) => (checkpoint === undefined ? [name] : [])),
      write: drafts.flatMap(([, checkpoint]) => (checkpoint === undefined ? [] : [checkpoint])),
      deletions: this.#deletions,
    };
    this.#draft.clear();
    this.#isReset = false;
    this.#deletions = undefined;
    return changes;
  }

  #decideRead(name: string): Outcome {
    const checkpoint = this.#draft.has(name) || this.#isReset ? this.#draft.get(name) : this.#store.read(name);
    return checkpoint === undefined
      ? refuse({ kind: "unknown-checkpoint", checkpoint: name })
      : { type: "checkpoint", checkpoint };
  }

  #decideList({ after = "", prefix = "", limit }: OperationOf<"list-checkpoints">): Outcome {
    // One more than the page shows whether another follows.
    const found = this.#list({ after, prefix, limit: limit + 1 });
    const checkpoints = found.slice(0, limit);
    const next = found.length > limit ? (checkpoints.at(-1)?.name ?? null) : null;
    return { type: "checkpoints", checkpoints, next };
  }

  #decideWrite(write: CheckpointWrite, nowMs: number): Outcome {
    const isCreated = this.#findEntry(write.name) === undefined;
    const [fault] = this.judge([write]);
    if (fault !== undefined) return refuse(fault.refusal);
    const [checkpoint] = this.apply([write], nowMs);
    assert(checkpoint !== undefined, "each write becomes an entry");
    return { type: "checkpoint-written", checkpoint, isCreated };
  }

  #decideDelete({ name, ifMatch }: OperationOf<"delete-checkpoint">, nowMs: number): Outcome {
    const held = this.#readHeld();
    const entry = this.#findEntry(name);
    if (!isMet(ifMatch, entry?.version)) return refuse(conflictOf(name, entry?.version));
    if (entry === undefined) return refuse({ kind: "unknown-checkpoint", checkpoint: name });
    const deletedVersionMax = Math.max(held.deletedVersionMax, entry.version);
    this.#draft.set(name, undefined);
    this.#deletions = { versionMax: deletedVersionMax, deletedAtMs: nowMs };
    this.#held = { count: held.count - 1, bytes: held.bytes - entry.bytes, deletedVersionMax };
    this.#changedAtMs = nowMs;
    return { type: "checkpoint-deleted", name, version: entry.version };
  }

  #findEntry(name: string): CheckpointEntry | undefined {
    return this.#draft.has(name) || this.#isReset ? this.#draft.get(name) : this.#store.readEntry(name);
  }

  /** The draft over what is stored. Of that as many more are read as the draft can hide. */
  #list({ after, prefix, limit }: CheckpointRange): CheckpointEntry[] {
    const stored = this.#isReset ? [] : this.#store.list({ after, prefix, limit: limit + this.#draft.size });
    const entries = stored.filter(({ name }) => !this.#draft.has(name));
    for (const checkpoint of this.#draft.values()) {
      if (checkpoint === undefined || checkpoint.name <= after || !checkpoint.name.startsWith(prefix)) continue;
      const { value: _, ...entry } = checkpoint;
      entries.push(entry);
    }
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, limit);
  }

  #readHeld(): Held {
    if (this.#held !== undefined) return this.#held;
    const { count, bytes, updatedAtMs } = this.#store.readTotals();
    const { versionMax, deletedAtMs } = this.#store.readDeletions() ?? { versionMax: 0, deletedAtMs: 0 };
    this.#changedAtMs = Math.max(updatedAtMs, deletedAtMs);
    this.#held = { count, bytes, deletedVersionMax: versionMax };
    return this.#held;
  }
}

function refuseWrite(write: CheckpointWrite, version: number | undefined, after: Held): Refusal | undefined {
  const { name: checkpoint, value } = write;
  if (value.byteLength > LIMITS.checkpointBytesMax) {
    return { kind: "checkpoint-too-large", checkpoint, bytes: value.byteLength, limit: LIMITS.checkpointBytesMax };
  }
  if (!isMet(write.ifMatch, version)) return conflictOf(checkpoint, version);
  if (after.count > LIMITS.checkpointsMax) {
    return { kind: "too-many-checkpoints", checkpoint, size: after.count, limit: LIMITS.checkpointsMax, unit: "checkpoints" };
  }
  if (after.bytes > LIMITS.checkpointsBytesMax) {
    return { kind: "too-many-checkpoints", checkpoint, size: after.bytes, limit: LIMITS.checkpointsBytesMax, unit: "bytes" };
  }
  return undefined;
}

/** Whether the version that is there, undefined for none, is the one that is expected (rule CP3). */
function isMet(condition: CheckpointCondition | undefined, version: number | undefined): boolean {
  if (condition === undefined) return true;
  if (condition === "present") return version !== undefined;
  return condition === "absent" ? version === undefined : condition === version;
}

function conflictOf(checkpoint: string, version: number | undefined): Refusal {
  return { kind: "checkpoint-conflict", checkpoint, current: version ?? null };
}

function nextVersion(held: Held, version: number | undefined): number {
  return (version ?? held.deletedVersionMax) + 1;
}

/** What is held once a value of `bytesBefore`, undefined for none, is one of `bytes`. */
function addWrite(held: Held, bytesBefore: number | undefined, bytes: number): Held {
  const count = bytesBefore === undefined ? held.count + 1 : held.count;
  return { ...held, count, bytes: held.bytes - (bytesBefore ?? 0) + bytes };
}

function refuse(refusal: Refusal): Outcome {
  return { type: "refused", refusal };
}
