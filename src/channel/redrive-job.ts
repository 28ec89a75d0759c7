// A redrive that is spread over time: moves at most so many dead letters a second until none is left (rule DL5).
import type { RedriveDescription } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";
import { messageBytes } from "../protocol/message.ts";
import type { Moment, OperationOf, Outcome } from "./operation.ts";
import type { RecordCell } from "./record-cell.ts";
import { putAgain, type RedriveParts } from "./redrive.ts";
import type { StoredRedrive } from "./redrive-store.ts";
import type { ChannelRecord } from "./store.ts";

const STEP_MS = 1000;

export class RedriveJob {
  readonly #cell: RecordCell;
  readonly #parts: RedriveParts;
  /** While nothing can be moved there is nothing to store; after waking it is tried at once. */
  #pausedUntilMs = 0;

  constructor(cell: RecordCell, parts: RedriveParts) {
    this.#cell = cell;
    this.#parts = parts;
  }

  /** When there is something to do; a channel that takes no puts has to be opened first, or get a group. */
  get nextAtMs(): number | undefined {
    const record = this.#cell.get();
    return record?.redrive && this.#parts.refuse(record) === undefined
      ? Math.max(record.redrive.nextStepAtMs, this.#pausedUntilMs)
      : undefined;
  }

  begin(
    record: ChannelRecord,
    { filter, fromOffset }: OperationOf<"redrive">,
    { ratePerSecond, nowMs }: { readonly ratePerSecond: number; readonly nowMs: number },
  ): Outcome {
    const { redrive } = record;
    if (redrive) {
      const { moved } = redrive;
      return { type: "refused", refusal: { kind: "redrive-running", ratePerSecond: redrive.ratePerSecond, moved } };
    }
    const refusal = this.#parts.refuse(record);
    if (refusal !== undefined) return { type: "refused", refusal };
    const begun: StoredRedrive = {
      ratePerSecond,
      startedAtMs: nowMs,
      moved: 0,
      filter,
      nextOffset: fromOffset,
      endOffset: this.#parts.backlog.nextOffset,
      nextStepAtMs: nowMs,
    };
    this.#pausedUntilMs = 0;
    this.#cell.set({ ...record, redrive: begun });
    return { type: "redrive-job", job: describeRedrive(begun) };
  }

  stop(record: ChannelRecord): Outcome {
    const { redrive } = record;
    if (!redrive) return { type: "refused", refusal: { kind: "unknown-redrive" } };
    this.#cell.set({ ...record, redrive: null });
    return { type: "redrive-job", job: describeRedrive(redrive) };
  }

  /** Moves what this second allows, as far as there is room. Ends: each page begins behind the last. */
  step({ nowMs, isRecovering }: Moment): void {
    const { nextAtMs } = this;
    const record = this.#cell.get();
    if (nextAtMs === undefined || nextAtMs > nowMs || isRecovering === true || !record?.redrive) return;
    const job = record.redrive;
    const { found, isOver, nextOffset } = this.#move(record, job, nowMs);
    if (isOver) {
      this.#cell.set({ ...record, redrive: null });
      return;
    }
    this.#pausedUntilMs = nowMs + STEP_MS;
    if (found === 0 && nextOffset === job.nextOffset) return;
    const redrive = { ...job, moved: job.moved + found, nextOffset, nextStepAtMs: nowMs + STEP_MS };
    this.#cell.set({ ...record, redrive });
  }

  #move(record: ChannelRecord, job: StoredRedrive, nowMs: number): { found: number; isOver: boolean; nextOffset: number } {
    const { deadLetters } = this.#parts;
    // Only those that had died when the job began.
    const filter = { ...job.filter, olderThanMs: job.filter.olderThanMs ?? 0 };
    let { nextOffset } = job;
    let found = 0;
    let bytes = 0;
    for (let pages = 0; pages < LIMITS.redrivePagesPerStep; pages++) {
      const limit = job.ratePerSecond - found;
      const page = deadLetters.find({ fromOffset: nextOffset, limit, filter, nowMs: job.startedAtMs });
      // All of an offset are on one page, which may be one too many.
      const letters = page.letters.slice(0, limit).filter((letter) => letter.offset < job.endOffset);
      const moved = putAgain(this.#parts, letters, { record, nowMs });
      found += moved;
      for (const { message } of letters.slice(0, moved)) bytes += messageBytes(message);
      const left = page.letters[moved];
      const next = left?.offset ?? page.nextOffset;
      if (next === undefined || next >= job.endOffset) return { found, isOver: true, nextOffset };
      nextOffset = next;
      if (left !== undefined || found === job.ratePerSecond || bytes >= LIMITS.replyBytesMax) break;
    }
    return { found, isOver: false, nextOffset };
  }
}

/** What a description shows of a job. */
export function describeRedrive({ ratePerSecond, startedAtMs, moved, nextOffset }: StoredRedrive): RedriveDescription {
  return { ratePerSecond, startedAtMs, moved, nextOffset };
}
