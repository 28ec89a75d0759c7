// What plain readers were sent, also over connections that were lost, where they went on by the tokens that they were told: each record of
// a log once and in order (SB5, SB7), and never more than the credit (SB2). Nothing here asks the model.
import type { Delivered, OperationOf, Origin, Outcome } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { Message } from "../../src/protocol/message.ts";
import { expectHolds } from "./failure.ts";

/** What one reader has seen of a log. */
interface Reading {
  /** Where it began, and up to where it was told. */
  readonly startOffset: number;
  readonly position: number;
  readonly seen: ReadonlySet<number>;
  /** Whether it wants all that is there. */
  readonly isWhole: boolean;
}

interface Subscribed {
  readonly credit: number;
  /** Undefined for members and taps. */
  readonly reading: Reading | undefined;
}

const REMEMBERED_TOKENS = 12;

export class Readings {
  readonly #subscribed = new Map<string, Subscribed>();
  /** By the token with which it goes on. Of all lives: clients keep tokens of lives that are over. */
  readonly #byToken = new Map<string, Reading>();

  get tokens(): readonly string[] {
    return [...this.#byToken.keys()];
  }

  /** What reached who asked, or who is subscribed. */
  note(operation: OperationOf<"subscribe" | "credit"> | undefined, origin: Origin, outcome: Outcome): void {
    const name = nameOf(origin);
    if (outcome.type === "subscribed" && operation?.type === "subscribe") {
      const { messages } = operation.credit;
      const reading = outcome.resume === undefined ? undefined : this.#begin(operation, outcome.resume);
      this.#subscribed.set(name, { credit: Math.min(messages, LIMITS.creditMessagesMax), reading });
    }
    const found = this.#subscribed.get(name);
    if (outcome.type === "credited" && operation?.type === "credit" && found !== undefined) {
      const credit = Math.min(found.credit + operation.credit.messages, LIMITS.creditMessagesMax);
      this.#subscribed.set(name, { ...found, credit });
    }
    if (outcome.type === "delivered") this.#noteDelivered(name, outcome);
    if (outcome.type === "ended") this.#subscribed.delete(name);
  }

  forgetConnection(connection: number): void {
    for (const name of this.#subscribed.keys()) if (name.startsWith(`${connection}/`)) this.#subscribed.delete(name);
  }

  /** A token of this life is good for all of it. */
  noteRefused({ target }: OperationOf<"subscribe">, outcome: Outcome, life: string): void {
    if (target.type !== "reader" || !("resume" in target.from) || outcome.type !== "refused") return;
    const { resume } = target.from;
    const isLost = outcome.refusal.kind === "resume-lost" && this.#byToken.has(resume) && resume.startsWith(`${life}.`);
    expectHolds(!isLost, `[SB7] the token ${resume} was told in this life, and is refused`);
  }

  /** What is there and lies before the place of a reader, it was sent. */
  check(kept: readonly Message[]): void {
    for (const [name, { reading }] of this.#subscribed) {
      if (reading?.isWhole !== true) continue;
      const { startOffset, position, seen } = reading;
      const missed = kept.find(({ offset }) => offset >= startOffset && offset < position && !seen.has(offset));
      expectHolds(missed === undefined, `[SB5] ${name} was not sent the message at ${missed?.offset}`);
    }
  }

  /** A life ended: what was read of it says nothing of the next. */
  beginLife(): void {
    this.#subscribed.clear();
    for (const token of this.tokens) this.#byToken.set(token, NOTHING_READ);
  }

  #begin({ target }: OperationOf<"subscribe">, token: string): Reading | undefined {
    if (target.type !== "reader") return undefined;
    const isWhole = target.filter === undefined;
    const position = offsetOf(token);
    const isResumed = "resume" in target.from;
    if (isResumed) expectHolds(token === target.from.resume, `[SB7] reading goes on at ${token}`);
    const earlier = isResumed ? this.#byToken.get(token) : undefined;
    const reading: Reading =
      earlier?.isWhole === true && isWhole
        ? { ...earlier, position, seen: new Set([...earlier.seen].filter((offset) => offset < position)) }
        : { startOffset: position, position, seen: new Set(), isWhole };
    this.#remember(token, reading);
    return reading;
  }

  #noteDelivered(name: string, { messages, controls, resume, gap }: Delivered): void {
    const found = this.#subscribed.get(name);
    expectHolds(found !== undefined, `[SB8] ${name} is sent a frame and is not subscribed`);
    if (found === undefined) return;
    const credit = found.credit - messages.length;
    expectHolds(credit >= 0, `[SB2] ${name} was sent ${messages.length} messages with a credit of ${found.credit}`);
    this.#subscribed.set(name, { ...found, credit });
    const { reading } = found;
    if (reading === undefined || resume === undefined) {
      expectHolds(resume === undefined && gap === undefined, `[SB7] ${name} is told a place, and it reads no log`);
      return;
    }
    const position = offsetOf(resume);
    const offsets = [...messages, ...controls].map(({ offset }) => offset);
    for (const offset of offsets) {
      const isInPlace = offset >= Math.max(reading.position, (gap?.toOffset ?? 0) + 1) && offset < position;
      expectHolds(
        isInPlace && !reading.seen.has(offset),
        `[SB5] ${name} is sent ${offset} between ${reading.position} and ${resume}`,
      );
    }
    const isOrdered = messages.every(({ offset }, index) => offset > (messages[index - 1]?.offset ?? 0));
    expectHolds(isOrdered, `[SB5] ${name} is sent ${offsets.join(", ")}`);
    expectHolds(gap === undefined || gap.fromOffset <= gap.toOffset, `[SB5] ${name} is told of a gap of nothing`);
    const moved: Reading = { ...reading, position, seen: new Set([...reading.seen, ...offsets]) };
    this.#subscribed.set(name, { credit, reading: moved });
    this.#remember(resume, moved);
  }

  #remember(token: string, reading: Reading): void {
    this.#byToken.delete(token);
    this.#byToken.set(token, reading);
    for (const oldest of this.#byToken.keys()) if (this.#byToken.size > REMEMBERED_TOKENS) this.#byToken.delete(oldest);
  }
}

/** Of a life that is over. */
const NOTHING_READ: Reading = { startOffset: 1, position: 1, seen: new Set(), isWhole: false };

function nameOf({ connection, request }: Origin): string {
  return `${connection}/${request}`;
}

function offsetOf(token: string): number {
  return Number(token.slice(token.lastIndexOf(".") + 1));
}
