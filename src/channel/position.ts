// The row that says where a channel stands, as far as its segments do not (rule RC2).
import { isSameFates, NO_FATES } from "./fates.ts";
import { isSameTotals, NO_TOTALS, type Position } from "./store.ts";

export const EMPTY_POSITION: Position = {
  nextOffset: 1,
  headOffset: 1,
  put: NO_TOTALS,
  passed: NO_TOTALS,
  removedAhead: NO_TOTALS,
  lostAheadBytes: 0,
  fates: NO_FATES,
  lastControlOffset: 0,
  scanMark: 0,
  lastTtlOffset: 0,
  writtenAtMs: 0,
};

/** Whether the stored row is right about what no segment tells. */
export function isRestTold(stored: Position, now: Position): boolean {
  const isAheadTold = isSameTotals(stored.removedAhead, now.removedAhead);
  const isMarkTold = stored.scanMark === now.scanMark || now.scanMark <= now.headOffset;
  const isTtlTold = stored.lastTtlOffset === now.lastTtlOffset || now.lastTtlOffset < now.headOffset;
  const isControlTold = stored.lastControlOffset === now.lastControlOffset;
  return isAheadTold && isMarkTold && isTtlTold && isControlTold && isSameFates(stored.fates, now.fates);
}
