// The port to what snapshots and restores need of storage: the rows of one moment, and rows that are staged (SPEC section SN).

export type SnapshotValue = string | number | null | Uint8Array;

/** A row as the store has it. What it means is the store's business. */
export interface SnapshotRow {
  readonly table: string;
  readonly values: readonly SnapshotValue[];
}

/** Between two pages: where the store goes on, null for the beginning, and the hash of all before, in hex. */
interface PageMark {
  readonly cursor: string | null;
  readonly digest: string;
}

export interface OpenSnapshot {
  readonly id: string;
  /** The version of the rows. */
  readonly version: number;
  /** When it was begun or read last. */
  readonly readAtMs: number;
  /** The channel's record at its moment, as snapshot-record.ts writes it. */
  readonly record: string;
  /** The page that was read last, from 1; 0 for none. It may be read again: a reply can be lost. */
  readonly page: number;
  readonly isLast: boolean;
  /** How large it was to be; absent before the first. */
  readonly bytesMax?: number;
  readonly before: PageMark;
  readonly after: PageMark;
}

export interface OpenRestore {
  readonly id: string;
  readonly version: number;
  /** When it was begun or fed last. */
  readonly fedAtMs: number;
  /** The page that came last, from 1; 0 for none. */
  readonly page: number;
  readonly digest: string;
  /** The record of the channel, from the first page on. */
  readonly record: string | null;
  /** Whether the last page is there. */
  readonly isComplete: boolean;
}

export interface SnapshotState {
  readonly snapshot: OpenSnapshot | null;
  readonly restore: OpenRestore | null;
}

/** What a commit changes. What ends does so before the rest of the commit; a snapshot begins after it, and shows what it wrote. */
export interface SnapshotChanges {
  readonly state: SnapshotState;
  readonly isEnded: boolean;
  readonly isBegun: boolean;
  /** Forgets what is staged. */
  readonly isUnstaged: boolean;
  /** Makes room for staged rows. */
  readonly isStaging: boolean;
  readonly stage: readonly SnapshotRow[];
  /** Puts the staged rows in the place of all that is stored; the store has to be opened anew afterwards. */
  readonly isInstalled: boolean;
}

export interface SnapshotStore {
  /** Rows of another version can not be staged. */
  readonly version: number;
  readState(): SnapshotState | undefined;
  /** The rows of the open snapshot after a cursor, one after the other, each with the cursor behind it. */
  readRows(after: string | null): Iterable<{ readonly row: SnapshotRow; readonly cursor: string }>;
  /** Whether the row can be staged. */
  accepts(row: SnapshotRow): boolean;
}
