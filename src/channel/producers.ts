// Producers that number their puts: which number comes next, and what became of the last ones. Rules DD1 to DD5.
import { LIMITS } from "../protocol/limits.ts";
import type { ProducerMark } from "../protocol/dedup.ts";
import type { Refusal } from "../protocol/problems.ts";
import { bucketOf } from "./fingerprint.ts";
import { offsetOf, OutcomeWindow, type PutOutcome } from "./outcome-window.ts";
import { bytesOf, countOf, type PutBatch } from "./put-batch.ts";
import type { ProducersChanges, ProducersStore, StoredProducer } from "./producers-store.ts";
import { refused } from "./refused.ts";

interface Producer {
  readonly bucket: number;
  epoch: number;
  lastSeq: number;
  usedAtMs: number;
  outcomes: OutcomeWindow;
}

/** What is known of a numbered put: it is the next one, or was accepted before, perhaps so long ago that its outcome is gone. */
export type NumberVerdict =
  | { readonly type: "next" }
  | { readonly type: "duplicate"; readonly outcome: PutOutcome | undefined }
  | { readonly type: "refused"; readonly refusal: Refusal };

const NEXT: NumberVerdict = { type: "next" };

/** About what a producer takes in memory besides its outcomes. */
const PRODUCER_BYTES = 500;

/**
 * Background: a channel may know 100,000 producers, and has to forget the longest idle ones without a count or an order of all of
 * them: to keep those in storage would cost more rows with each put, to find them by a scan too many reads.
 *
 * So a producer belongs to one of 500 buckets by its id, and a new one that finds 200 in its bucket takes the place of the longest
 * idle of these, as in a cache of limited associativity. That reads at most 200 short rows, once in the life of a producer, and needs
 * nothing stored. The price: forgetting begins before there are 100,000, at about 80,000.
 *
 * In memory are those that this commit changes, and lately used ones up to a number of bytes.
 */
export class Producers {
  readonly #store: ProducersStore;
  /** As they are stored, in the order in which they were put or read last, the oldest first. */
  readonly #cached = new Map<string, Producer>();
  #cachedBytes = 0;
  readonly #changed = new Map<string, Producer>();
  readonly #deleted = new Map<string, number>();
  /** The buckets in which this commit met new producers: when each producer in them was used last. */
  readonly #counted = new Map<number, Map<string, number>>();
  #isReset = false;

  constructor(store: ProducersStore) {
    this.#store = store;
  }

  /** Judges the number of a put. Changes nothing. */
  judge(mark: ProducerMark, messages: PutBatch, nowMs: number): NumberVerdict {
    const { id, epoch, seq } = mark;
    const producer = this.#find(id, nowMs);
    if (producer === undefined) return seq === 1 ? this.#judgeNew(id, nowMs) : refuseGap(mark, 1);
    if (epoch < producer.epoch) return refused({ kind: "stale-producer-epoch", producerId: id, epoch: producer.epoch });
    if (epoch > producer.epoch) return seq === 1 ? NEXT : refuseGap(mark, 1);
    if (seq > producer.lastSeq) return seq === producer.lastSeq + 1 ? NEXT : refuseGap(mark, producer.lastSeq + 1);
    const outcome = producer.outcomes.find(producer.lastSeq - seq);
    const isSame = outcome === undefined || (outcome.count === countOf(messages) && outcome.bytes === bytesOf(messages));
    if (isSame) return { type: "duplicate", outcome };
    const { count } = outcome;
    return refused({ kind: "producer-sequence-reused", producerId: id, epoch, seq, offset: offsetOf(outcome), count });
  }

  /** Notes the outcome of a put that was judged to be the next. */
  note({ id, epoch, seq }: ProducerMark, outcome: PutOutcome, nowMs: number): void {
    const known = this.#find(id, nowMs);
    const producer = known ?? this.#admit(id, nowMs);
    // What changes is not a part of the cache until it is stored.
    this.#uncache(id);
    if (known === undefined || producer.epoch !== epoch) producer.outcomes = new OutcomeWindow();
    producer.epoch = epoch;
    producer.lastSeq = seq;
    producer.usedAtMs = nowMs;
    producer.outcomes.push(outcome);
    this.#changed.set(id, producer);
    this.#counted.get(producer.bucket)?.set(id, nowMs);
  }

  /** Forgets all producers: a life is over. */
  restart(): void {
    this.#cached.clear();
    this.#cachedBytes = 0;
    this.#changed.clear();
    this.#deleted.clear();
    this.#counted.clear();
    this.#isReset = true;
  }

