// The part of the port to storage that keeps idempotency keys (rules DD6, DD7).

/** Keys that were put at about the same time: they lie in a table of their own, and are forgotten with it. */
export interface KeyGeneration {
  /** Rises from 1 within a life. */
  readonly id: number;
  /** Every key in it was put before this. */
  readonly untilMs: number;
  /** At least as many as it has keys: written ahead, so that not every key writes it. */
  readonly keysMax: number;
}

export interface KeyOutcome {
  readonly idempotencyKey: string;
  /** Of the messages (fingerprint.ts). */
  readonly fingerprint: number;
  /** Of the first message that entered at once, or the next one where none did. */
  readonly offset: number;
  /** Messages that entered at once: the others were delayed. */
  readonly entered: number;
  /** All messages of the put. */
  readonly count: number;
  readonly putAtMs: number;
}

export interface NewKey extends KeyOutcome {
  readonly generationId: number;
}

export interface IdempotencyStore {
  /** In the order of their ids. */
  readGenerations(): readonly KeyGeneration[];
  find(generationId: number, idempotencyKey: string): KeyOutcome | undefined;
  /** Looks at every key. */
  countKeys(generationId: number): number;
  /** When the last of the keys was put, or 0. Looks at every key. */
  findLastPutMs(generationId: number): number;
}

export interface IdempotencyChanges {
  /** Drops whole generations first. */
  readonly dropGenerations: readonly number[];
  /** Inserts or replaces; a new one gets its table. */
  readonly writeGenerations: readonly KeyGeneration[];
  readonly insertKeys: readonly NewKey[];
}
