// What plain readers and taps are sent when a commit is decided, and what is kept meanwhile for relays. SPEC rules SB5, SB6, RY14.
import { assert } from "../base/assert.ts";
import { Block } from "../protocol/block.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal } from "../protocol/problems.ts";
import { browse, type BrowsableLog } from "./log-reading.ts";
import type { Delivered } from "./operation.ts";
import { Tail } from "./relay/tail.ts";
import { SharedPages } from "./shared-pages.ts";
import type { ChannelRecord } from "./store.ts";
import { hasCredit, type PlainReader } from "./subscription.ts";
import type { Subscriptions } from "./subscriptions.ts";

interface PlainReadersParts {
  readonly backlog: BrowsableLog;
  readonly kept: Subscriptions;
  /** Whether a relay is not subscribed that may have readers. */
  readonly isRelayAway: () => boolean;
  readonly keep: (reader: PlainReader) => void;
  readonly send: (reader: PlainReader, delivered: Delivered) => void;
  readonly end: (reader: PlainReader, refusal: Refusal) => void;
}

/** What readers at one place share in a turn. */
interface Pages {
  readonly kept: SharedPages;
  readonly recalled: SharedPages | undefined;
}

export class PlainReaders {
  readonly #parts: PlainReadersParts;
  /** Whether a reader, or where it stands, changed since the last turn. */
  #isChanged = false;
  /** Up to where every reader with credit was served by the last turn. */
  #servedOffset = 0;
  /** Up to where records were there in the last turn, and of which life. */
  #seenOffset: number;
  #life: string | undefined;
  /** What was put since a relay was away: by the time that it asks, some of it may be taken. */
  #recall: Tail | undefined;

  /** `life`: of the channel; undefined where there is none. */
  constructor(parts: PlainReadersParts, life: string | undefined) {
    this.#parts = parts;
    this.#seenOffset = parts.backlog.nextOffset;
    this.#life = life;
  }

  /** One came, or has more credit. */
  noteChange(): void {
    this.#isChanged = true;
  }

  /** Sends each what came since its position, one frame at most; whether some are owed more. */
  serve(record: ChannelRecord): boolean {
    this.#recallRecords(record);
    const { backlog, kept } = this.#parts;
    const { nextOffset } = backlog;
    let hasMore = false;
    if (kept.readers > 0 && (nextOffset !== this.#servedOffset || this.#isChanged)) {
      this.#isChanged = false;
      this.#servedOffset = nextOffset;
      const pages = { kept: new SharedPages(backlog), recalled: this.#recall && new SharedPages(this.#recall) };
      for (const one of kept.all()) if (one.type === "reader") hasMore = this.#serveReader(record, one, pages) || hasMore;
      this.#isChanged ||= hasMore;
    }
    if (!hasMore && !this.#parts.isRelayAway()) this.#recall = undefined;
    return hasMore;
  }

  /** A log keeps what relays lack. Others give it up when it is taken, which may be before a relay that was called is there. */
  #recallRecords(record: ChannelRecord): void {
    const { backlog, isRelayAway } = this.#parts;
    if (record.life !== this.#life) {
      this.#recall = undefined;
      this.#seenOffset = backlog.headOffset;
    }
    this.#life = record.life;
    const from = this.#seenOffset;
    this.#seenOffset = backlog.nextOffset;
    if (record.settings.retention === "log" || (this.#recall === undefined && !isRelayAway())) return;
    this.#recall ??= new Tail(from, LIMITS.relayTailBytes);
    for (let offset: number | undefined = from; offset !== undefined && offset < backlog.nextOffset;) {
      const page = browse(backlog, { fromOffset: offset, messagesMax: Infinity, bytesMax: Infinity });
      const position = page.nextOffset ?? backlog.nextOffset;
      this.#recall.add({ blocks: page.selection.blocks.map(parseBlock), controls: page.controls, gap: undefined, position });
      offset = page.nextOffset;
    }
  }

  /** Whether it is owed more. */
  #serveReader(record: ChannelRecord, reader: PlainReader, pages: Pages): boolean {
    const { nextOffset } = this.#parts.backlog;
    let position = reader.position;
    let isOwed = false;
    if (position < nextOffset && hasCredit(reader)) {
      const log = this.#isRecalled(reader) ? (pages.recalled ?? pages.kept) : pages.kept;
      const { moved, delivered, isCut } = log.serve(reader, record.life);
      if (delivered === undefined) this.#parts.keep(moved);
      else this.#parts.send(moved, delivered);
      ({ position } = moved);
      isOwed = isCut || position < nextOffset;
    }
    if (position < nextOffset || record.state !== "closed") return isOwed;
    this.#parts.end(reader, { kind: "channel-closed" });
    return false;
  }

  #isRecalled({ isTap, isRelay, position }: PlainReader): boolean {
    const recall = this.#recall;
    return recall !== undefined && isTap && isRelay === true && position < recall.nextOffset && recall.covers(position);
  }
}

function parseBlock(bytes: Uint8Array): Block {
  const block = Block.parse(bytes);
  assert(block.ok, "a block that was just written can be read");
  return block.value;
}
