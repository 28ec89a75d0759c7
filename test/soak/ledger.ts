// What plain readers were given, beside what they should have been given: each message once, and in order.
import type { ReceivedMessage } from "../../src/client/index.ts";

/** Every message of a key stands so many behind the one before it. */
export const KEYS = 64;
const FAULTS_KEPT = 20;

/** Every other message has a key. */
export function makeMessage(index: number): { readonly body: string; readonly key: string | undefined } {
  return { body: `${index} ${"x".repeat(index % 200)}`, key: index % 2 === 0 ? `k${index % KEYS}` : undefined };
}

/** Which message it is, as `makeMessage` made it. */
export function indexOf({ body }: ReceivedMessage): number {
  return Number.parseInt(typeof body === "string" ? body : "", 10);
}

/** What must not be: counted by kind, with some examples. */
export class Faults {
  readonly counts = { lost: 0, twice: 0, outOfOrder: 0 };
  readonly examples: string[] = [];

  add(kind: keyof Faults["counts"], example: string, count = 1): void {
    if (count === 0) return;
    this.counts[kind] += count;
    if (this.examples.length < FAULTS_KEPT) this.examples.push(example);
  }

  get total(): number {
    const { lost, twice, outOfOrder } = this.counts;
    return lost + twice + outOfOrder;
  }
}

/** A plain reader is given each message once, and in order. */
export class ReaderLedger {
  readonly #name: string;
  readonly #faults: Faults;
  #offset = 0;
  /** The message that has to come next. */
  next = 0;

  constructor(name: string, faults: Faults) {
    this.#name = name;
    this.#faults = faults;
  }

  take(message: ReceivedMessage): void {
    const index = indexOf(message);
    const what = `${this.#name} was given message ${index} at offset ${message.offset} where ${this.next} was due`;
    if (index > this.next) this.#faults.add("lost", what, index - this.next);
    if (index < this.next) this.#faults.add("twice", what);
    else this.next = index + 1;
    if (message.offset <= this.#offset) this.#faults.add("outOfOrder", what);
    this.#offset = message.offset;
  }

  finish(messages: number): void {
    this.#faults.add("lost", `${this.#name} was not given the last ${messages - this.next} messages`, messages - this.next);
  }
}
