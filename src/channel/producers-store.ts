// The part of the port to storage that keeps producers (rules DD1 to DD5).

export interface StoredProducer {
  readonly id: string;
  /** Which of `LIMITS.producerBuckets` it is counted in, by its id. */
  readonly bucket: number;
  readonly epoch: number;
  /** The last accepted number of the epoch. */
  readonly lastSeq: number;
  /** When a put of it was accepted last. */
  readonly usedAtMs: number;
  /** The outcomes of its last puts (outcome-window.ts). */
  readonly outcomes: Uint8Array<ArrayBuffer>;
}

export interface ProducersStore {
  read(bucket: number, id: string): StoredProducer | undefined;
  /** When each producer of the bucket was used last. */
  readBucket(bucket: number): readonly { readonly id: string; readonly usedAtMs: number }[];
}

export interface ProducersChanges {
  /** Deletes all producers first. */
  readonly isReset: boolean;
  readonly deletes: readonly { readonly bucket: number; readonly id: string }[];
  /** Inserts or replaces. */
  readonly writes: readonly StoredProducer[];
}
