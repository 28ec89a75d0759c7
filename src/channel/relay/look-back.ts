// Pages for readers that stand before the tail of a relay: one subscription that goes to where somebody lacks something, and on from there.
import { LIMITS } from "../../protocol/limits.ts";
import type { Size } from "../admission.ts";
import { askFrom, type Followed } from "./link-frames.ts";
import type { LinkUse } from "./live.ts";
import { Tail, type RelayedPage } from "./tail.ts";

function pageCredit(): Size {
  return { messages: LIMITS.streamFrameMessagesMax, bytes: LIMITS.relayPageBytes };
}

interface Subscribed {
  readonly id: number;
  /** What is still to come of the page. */
  credit: Size;
}

export class LookBack {
  readonly #link: LinkUse;
  #subscribed: Subscribed | undefined;
  #tail: Tail | undefined;

  constructor(link: LinkUse) {
    this.#link = link;
  }

  /** The last page, or what came of it so far. */
  get tail(): Tail | undefined {
    return this.#tail;
  }

  /** Whether more of a page is on its way, of what lies before the tail of the newest, which begins at `endOffset`. */
  isBusy(endOffset: number): boolean {
    const { messages = 0, bytes = 0 } = this.#subscribed?.credit ?? {};
    return messages > 0 && bytes > 0 && (this.#tail?.nextOffset ?? endOffset) < endOffset;
  }

  is(id: number): boolean {
    return this.#subscribed?.id === id;
  }

  /** Whether a reader at `position` can be sent something of the page. */
  reaches(position: number): boolean {
    return this.#tail !== undefined && position < this.#tail.nextOffset && this.#tail.covers(position);
  }

  add(id: number, page: RelayedPage, size: Size): void {
    if (this.#subscribed?.id !== id) return;
    this.#tail?.add(page);
    const { messages, bytes } = this.#subscribed.credit;
    this.#subscribed.credit = { messages: messages - size.messages, bytes: bytes - size.bytes };
  }

  /**
   * Asks for the next page, where readers with credit stand at `positions` before the tail: the next after the last one, else the first of
   * all, so that each has its turn. Without any it ends. `endOffset`: where the tail begins.
   */
  seek(positions: readonly number[], endOffset: number, followed: Followed): void {
    if (this.isBusy(endOffset)) return;
    const needed = positions.filter((position) => !this.reaches(position));
    const at = this.#tail?.nextOffset ?? 0;
    const ahead = needed.filter((position) => position >= at);
    const next = (ahead.length > 0 ? ahead : needed).reduce((least, position) => Math.min(least, position), Infinity);
    if (next === Infinity) this.drop();
    else if (this.#subscribed !== undefined && next === at) {
      const { messages, bytes } = this.#subscribed.credit;
      const page = pageCredit();
      this.#subscribed.credit = { messages: messages + page.messages, bytes: bytes + page.bytes };
      this.#link.ask({ type: "credit", id: this.#subscribed.id, ...page });
    } else {
      this.drop();
      const id = this.#link.drawId();
      const credit = pageCredit();
      this.#subscribed = { id, credit };
      this.#tail = new Tail(next, 2 * LIMITS.relayPageBytes);
      this.#link.ask({ type: "subscribe", id, credit, ...askFrom(followed, next) });
    }
  }

  /** The channel knows nothing of it any more. */
  end(): void {
    this.#subscribed = undefined;
  }

  drop(): void {
    if (this.#subscribed !== undefined) this.#link.ask({ type: "unsubscribe", id: this.#subscribed.id });
    this.#subscribed = undefined;
    this.#tail = undefined;
  }
}
