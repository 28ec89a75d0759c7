// What readers were given, beside what they should have been given: each message once, and in order.
import { type Channel, EdgeChannelError, type LeasedMessage, type ReceivedMessage } from "../../src/client/index.ts";

const KEYS = 64;
const FAULTS_KEPT = 20;

/** Every other message has a key. */
export function makeMessage(index: number): { readonly body: string; readonly key: string | undefined } {
  return { body: `${index} ${"x".repeat(index % 200)}`, key: index % 2 === 0 ? `k${index % KEYS}` : undefined };
}

function indexOf({ body }: ReceivedMessage): number {
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

/**
 * A group has each message acked once, and those of one key in order. What it is given may come again before that. An ack counts once the
 * service accepted it. One that was repeated, since its answer was lost, may only be told that the message is done: by its own first try, or by
 * a reader who had it meanwhile, which nobody can tell apart.
 */
export class GroupLedger {
  readonly #faults: Faults;
  readonly #isAccepted: Uint8Array;
  readonly #isDone: Uint8Array;
  readonly #lastOfKey = new Map<string, number>();
  /** What is held, by lease. */
  readonly #held = new Map<string, LeasedMessage>();
  done = 0;
  accepted = 0;
  deliveries = 0;
  /** Acks that were refused, since the lease was lost with its connection. */
  refused = 0;

  constructor(messages: number, faults: Faults) {
    this.#faults = faults;
    this.#isAccepted = new Uint8Array(messages);
    this.#isDone = new Uint8Array(messages);
  }

  /** What each member does with a message. */
  readonly work = async (message: LeasedMessage): Promise<void> => {
    this.deliveries++;
    this.#held.set(message.leaseId, message);
    try {
      await message.ack();
      this.#finish(message);
    } catch (error) {
      if (!(error instanceof EdgeChannelError) || error.origin !== "server") throw error;
      this.refused++;
      // Where an earlier one of its key is not done it is still held.
      if (error.kind === "out-of-order") await message.release().catch(() => undefined);
    } finally {
      this.#held.delete(message.leaseId);
    }
  };

  /** Looks on at what a member's channel settles. */
  watch({ transport }: Channel): void {
    const settle = transport.settle.bind(transport);
    transport.settle = async (request, options) => {
      const report = await settle(request, options);
      const refused = new Set(report.refused.map(({ pointer }) => pointer));
      for (const [index, { leaseId }] of (request.acks ?? []).entries()) {
        if (!refused.has(`/acks/${index}/leaseId`)) this.#accept(this.#held.get(leaseId));
      }
      return report;
    };
  }

  #accept(message: LeasedMessage | undefined): void {
    if (message === undefined) throw new Error("An ack was accepted of a message that nobody held");
    const index = indexOf(message);
    if (this.#isAccepted[index] === 1)
      this.#faults.add("twice", `Two acks of message ${index}, offset ${message.offset}, were accepted`);
    else this.accepted++;
    this.#isAccepted[index] = 1;
    this.#finish(message);
    this.#checkOrder(index, message.key);
  }

  #finish(message: LeasedMessage): void {
    const index = indexOf(message);
    if (this.#isDone[index] === 0) this.done++;
    this.#isDone[index] = 1;
  }

  /** When an ack was accepted whose answer was lost, nobody knows: only the others are compared. */
  #checkOrder(index: number, key: string | undefined): void {
    if (key === undefined) return;
    const last = this.#lastOfKey.get(key) ?? -1;
    if (index < last)
      this.#faults.add("outOfOrder", `The ack of message ${index} of key ${key} was accepted behind that of ${last}`);
    this.#lastOfKey.set(key, Math.max(last, index));
  }

  finish(): void {
    for (const [index, isDone] of this.#isDone.entries()) {
      if (isDone === 0) this.#faults.add("lost", `The group was never done with message ${index}`);
    }
  }
}