  /** Hands over what has to be written and begins the next commit; undefined when nothing changed. */
  takeChanges(): ProducersChanges | undefined {
    this.#counted.clear();
    if (!this.#isReset && this.#changed.size === 0) return undefined;
    const changes: ProducersChanges = {
      isReset: this.#isReset,
      deletes: Array.from(this.#deleted, ([id, bucket]) => ({ bucket, id })),
      writes: Array.from(this.#changed, ([id, producer]) => packProducer(id, producer)),
    };
    for (const [id, producer] of this.#changed) this.#cache(id, producer);
    this.#changed.clear();
    this.#deleted.clear();
    this.#isReset = false;
    return changes;
  }

  #judgeNew(id: string, nowMs: number): NumberVerdict {
    const bucket = bucketOf(id, LIMITS.producerBuckets);
    const used = this.#count(bucket);
    if (used.size < bucketSize() || used.has(id)) return NEXT;
    const retryAfterMs = LIMITS.producerIdleMsMin - (nowMs - findLongestIdle(used).usedAtMs);
    return retryAfterMs <= 0 ? NEXT : refused({ kind: "too-many-producers", limit: LIMITS.producersMax, retryAfterMs });
  }

  /** Makes room for a new producer and returns it, still without an outcome. */
  #admit(id: string, nowMs: number): Producer {
    const bucket = bucketOf(id, LIMITS.producerBuckets);
    const used = this.#count(bucket);
    // It may be there still, forgotten for its idleness; then it is replaced.
    if (!used.has(id) && used.size >= bucketSize()) {
      const { id: idle } = findLongestIdle(used);
      used.delete(idle);
      this.#uncache(idle);
      this.#changed.delete(idle);
      this.#deleted.set(idle, bucket);
    }
    this.#deleted.delete(id);
    return { bucket, epoch: 0, lastSeq: 0, usedAtMs: nowMs, outcomes: new OutcomeWindow() };
  }

  /** When each producer of a bucket was used last, this commit included. */
  #count(bucket: number): Map<string, number> {
    const counted = this.#counted.get(bucket);
    if (counted !== undefined) return counted;
    const stored = this.#isReset ? [] : this.#store.readBucket(bucket);
    const used = new Map(stored.map(({ id, usedAtMs }) => [id, usedAtMs]));
    for (const [id, producer] of this.#changed) if (producer.bucket === bucket) used.set(id, producer.usedAtMs);
    this.#counted.set(bucket, used);
    return used;
  }

  /** The producer, unless it is unknown or forgotten. */
  #find(id: string, nowMs: number): Producer | undefined {
    const producer = this.#changed.get(id) ?? this.#cached.get(id) ?? this.#read(id);
    return producer === undefined || producer.usedAtMs + LIMITS.producerIdleMs <= nowMs ? undefined : producer;
  }

  #read(id: string): Producer | undefined {
    if (this.#isReset || this.#deleted.has(id)) return undefined;
    const stored = this.#store.read(bucketOf(id, LIMITS.producerBuckets), id);
    if (stored === undefined) return undefined;
    const { bucket, epoch, lastSeq, usedAtMs } = stored;
    const producer: Producer = { bucket, epoch, lastSeq, usedAtMs, outcomes: new OutcomeWindow(stored.outcomes) };
    this.#cache(id, producer);
    return producer;
  }

  #cache(id: string, producer: Producer): void {
    this.#uncache(id);
    this.#cached.set(id, producer);
    this.#cachedBytes += PRODUCER_BYTES + producer.outcomes.byteLength;
    for (const oldest of this.#cached.keys()) {
      if (this.#cachedBytes <= LIMITS.producerCacheBytesMax) return;
      this.#uncache(oldest);
    }
  }

  #uncache(id: string): void {
    const producer = this.#cached.get(id);
    if (producer === undefined) return;
    this.#cached.delete(id);
    this.#cachedBytes -= PRODUCER_BYTES + producer.outcomes.byteLength;
  }
}

function bucketSize(): number {
  return LIMITS.producersMax / LIMITS.producerBuckets;
}

function findLongestIdle(used: ReadonlyMap<string, number>): { readonly id: string; readonly usedAtMs: number } {
  let longest = { id: "", usedAtMs: Number.MAX_SAFE_INTEGER };
  for (const [id, usedAtMs] of used) if (usedAtMs < longest.usedAtMs) longest = { id, usedAtMs };
  return longest;
}

function packProducer(id: string, { bucket, epoch, lastSeq, usedAtMs, outcomes }: Producer): StoredProducer {
  return { id, bucket, epoch, lastSeq, usedAtMs, outcomes: outcomes.encode() };
}

function refuseGap({ id, epoch }: ProducerMark, expectedSeq: number): NumberVerdict {
  return refused({ kind: "producer-sequence-gap", producerId: id, epoch, expectedSeq });
}
