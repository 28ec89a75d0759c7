// What plain readers are sent of a log in one turn: who stands at the same place shares what is read and how it is written.
import { LIMITS } from "../protocol/limits.ts";
import type { Size } from "./admission.ts";
import type { Backlog } from "./backlog.ts";
import { isWanted } from "./filter.ts";
import { browse, type BrowsedPage } from "./log-reading.ts";
import type { PlainReader } from "./subscription.ts";

/** What was read for a reader, and how much it could have been. */
interface SharedPage extends FrameSize {
  readonly page: BrowsedPage;
}

interface FrameSize {
  readonly max: number;
  readonly bytesMax: number;
}

export class SharedPages {
  readonly #backlog: Backlog;
  readonly #byPosition = new Map<number, SharedPage>();

  constructor(backlog: Backlog) {
    this.#backlog = backlog;
  }

  /** Readers at one place without a filter share a page, where all of it is within their credit. */
  read({ position, credit, filter }: PlainReader): BrowsedPage {
    const { max, bytesMax } = frameOf(credit);
    const shared = filter === undefined ? this.#byPosition.get(position) : undefined;
    if (shared !== undefined && isAllFor(shared, { max, bytesMax })) return shared.page;
    const page = browse(this.#backlog, {
      fromOffset: position,
      messagesMax: max,
      bytesMax,
      isWanted: filter && ((message) => isWanted(filter, message)),
    });
    if (filter === undefined && max >= (shared?.max ?? 0)) this.#byPosition.set(position, { page, max, bytesMax });
    return page;
  }
}

/** What one frame may carry. */
export function frameOf({ messages, bytes }: Size): FrameSize {
  return { max: Math.min(messages, LIMITS.streamFrameMessagesMax), bytesMax: Math.min(bytes, LIMITS.replyBytesMax) };
}

/** Whether a page that was read for another is what this one would read: neither more nor less. */
function isAllFor(shared: SharedPage, { max, bytesMax }: FrameSize): boolean {
  const { page } = shared;
  const isWithin = page.selection.count <= max && page.selection.bytes <= bytesMax;
  return isWithin && (page.nextOffset === undefined || (shared.max >= max && shared.bytesMax >= bytesMax));
}
