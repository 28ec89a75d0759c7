// The subscription of a relay that follows the channel, and the tail of what it brought.
import { LIMITS } from "../../protocol/limits.ts";
import type { Refusal } from "../../protocol/problems.ts";
import type { Size } from "../admission.ts";
import { askFrom, type Followed, type LinkAsk } from "./link-frames.ts";
import { Tail, type RelayedPage } from "./tail.ts";

export interface LinkUse {
  readonly ask: (frame: LinkAsk) => void;
  /** A number for a subscription of the link. */
  readonly drawId: () => number;
}

/** What is on the way at most. */
function fullCredit(): Size {
  return { messages: LIMITS.creditMessagesMax, bytes: LIMITS.relayCreditBytes };
}

export class Live {
  readonly #link: LinkUse;
  #id: number | undefined;
  #tail: Tail | undefined;
  /** What the channel may still send. */
  #credit: Size = { messages: 0, bytes: 0 };
  #isOpen = false;
  #endedBy: Refusal | undefined;

  constructor(link: LinkUse) {
    this.#link = link;
  }

  /** What it brought; undefined while nobody knows where to begin. */
  get tail(): Tail | undefined {
    return this.#tail;
  }

  /** Whether the channel has accepted it. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether the channel has none of it. */
  get isAway(): boolean {
    return this.#id === undefined;
  }

  /** Why nothing comes behind the tail any more. */
  get endedBy(): Refusal | undefined {
    return this.#endedBy;
  }

  is(id: number): boolean {
    return this.#id === id;
  }

  covers(position: number): boolean {
    return this.#tail?.covers(position) === true;
  }

  /** Subscribes from `position` on, with an empty tail. */
  begin(followed: Followed, position: number): void {
    if (this.#id !== undefined) this.#link.ask({ type: "unsubscribe", id: this.#id });
    this.#tail = new Tail(position, LIMITS.relayTailBytes);
    this.#subscribe(followed, position);
  }

  /** Subscribes from where the tail ends; does nothing where it is subscribed. */
  resume(followed: Followed): void {
    if (this.#tail !== undefined && this.#id === undefined) this.#subscribe(followed, this.#tail.nextOffset);
  }

  open(): void {
    this.#isOpen = true;
  }

  add(page: RelayedPage, size: Size): void {
    this.#tail?.add(page);
    this.#credit = { messages: this.#credit.messages - size.messages, bytes: this.#credit.bytes - size.bytes };
  }

  /** Fills up the credit where half of it is used. */
  grant(): void {
    const { messages, bytes } = this.#credit;
    const full = fullCredit();
    if (!this.#isOpen || this.#id === undefined || (messages > full.messages / 2 && bytes > full.bytes / 2)) return;
    this.#link.ask({ type: "credit", id: this.#id, messages: full.messages - messages, bytes: full.bytes - bytes });
    this.#credit = full;
  }

  part(): void {
    this.#isOpen = false;
    if (this.#id !== undefined) this.#link.ask({ type: "unsubscribe", id: this.#id });
  }

  /** The channel has confirmed that nothing follows. */
  notePart(): void {
    this.#id = undefined;
  }

  /** The channel is closed: the tail is its end. */
  close(refusal: Refusal): void {
    this.#id = undefined;
    this.#isOpen = false;
    this.#endedBy = refusal;
  }

  /** The link is down. */
  cut(): void {
    this.#id = undefined;
    this.#isOpen = false;
    this.#endedBy = undefined;
  }

  drop(): void {
    if (this.#id !== undefined) this.#link.ask({ type: "unsubscribe", id: this.#id });
    this.cut();
    this.#tail = undefined;
  }

  #subscribe(followed: Followed, position: number): void {
    this.#id = this.#link.drawId();
    this.#credit = fullCredit();
    this.#isOpen = false;
    this.#endedBy = undefined;
    this.#link.ask({ type: "subscribe", id: this.#id, credit: this.#credit, ...askFrom(followed, position) });
  }
}
