// The part of the port to storage that keeps delayed messages (SPEC section SD).

/** The order of entering: by time, and those of one time by id. Ids rise with each put and are never used again. */
export interface ScheduledKey {
  readonly dueAtMs: number;
  readonly id: number;
}

/** A delayed message without its content. */
export interface ScheduledEntry extends ScheduledKey {
  /** What counts against the limits (rule PT6). */
  readonly bytes: number;
}

export interface NewScheduled extends ScheduledEntry {
  /** The message as a block of one record. */
  readonly block: Uint8Array<ArrayBuffer>;
}

/** What waking has to know, so that nothing is scanned. */
export interface ScheduleTotals {
  readonly messages: number;
  readonly bytes: number;
  /** When the first of them is due; null when there is none. */
  readonly nextAtMs: number | null;
  /** The id that was given last, in this life or an earlier one. */
  readonly lastId: number;
}

/** What a commit changes, in the order of the members. */
export interface ScheduleChanges {
  /** Deletes all. */
  readonly isCleared: boolean;
  /** Deletes all up to this one. */
  readonly deleteUpTo: ScheduledKey | undefined;
  readonly deleteEntries: readonly ScheduledKey[];
  readonly insertEntries: readonly NewScheduled[];
  readonly totals: ScheduleTotals;
}

/** Reads show what was committed. */
export interface ScheduleStore {
  readTotals(): ScheduleTotals | undefined;
  /** At most `limit` entries that come after `key` and are due by `dueByMs`, in their order. */
  readEntriesAfter(key: ScheduledKey, range: { readonly dueByMs: number; readonly limit: number }): readonly ScheduledEntry[];
  /** The entry with just this key. */
  readEntry(key: ScheduledKey): ScheduledEntry | undefined;
  /** The content of an entry that is there. */
  readBlock(key: ScheduledKey): Uint8Array;
}
