// Snapshots and restores in memory: an open snapshot is a copy of all rows.
import type { SnapshotChanges, SnapshotRow, SnapshotState, SnapshotStore, SnapshotValue } from "../channel/snapshot-store.ts";

/** What a store in memory dumps. */
const TABLES: ReadonlySet<string> = new Set([
  "position",
  "segment",
  "checkpoints",
  "deadLetters",
  "delivery",
  "groups",
  "idempotency",
  "producers",
  "schedule",
]);

export class MemorySnapshots implements SnapshotStore {
  /** High, so that no row of SQLite is taken for one of these. */
  readonly version: number = 1_000_000;
  #state: SnapshotState | undefined;
  #rows: readonly SnapshotRow[] = [];
  #staged: readonly SnapshotRow[] = [];

  readState(): SnapshotState | undefined {
    return this.#state;
  }

  *readRows(after: string | null): Iterable<{ row: SnapshotRow; cursor: string }> {
    const start = after === null ? 0 : Number(after);
    for (const [index, row] of this.#rows.slice(start).entries()) yield { row, cursor: String(start + index + 1) };
  }

  accepts(row: SnapshotRow): boolean {
    if (!TABLES.has(row.table)) return false;
    try {
      return typeof unpackRow(row) === "object";
    } catch {
      return false;
    }
  }

  copyFrom(other: MemorySnapshots): void {
    this.#state = other.#state;
    this.#rows = other.#rows;
    this.#staged = other.#staged;
  }

  /** What has to be done before the rest of a commit; returns the rows that take the place of all others. */
  begin({ isEnded, isUnstaged, isInstalled, stage }: SnapshotChanges): readonly SnapshotRow[] | undefined {
    if (isEnded) this.#rows = [];
    this.#staged = isUnstaged ? [] : [...this.#staged, ...stage];
    if (!isInstalled) return undefined;
    const installed = this.#staged;
    this.#staged = [];
    return installed;
  }

  /** What has to be done after the rest of a commit. */
  finish({ isBegun, state }: SnapshotChanges, dump: () => readonly SnapshotRow[]): void {
    if (isBegun) this.#rows = dump();
    this.#state = state;
  }
}

/** JSON, and the bytes in it behind. */
export function packRow(table: string, content: unknown): SnapshotRow {
  const parts: Uint8Array[] = [];
  const replace = (_: string, value: unknown): unknown =>
    value instanceof Uint8Array ? { bytes$: parts.push(value) - 1 } : value;
  const json = JSON.stringify(content, replace);
  return { table, values: [json, ...parts.map((part) => new Uint8Array(part))] };
}

export function unpackRow({ values: [json, ...parts] }: SnapshotRow): unknown {
  const revive = (_: string, value: unknown): unknown =>
    typeof value === "object" && value !== null && "bytes$" in value ? partOf(parts, Number(value.bytes$)) : value;
  return JSON.parse(String(json), revive);
}

function partOf(parts: readonly SnapshotValue[], index: number): Uint8Array {
  const part = parts[index];
  return part instanceof Uint8Array ? new Uint8Array(part) : new Uint8Array(0);
}
