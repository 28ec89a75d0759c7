// Takes a snapshot of a channel and restores it into another, page by page.
import { ChannelHarness, expectType } from "./channel-harness.ts";

export function beginSnapshot(harness: ChannelHarness): string {
  return expectType(harness.apply({ type: "begin-snapshot" }), "snapshot-begun").snapshotId;
}

/** Reads all pages, of about `bytesMax` each, and calls `between` after each. */
export function readPages(harness: ChannelHarness, snapshotId: string, bytesMax = 300, between = (): void => {}): Uint8Array[] {
  const pages: Uint8Array[] = [];
  for (let page = 1; ; page++) {
    const read = expectType(harness.apply({ type: "read-snapshot", snapshotId, page, bytesMax }), "snapshot-page");
    pages.push(read.bytes);
    between();
    if (read.isLast) return pages;
  }
}

export function beginRestore(harness: ChannelHarness): string {
  return expectType(harness.apply({ type: "begin-restore" }), "restore-begun").restoreId;
}

/** A channel that was restored from the pages, at the time of `nowMs`. */
export function restore(pages: readonly Uint8Array[], nowMs: number, between = (_: ChannelHarness): void => {}): ChannelHarness {
  const target = new ChannelHarness();
  target.nowMs = nowMs;
  const restoreId = beginRestore(target);
  between(target);
  for (const [index, bytes] of pages.entries()) {
    expectType(target.apply({ type: "stage-page", restoreId, page: index + 1, bytes }), "page-staged");
    between(target);
  }
  expectType(target.apply({ type: "commit-restore", restoreId }), "restored");
  between(target);
  return target;
}
