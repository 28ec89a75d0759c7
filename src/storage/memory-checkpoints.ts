// The checkpoints of a channel in memory: the twin of CheckpointTable.
import type {
  CheckpointChanges,
  CheckpointDeletions,
  CheckpointRange,
  CheckpointStore,
  CheckpointTotals,
} from "../channel/checkpoint-store.ts";
import type { Checkpoint, CheckpointEntry } from "../protocol/checkpoint.ts";

export class MemoryCheckpoints implements CheckpointStore {
  readonly #checkpoints = new Map<string, Checkpoint>();
  #deletions: CheckpointDeletions | undefined;

  readTotals(): CheckpointTotals {
    const all = [...this.#checkpoints.values()];
    const bytes = all.reduce((sum, checkpoint) => sum + checkpoint.bytes, 0);
    return { count: all.length, bytes, updatedAtMs: Math.max(0, ...all.map((checkpoint) => checkpoint.updatedAtMs)) };
  }

  readDeletions(): CheckpointDeletions | undefined {
    return this.#deletions;
  }

  readEntry(name: string): CheckpointEntry | undefined {
    const checkpoint = this.#checkpoints.get(name);
    return checkpoint === undefined ? undefined : withoutValue(checkpoint);
  }

  read(name: string): Checkpoint | undefined {
    return this.#checkpoints.get(name);
  }

  list({ after, prefix, limit }: CheckpointRange): readonly CheckpointEntry[] {
    return [...this.#checkpoints.values()]
      .filter(({ name }) => name > after && name.startsWith(prefix))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .slice(0, limit)
      .map(withoutValue);
  }

  dump(): object {
    return { checkpoints: [...this.#checkpoints.values()], deletions: this.#deletions };
  }

  load({ checkpoints, deletions }: { checkpoints: Checkpoint[]; deletions?: CheckpointDeletions }): void {
    this.commit({ isReset: true, delete: [], write: checkpoints, deletions });
  }

  commit(changes: CheckpointChanges): void {
    if (changes.isReset) {
      this.#checkpoints.clear();
      this.#deletions = undefined;
    }
    for (const name of changes.delete) this.#checkpoints.delete(name);
    for (const checkpoint of changes.write) this.#checkpoints.set(checkpoint.name, checkpoint);
    this.#deletions = changes.deletions ?? this.#deletions;
  }
}

function withoutValue({ value: _, ...entry }: Checkpoint): CheckpointEntry {
  return entry;
}
