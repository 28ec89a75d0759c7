// Retention "interest": what every group has done with is not kept any more (SPEC rule GP1).
import type { Backlog } from "./backlog.ts";
import { endOffset } from "./run.ts";

/** How far the groups are; undefined where there is none. */
export interface Progress {
  /** The least head of a group. */
  readonly headOffset: number;
  /** The least offset of a message that a group has not done with, or the next offset. Only asked for where a control record is at the head. */
  readonly findFirstOffset: () => number;
}

export class Interest {
  readonly #backlog: Backlog;
  /** No message is left before this offset; control records may be. */
  #endedBefore = 0;

  constructor(backlog: Backlog) {
    this.#backlog = backlog;
  }

  /** Gives up what all groups have done with. */
  giveUpDone({ headOffset, findFirstOffset }: Progress): void {
    const backlog = this.#backlog;
    if (headOffset > backlog.headOffset) backlog.trim(({ offset }) => offset < headOffset, "acked");
    // A control record that a group was not told of stays, and holds its head back: only behind one can there be more.
    if (!this.#isControlAtHead) return;
    const beforeOffset = findFirstOffset();
    this.#endMessages(Math.max(this.#endedBefore, backlog.headOffset), beforeOffset);
    this.#endedBefore = beforeOffset;
  }

  /** A new life begins, with offsets from 1. */
  clear(): void {
    this.#endedBefore = 0;
  }

  get #isControlAtHead(): boolean {
    const { headOffset } = this.#backlog;
    const run = this.#backlog.runFrom(headOffset);
    return run?.firstOffset !== undefined && run.firstOffset <= headOffset && run.isControl(headOffset - run.firstOffset);
  }

  #endMessages(fromOffset: number, beforeOffset: number): void {
    const backlog = this.#backlog;
    let from = fromOffset;
    for (let run = backlog.runFrom(from); run !== undefined && run.firstOffset < beforeOffset; run = backlog.runFrom(from)) {
      const end = Math.min(endOffset(run), beforeOffset);
      const start = Math.max(run.firstOffset, from);
      backlog.finishAll(
        Array.from({ length: Math.max(0, end - start) }, (_, index) => start + index),
        "acked",
      );
      from = endOffset(run);
    }
  }
}
