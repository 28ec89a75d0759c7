// A page of what the channel keeps, for browsing and for plain readers.
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { Book, KeptMessage, ModelRecord } from "./state.ts";

export interface Page {
  readonly messages: readonly KeptMessage[];
  readonly controls: readonly ModelRecord[];
  /** Where it goes on; undefined at the end. */
  readonly next: number | undefined;
}

interface Asked {
  readonly fromOffset: number;
  readonly max: number;
  readonly bytesMax: number;
  readonly isWanted?: (message: KeptMessage) => boolean;
  /** Where the channel says that it goes on, or the next offset. */
  readonly told: number | undefined;
}

/** How many records are looked at depends on how many removed ones are still stored, so where a page is cut for that is left to the channel. */
export function findPage({ state, headOffset }: Book, asked: Asked): Page {
  const from = Math.max(asked.fromOffset, headOffset);
  const records = state.records.filter(({ offset }) => offset >= from);
  const page = fill(records, asked);
  const end = page.next ?? state.nextOffset;
  const cut = asked.told ?? end;
  const looked = records.filter(({ offset }) => offset < cut).length;
  if (cut === end && looked <= LIMITS.browseRecordsMax) return page;
  const isRightlyCut = cut < end && cut - from >= LIMITS.browseRecordsMax && looked <= LIMITS.browseRecordsMax;
  // One that is cut elsewhere is found by the comparison with this one.
  const next = isRightlyCut ? cut : (records[LIMITS.browseRecordsMax]?.offset ?? end);
  const isBefore = ({ offset }: ModelRecord): boolean => offset < next;
  return { messages: page.messages.filter(isBefore), controls: page.controls.filter(isBefore), next };
}

/** It ends before the first message for which there is no room, wanted or not. */
function fill(records: readonly ModelRecord[], { max, bytesMax, isWanted }: Asked): Page {
  const messages: KeptMessage[] = [];
  const controls: ModelRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    if (record.message === undefined) {
      controls.push(record);
      continue;
    }
    const isFull = messages.length === max || (messages.length > 0 && bytes + record.bytes > bytesMax);
    if (isFull) return { messages, controls, next: record.offset };
    if (isWanted?.(record) === false) continue;
    bytes += record.bytes;
    messages.push(record);
  }
  return { messages, controls, next: undefined };
}
