// Looking at the records of a log without changing anything: pages, places in time, counts.
import { LIMITS } from "../protocol/limits.ts";
import type { ControlRecord, Message } from "../protocol/message.ts";
import type { StreamGap } from "../protocol/stream-frames.ts";
import type { GroupStart } from "./operation.ts";
import { endOffset, type Run } from "./run.ts";
import { Selection } from "./selection.ts";
import { readControl } from "./stretch.ts";
import type { PlainReader } from "./subscription.ts";

/** What is read from: the records from the head to the next offset. */
export interface BrowsableLog {
  readonly headOffset: number;
  readonly nextOffset: number;
  /** The first run that ends after `offset`. */
  runFrom(offset: number): Run | undefined;
}

export interface ReadableLog extends BrowsableLog {
  /** Messages put since the life began. */
  readonly putMessages: number;
}

export interface BrowsedPage {
  readonly selection: Selection;
  readonly controls: readonly ControlRecord[];
  readonly nextOffset: number | undefined;
}

interface BrowseRequest {
  readonly fromOffset: number;
  readonly toOffset?: number;
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** Which messages are wanted; all if absent. */
  readonly isWanted?: ((message: Message) => boolean) | undefined;
}

/** Reads from an offset on without taking. `nextOffset` is where to go on, or undefined at the end. */
export function browse(log: BrowsableLog, request: BrowseRequest): BrowsedPage {
  const toOffset = Math.min(request.toOffset ?? Number.MAX_SAFE_INTEGER, log.nextOffset - 1);
  const selection = new Selection();
  const controls: ControlRecord[] = [];
  let looked = 0;
  let offset = Math.max(request.fromOffset, log.headOffset);
  for (let run = log.runFrom(offset); run !== undefined; run = log.runFrom(offset)) {
    for (let place = Math.max(0, offset - run.firstOffset); place < run.count; place++) {
      if (!run.isPresent(place)) continue;
      offset = run.firstOffset + place;
      if (offset > toOffset) return { selection, controls, nextOffset: undefined };
      if (looked++ === LIMITS.browseRecordsMax) return { selection, controls, nextOffset: offset };
      if (run.gone.has(place)) continue;
      if (run.isControl(place)) {
        controls.push(readControl(run, place));
        continue;
      }
      const size = run.messageBytes(place);
      const { count, bytes } = selection;
      const isFull = count === request.messagesMax || (count > 0 && bytes + size > request.bytesMax);
      if (isFull) return { selection, controls, nextOffset: offset };
      if (request.isWanted?.(run.message(place)) !== false) selection.add(run, place);
    }
    offset = endOffset(run);
  }
  return { selection, controls, nextOffset: undefined };
}

/** The message kept at `offset`. */
export function readMessage(log: ReadableLog, offset: number): Message | undefined {
  return browse(log, { fromOffset: offset, toOffset: offset, messagesMax: 1, bytesMax: 0 }).selection.messages[0];
}

/** The offset that is meant; undefined for one that is neither kept nor the next. */
export function findStart(log: ReadableLog, start: GroupStart): number | undefined {
  const { headOffset, nextOffset } = log;
  if ("at" in start) return start.at === "first" ? headOffset : nextOffset;
  if ("timeMs" in start) return findPutAt(log, start.timeMs);
  return start.offset >= headOffset && start.offset <= nextOffset ? start.offset : undefined;
}

/** The offset of the first record that is there and was put at `timeMs` or later, else the next one. */
function findPutAt(log: ReadableLog, timeMs: number): number {
  let offset = findPlaceOfTime(log, timeMs);
  for (let run = log.runFrom(offset); run !== undefined; run = log.runFrom(offset)) {
    for (offset = Math.max(offset, run.firstOffset); offset < endOffset(run); offset++) {
      if (!run.isGone(offset - run.firstOffset)) return offset;
    }
  }
  return log.nextOffset;
}

/** Before it lies nothing that was put at `timeMs` or later, and behind it nothing else. Halves, so it reads few rows of a long log. */
function findPlaceOfTime(log: ReadableLog, timeMs: number): number {
  let low = log.headOffset;
  let high = log.nextOffset;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const run = log.runFrom(middle);
    if (run === undefined) high = middle;
    else if (lastPutAt(run) < timeMs) low = endOffset(run);
    else if (run.firstOffset > low && run.times(0).putAtMs >= timeMs) high = Math.min(middle, run.firstOffset);
    else return findInRun(run, low, timeMs);
  }
  return low;
}

function lastPutAt(run: Run): number {
  let place = run.count - 1;
  while (place > 0 && !run.isPresent(place)) place--;
  return run.times(place).putAtMs;
}

function findInRun(run: Run, fromOffset: number, timeMs: number): number {
  let place = Math.max(0, fromOffset - run.firstOffset);
  while (place < run.count && (!run.isPresent(place) || run.times(place).putAtMs < timeMs)) place++;
  return run.firstOffset + place;
}

/** Messages of the life that were put before `offset`. */
export function countMessagesBefore(log: ReadableLog, offset: number): number {
  const run = offset < log.nextOffset ? log.runFrom(Math.max(offset, log.headOffset)) : undefined;
  if (run === undefined) return log.putMessages;
  let { messages } = run.before;
  for (let place = 0; place < run.count && run.firstOffset + place < offset; place++) {
    if (run.isPresent(place) && !run.isControl(place)) messages += 1;
  }
  return messages;
}

/** Messages at or after `offset` that were removed. Walks every record from there on: to be asked only where some were removed. */
export function countRemovedFrom(log: ReadableLog, offset: number): number {
  let kept = 0;
  for (let run = log.runFrom(offset), at = offset; run !== undefined; run = log.runFrom(at)) {
    for (let place = Math.max(0, at - run.firstOffset); place < run.count; place++) {
      if (!run.isGone(place) && !run.isControl(place)) kept += 1;
    }
    at = endOffset(run);
  }
  return log.putMessages - countMessagesBefore(log, offset) - kept;
}

/** What a reader of a log can not be sent any more: retention was quicker. */
export function findGap({ isTap, position }: PlainReader, headOffset: number): StreamGap | undefined {
  return isTap || position >= headOffset ? undefined : { fromOffset: position, toOffset: headOffset - 1 };
}
