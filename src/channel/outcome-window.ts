// The outcomes of the last puts of one producer, packed as they are stored.
import { assert } from "../base/assert.ts";
import { LIMITS } from "../protocol/limits.ts";
import { pushVarint, VarintReader } from "./varints.ts";

/** What became of one accepted put. */
export interface PutOutcome {
  /** Of the first message that entered at once, or the next one where none did. */
  readonly offset: number;
  /** Messages that entered at once: the others were delayed. */
  readonly entered: number;
  /** All messages of the put. */
  readonly count: number;
  /** Message bytes: with the count they tell a retry from another put with the same number. */
  readonly bytes: number;
}

/** The offset that a put answers; null when it had messages and none of them entered at once. */
export function offsetOf({ offset, entered, count }: Pick<PutOutcome, "offset" | "entered" | "count">): number | null {
  return entered === 0 && count > 0 ? null : offset;
}

/** Puts of the same size at offsets that follow each other. */
interface OutcomeRun extends PutOutcome {
  /** How many puts; the outcome is that of the first. */
  readonly length: number;
}

/**
 * Background: a producer's row is written by every commit with puts of it, and holds up to 1,024 outcomes. Objects for each of them
 * would be 100 KB a producer in memory, and packing them anew for every commit would cost more than the commit. So all runs but the
 * last stay packed as they are stored, only ever appended to and cut off in front, and the last run, which most puts lengthen, lies
 * beside them. A steady producer has a single run of four numbers.
 *
 * Packed: the offset that the first gap counts from, then of each run: its length twice, plus one if messages were delayed, count, how
 * many entered if some were delayed, bytes, and the gap between the end of the run before and its offset. Offsets only rise within a
 * life, so gaps are not negative.
 */
export class OutcomeWindow {
  /** The closed runs are `packed[start..end]`. */
  #packed: Uint8Array;
  #start = 0;
  #end = 0;
  /** Where the first closed run's gap counts from, and where the last one ends. */
  #startOffset = 0;
  #endOffset = 0;
  #closedPuts = 0;
  #last: OutcomeRun | undefined;

  /** `packed` is what `encode` returned. */
  constructor(packed?: Uint8Array) {
    this.#packed = packed?.slice() ?? new Uint8Array(0);
    if (packed === undefined) return;
    const reader = new VarintReader(this.#packed);
    this.#startOffset = this.#endOffset = reader.read();
    this.#start = this.#end = reader.position;
    while (!reader.isAtEnd) {
      if (this.#last !== undefined) this.#countClosed(this.#last);
      this.#end = reader.position;
      this.#last = readRun(reader, this.#endOffset);
    }
  }

  /** How many bytes of memory it takes, about. */
  get byteLength(): number {
    return this.#packed.byteLength;
  }

  /** Adds the outcome of the put after the last one. */
  push(outcome: PutOutcome): void {
    const last = this.#last;
    if (last !== undefined && isNextOf(last, outcome)) {
      this.#last = { ...last, length: last.length + 1 };
    } else {
      if (last !== undefined) this.#close(last);
      this.#last = { ...outcome, length: 1 };
    }
    this.#cutFront();
  }

  /** The outcome of the put that came `age` puts before the last one; undefined when it is not kept any more. */
  find(age: number): PutOutcome | undefined {
    if (age >= LIMITS.producerOutcomesMax || this.#last === undefined) return undefined;
    if (age < this.#last.length) return outcomeAt(this.#last, this.#last.length - 1 - age);
    const fromStart = this.#closedPuts + this.#last.length - 1 - age;
    const reader = new VarintReader(this.#packed, this.#start);
    let before = 0;
    for (let offset = this.#startOffset; reader.position < this.#end;) {
      const run = readRun(reader, offset);
      if (fromStart >= before && fromStart < before + run.length) return outcomeAt(run, fromStart - before);
      before += run.length;
      offset = endOf(run);
    }
    return undefined;
  }

  encode(): Uint8Array<ArrayBuffer> {
    const head: number[] = [];
    const tail: number[] = [];
    pushVarint(head, this.#startOffset);
    if (this.#last !== undefined) pushRun(tail, this.#last, this.#endOffset);
    const closedBytes = this.#end - this.#start;
    const bytes = new Uint8Array(head.length + closedBytes + tail.length);
    bytes.set(head);
    bytes.set(this.#packed.subarray(this.#start, this.#end), head.length);
    bytes.set(tail, head.length + closedBytes);
    assert(bytes.byteLength <= LIMITS.producerOutcomesBytesMax, "the outcomes of a producer fit their row");
    return bytes;
  }

  #close(run: OutcomeRun): void {
    const bytes: number[] = [];
    pushRun(bytes, run, this.#endOffset);
    this.#reserve(bytes.length);
    this.#packed.set(bytes, this.#end);
    this.#end += bytes.length;
    this.#countClosed(run);
  }

  #countClosed(run: OutcomeRun): void {
    this.#closedPuts += run.length;
    this.#endOffset = endOf(run);
  }

  /** Drops runs that lie wholly outside the window. Ends: each step moves the start, and the last run stays. */
  #cutFront(): void {
    while (this.#start < this.#end) {
      const reader = new VarintReader(this.#packed, this.#start);
      const run = readRun(reader, this.#startOffset);
      if (this.#closedPuts - run.length + (this.#last?.length ?? 0) < LIMITS.producerOutcomesMax) return;
      this.#start = reader.position;
      this.#startOffset = endOf(run);
      this.#closedPuts -= run.length;
    }
  }

  #reserve(more: number): void {
    if (this.#end + more <= this.#packed.byteLength) return;
    const used = this.#packed.subarray(this.#start, this.#end);
    const grown = new Uint8Array(Math.max(64, (used.byteLength + more) * 2));
    grown.set(used);
    this.#packed = grown;
    this.#end = used.byteLength;
    this.#start = 0;
  }
}

function isNextOf(run: OutcomeRun, { offset, entered, count, bytes }: PutOutcome): boolean {
  return offset === endOf(run) && entered === run.entered && count === run.count && bytes === run.bytes;
}

function endOf({ offset, entered, length }: OutcomeRun): number {
  return offset + entered * length;
}

function outcomeAt({ offset, entered, count, bytes }: OutcomeRun, place: number): PutOutcome {
  return { offset: offset + entered * place, entered, count, bytes };
}

function pushRun(bytes: number[], run: OutcomeRun, endOffset: number): void {
  const hasDelayed = run.entered < run.count;
  pushVarint(bytes, 2 * run.length + Number(hasDelayed));
  pushVarint(bytes, run.count);
  if (hasDelayed) pushVarint(bytes, run.entered);
  pushVarint(bytes, run.bytes);
  pushVarint(bytes, run.offset - endOffset);
}

function readRun(reader: VarintReader, endOffset: number): OutcomeRun {
  const marked = reader.read();
  const count = reader.read();
  const entered = marked % 2 === 1 ? reader.read() : count;
  return { length: Math.floor(marked / 2), count, entered, bytes: reader.read(), offset: endOffset + reader.read() };
}
