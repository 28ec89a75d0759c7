// How much may lie here or be on the way, and how much of it was worked off and may come again.
import type { Credit } from "./socket-streams.ts";

/** So much of the window is given back in one frame, unless more is needed at once. */
export const GRANTED_PART = 1 / 4;

export class CreditWindow {
  #max: Credit;
  #heldMessages = 0;
  #heldBytes = 0;
  #owedMessages = 0;
  #owedBytes = 0;

  constructor(max: Credit) {
    this.#max = max;
  }

  /** Takes in what came in one piece, and says how many bytes each of its messages stands for: which has how many, nobody tells. */
  hold(count: number, bytes: number): (index: number) => number {
    this.#heldMessages += count;
    this.#heldBytes += bytes;
    const share = Math.floor(bytes / count);
    return (index) => (index === 0 ? bytes - share * (count - 1) : share);
  }

  /** One message is worked off. */
  free(bytes: number): void {
    this.#heldMessages--;
    this.#heldBytes -= bytes;
    this.#owedMessages++;
    this.#owedBytes += bytes;
  }

  /** From now on so many messages may lie here or be on the way. What was granted beyond that is worked off first. */
  resize(messages: number): void {
    this.#owedMessages += messages - this.#max.messages;
    this.#max = { ...this.#max, messages };
  }

  /** What is to be granted now, if anything; `isHungry` where nothing is left to work on. */
  takeOwed(isHungry: boolean): Credit | undefined {
    const owed = { messages: Math.max(0, this.#owedMessages), bytes: this.#owedBytes };
    const { messages, bytes } = this.#max;
    const isMuch = owed.messages >= messages * GRANTED_PART || owed.bytes >= bytes * GRANTED_PART;
    const isAnything = owed.messages > 0 || owed.bytes > 0;
    if (!isMuch && (!isHungry || !isAnything)) return undefined;
    this.#owedMessages -= owed.messages;
    this.#owedBytes = 0;
    return owed;
  }

  /** All that may come on a new connection: nothing is owed any more. */
  takeAll(): Credit {
    this.#owedMessages = this.#owedBytes = 0;
    const { messages, bytes } = this.#max;
    return { messages: Math.max(0, messages - this.#heldMessages), bytes: Math.max(0, bytes - this.#heldBytes) };
  }
}
