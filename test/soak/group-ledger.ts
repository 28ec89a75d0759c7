// What the members of a group were given and acked: each message acked once, and those of one key in order.
import {
  EdgeChannelError,
  type Channel,
  type LeasedMessage,
  type SettleReport,
  type SettleRequest,
} from "../../src/client/index.ts";
import { listLeaseIds } from "../../src/protocol/lease-run.ts";
import { type Faults, indexOf, KEYS } from "./ledger.ts";

/** A call that carries acks, from a member. */
interface AckCall {
  readonly name: string;
  /** What each entry of its acks names. */
  readonly entries: readonly (readonly LeasedMessage[])[];
  /** On the ledger's own clock, which counts what happens. */
  readonly beganAt: number;
}

const NEVER = Infinity;

/**
 * A group has each message acked once, and those of one key in order. What it is given may come again before that. An ack counts once the
 * service accepted it. One that was repeated, since its answer was lost, may only be told that the message is done: by its own first try, or by
 * a reader who had it meanwhile, which nobody can tell apart.
 *
 * Two members have a connection each, and what comes on one says nothing of when it was sent on the other. So these are faults: a message
 * is given to somebody before an ack of the one before it of its key was sent; and a call whose ack is accepted began after that of a later
 * message of its key was answered. An ack that is accepted while one of the message before it is on its way tells nothing. Each fault
 * tells what happened to both messages.
 */
export class GroupLedger {
  readonly #faults: Faults;
  readonly #isAckSent: Uint8Array;
  readonly #isDone: Uint8Array;
  /** When the ack of each message was answered that was accepted. */
  readonly #acceptedAt: Float64Array;
  readonly #notes = new Map<number, string[]>();
  /** What was given, by lease: it may come again under the same one. */
  readonly #given = new Map<string, LeasedMessage>();
  readonly #startedAtMs = performance.now();
  #clock = 0;
  #members = 0;
  #calls = 0;
  done = 0;
  accepted = 0;
  deliveries = 0;
  /** Acks that were refused, since the lease was lost with its connection. */
  refused = 0;

  constructor(messages: number, faults: Faults) {
    this.#faults = faults;
    this.#isAckSent = new Uint8Array(messages);
    this.#isDone = new Uint8Array(messages);
    this.#acceptedAt = new Float64Array(messages).fill(NEVER);
  }

  /** A member joins by a channel of its own, and looks on at what that settles. Returns what the member does with a message. */
  join({ transport }: Channel): (message: LeasedMessage) => Promise<void> {
    const member = `member ${++this.#members}`;
    const settle = transport.settle.bind(transport);
    transport.settle = async (request, options) => {
      const call = this.#begin(request, member);
      try {
        const report = await settle(request, options);
        this.#conclude(call, report);
        return report;
      } catch (error) {
        for (const message of call.entries.flat()) this.#note(message, `${call.name} failed: ${String(error)}`);
        throw error;
      }
    };
    return (message) => this.#work(message, member);
  }

  async #work(message: LeasedMessage, member: string): Promise<void> {
    this.deliveries++;
    this.#given.set(message.leaseId, message);
    this.#note(message, `given to ${member}, attempt ${message.attempt}, lease ${message.leaseId}`);
    const index = indexOf(message);
    const before = index - KEYS;
    if (message.key !== undefined && this.#isAckSent[before] === 0)
      this.#tellOrder(
        before,
        index,
        `Message ${index} was given before an ack was sent of ${before}, the one before it of key ${message.key}`,
      );
    try {
      await message.ack();
      this.#finish(index);
    } catch (error) {
      if (!(error instanceof EdgeChannelError) || error.origin !== "server") throw error;
      this.refused++;
      // Where an earlier one of its key is not done it is still held.
      if (error.kind === "out-of-order") await message.release().catch(() => undefined);
    }
  }

  #begin({ acks = [] }: SettleRequest, member: string): AckCall {
    const name = `call ${++this.#calls} of ${member}`;
    const entries = acks.map((entry) => listLeaseIds(entry).map((leaseId) => this.#findGiven(leaseId)));
    for (const message of entries.flat()) {
      this.#isAckSent[indexOf(message)] = 1;
      this.#note(message, `ack sent with ${name}`);
    }
    return { name, entries, beganAt: ++this.#clock };
  }

  #findGiven(leaseId: string): LeasedMessage {
    const message = this.#given.get(leaseId);
    if (message === undefined) throw new Error(`An ack was sent of ${leaseId}, which nobody was given`);
    return message;
  }

  #conclude({ name, entries, beganAt }: AckCall, { refused }: Pick<SettleReport, "refused">): void {
    this.#clock++;
    for (const [place, messages] of entries.entries()) {
      const problems = refused.filter(({ pointer }) => pointer === `/acks/${place}/leaseId`).map(({ problem }) => problem);
      for (const message of messages) {
        const problem = problems.find((one) => "offset" in one && one.offset === message.offset);
        this.#note(message, `${name} answered: ${problem === undefined ? "accepted" : problem.detail}`);
        if (problem === undefined) this.#accept(message, beganAt);
      }
    }
  }

  #accept(message: LeasedMessage, beganAt: number): void {
    const index = indexOf(message);
    if (this.#acceptedAt[index] !== NEVER)
      this.#faults.add("twice", `Two acks of message ${index}, offset ${message.offset}, were accepted\n${this.#tell(index)}`);
    else this.accepted++;
    this.#acceptedAt[index] = this.#clock;
    this.#finish(index);
    if (message.key === undefined) return;
    for (let later = index + KEYS; later < this.#acceptedAt.length; later += KEYS) {
      if ((this.#acceptedAt[later] ?? NEVER) >= beganAt) continue;
      this.#tellOrder(
        index,
        later,
        `An ack of message ${index} of key ${message.key} was accepted that was sent after that of ${later} was`,
      );
      return;
    }
  }

  #finish(index: number): void {
    if (this.#isDone[index] === 0) this.done++;
    this.#isDone[index] = 1;
  }

  /** When all is over. */
  finish(): void {
    for (const [index, isDone] of this.#isDone.entries()) {
      if (isDone === 0) this.#faults.add("lost", `The group was never done with message ${index}\n${this.#tell(index)}`);
    }
  }

  #tellOrder(earlier: number, later: number, what: string): void {
    this.#faults.add("outOfOrder", [what, this.#tell(earlier), this.#tell(later)].join("\n"));
  }

  #note(message: LeasedMessage, what: string): void {
    const index = indexOf(message);
    const notes = this.#notes.get(index) ?? [];
    this.#notes.set(index, notes);
    notes.push(`    ${(performance.now() - this.#startedAtMs).toFixed(1)} ms: ${what}`);
  }

  #tell(index: number): string {
    return [`  message ${index}:`, ...(this.#notes.get(index) ?? ["    never given to anybody"])].join("\n");
  }
}
