// The newest records that a relay was sent, in memory: a log from where it begins to where the relay stands.
import type { Block } from "../../protocol/block.ts";
import { encodeStoredBlock, type BlockRecord } from "../../protocol/block-writer.ts";
import { encodeUtf8 } from "../../protocol/bytes.ts";
import { contentOf, type ControlRecord } from "../../protocol/message.ts";
import type { StreamGap } from "../../protocol/stream-frames.ts";
import type { BrowsableLog } from "../log-reading.ts";
import { BlockRun, endOffset, StoredRun, type Run } from "../run.ts";
import { NO_TOTALS } from "../store.ts";

/** What one frame of the channel carries. */
export interface RelayedPage {
  readonly blocks: readonly Block[];
  readonly controls: readonly ControlRecord[];
  /** Records that the log gave up before they were sent. */
  readonly gap: StreamGap | undefined;
  /** The next record that was not sent. */
  readonly position: number;
}

interface KeptRun {
  readonly run: Run;
  readonly bytes: number;
}

/** What a run takes beside its block. */
const RUN_BYTES = 1024;

export class Tail implements BrowsableLog {
  readonly #bytesMax: number;
  readonly #kept: KeptRun[] = [];
  #bytes = 0;
  #headOffset: number;
  #nextOffset: number;
  /** Whether nothing before the head is kept by the log either. */
  #isHeadOfLog = false;

  constructor(position: number, bytesMax: number) {
    this.#headOffset = position;
    this.#nextOffset = position;
    this.#bytesMax = bytesMax;
  }

  get headOffset(): number {
    return this.#headOffset;
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Whether all that a reader at `position` has to be sent next is here, up to where the tail ends. */
  covers(position: number): boolean {
    return position <= this.#nextOffset && (position >= this.#headOffset || this.#isHeadOfLog);
  }

  /** Takes what came next, and keeps all of it, however large: who waits for it is served from it. */
  add({ blocks, controls, gap, position }: RelayedPage): void {
    if (gap !== undefined) {
      this.#kept.length = 0;
      this.#bytes = 0;
      this.#headOffset = gap.toOffset + 1;
      this.#isHeadOfLog = true;
    }
    let older = this.#kept.length;
    for (const run of controls.length === 0 ? blocks.map(toRun) : [mixRun(blocks, controls)]) this.#keep(run);
    this.#nextOffset = position;
    for (; this.#bytes > this.#bytesMax && older > 0; older--) this.#giveUpFirst();
  }

  runFrom(offset: number): Run | undefined {
    let low = 0;
    let high = this.#kept.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const kept = this.#kept[middle];
      if (kept !== undefined && endOffset(kept.run) <= offset) low = middle + 1;
      else high = middle;
    }
    return this.#kept[low]?.run;
  }

  #keep({ run, bytes }: KeptRun): void {
    this.#kept.push({ run, bytes });
    this.#bytes += bytes;
  }

  #giveUpFirst(): void {
    const first = this.#kept.shift();
    if (first === undefined) return;
    this.#bytes -= first.bytes;
    this.#headOffset = endOffset(first.run);
    this.#isHeadOfLog = false;
  }
}

function toRun(block: Block): KeptRun {
  const { count, lastOffset, byteLength } = block;
  // The header may name an offset before the first record, which was left out.
  const firstOffset = block.offsetOf(0);
  const place = { firstOffset, count: lastOffset - firstOffset + 1, messages: count, bytes: 0, before: NO_TOTALS };
  return { run: new BlockRun({ ...place, gone: undefined }, block), bytes: byteLength + RUN_BYTES };
}

/** Messages and control records in the order of their offsets, in one run. */
function mixRun(blocks: readonly Block[], controls: readonly ControlRecord[]): KeptRun {
  const records: { readonly offset: number; readonly record: BlockRecord }[] = controls.map(({ offset, putAtMs, control }) => ({
    offset,
    record: {
      isControl: true,
      putAtMs,
      body: encodeUtf8(JSON.stringify(control)),
      presentation: "json",
      contentType: "application/json",
    },
  }));
  for (const block of blocks) {
    for (let place = 0; place < block.count; place++) {
      const message = block.message(place);
      records.push({ offset: message.offset, record: { ...contentOf(message), isControl: false, putAtMs: message.putAtMs } });
    }
  }
  records.sort((a, b) => a.offset - b.offset);
  const offsets = records.map(({ offset }) => offset);
  const [firstOffset = 0] = offsets;
  const lastOffset = offsets.at(-1) ?? firstOffset;
  const stored = records.map(({ record }) => record);
  const block = encodeStoredBlock(stored, firstOffset, offsets);
  const place = { firstOffset, count: lastOffset - firstOffset + 1, messages: stored.length - controls.length, bytes: 0 };
  const run = new StoredRun({ ...place, before: NO_TOTALS, gone: undefined, putAtMs: 0, block });
  return { run, bytes: block.byteLength + RUN_BYTES };
}
