// What plain readers are sent of a log in one turn: who stands at the same place shares what is read and how it is written.
import { LIMITS } from "../protocol/limits.ts";
import { formatResume } from "../protocol/stream-frames.ts";
import type { Size } from "./admission.ts";
import { isWanted } from "./filter.ts";
import { browse, findGap, type BrowsableLog, type BrowsedPage } from "./log-reading.ts";
import type { Delivered } from "./operation.ts";
import { withMessages } from "./selection.ts";
import type { PlainReader } from "./subscription.ts";

/** What was read for a reader, and how much it could have been. */
interface SharedPage extends FrameSize {
  readonly page: BrowsedPage;
}

interface FrameSize {
  readonly max: number;
  readonly bytesMax: number;
}

export interface ServedPage {
  /** The reader where it stands then; its credit is as it was. */
  readonly moved: PlainReader;
  /** Undefined where it has to be told nothing. */
  readonly delivered: Delivered | undefined;
  /** Whether more is there. */
  readonly isCut: boolean;
}

export class SharedPages {
  readonly #log: BrowsableLog;
  readonly #byPosition = new Map<number, SharedPage>();
  /** What those were sent who were served a page: it is of one position, so that it is the same for all of them. */
  readonly #told = new Map<BrowsedPage, Delivered>();
  readonly #toldToTaps = new Map<BrowsedPage, Delivered>();

  constructor(log: BrowsableLog) {
    this.#log = log;
  }

  /** What a reader of the life that has credit is sent next. */
  serve(reader: PlainReader, life: string): ServedPage {
    const page = this.#read(reader);
    const { selection, controls, nextOffset } = page;
    const position = nextOffset ?? this.#log.nextOffset;
    const gap = findGap(reader, this.#log.headOffset);
    const isCut = nextOffset !== undefined;
    const moved: PlainReader = { ...reader, position };
    const { isTap, isRelay = false } = reader;
    // Where nothing was wanted, only relays and who has looked at many records are told where they stand.
    if (selection.count === 0 && controls.length === 0 && gap === undefined && !isCut && !isRelay)
      return { moved, delivered: undefined, isCut };
    const told = isTap && !isRelay ? this.#toldToTaps : this.#told;
    let delivered = told.get(page);
    if (delivered === undefined) {
      const resume = isTap && !isRelay ? {} : { resume: formatResume(life, position) };
      const parts = { controls, bytes: selection.bytes, ...resume, ...(gap !== undefined && { gap }) };
      delivered = withMessages(selection, { type: "delivered", ...parts } as const);
      told.set(page, delivered);
    }
    return { moved, delivered, isCut };
  }

  /** Readers at one place without a filter share a page, where all of it is within their credit. */
  #read({ position, credit, filter }: PlainReader): BrowsedPage {
    const { max, bytesMax } = frameOf(credit);
    const shared = filter === undefined ? this.#byPosition.get(position) : undefined;
    if (shared !== undefined && isAllFor(shared, { max, bytesMax })) return shared.page;
    const page = browse(this.#log, {
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
