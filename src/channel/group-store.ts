// The port to what is stored of groups: a row for each, and what each has done ahead of its head (SPEC section GP).
import type { GivenDelivery } from "../protocol/settings.ts";

/** What became of messages in a group since its start, besides those that were acked. */
export interface GroupFates {
  readonly deadLettered: number;
  /** Removed by somebody while the group had not done with them. */
  readonly removed: number;
  /** Given up by the channel's retention before the group had done with them. */
  readonly dropped: number;
  readonly expired: number;
  /** Passed by a seek. */
  readonly skipped: number;
}

export const NO_GROUP_FATES: GroupFates = { deadLettered: 0, removed: 0, dropped: 0, expired: 0, skipped: 0 };

export interface GroupPosition {
  readonly headOffset: number;
  /** Messages of the life before the head. */
  readonly passedMessages: number;
  /** Messages at or after the head that the group has done with, or that were removed. */
  readonly doneAheadMessages: number;
  readonly scanMark: number;
  /** Messages of the life that are not in the group's account: put before its start, or removed before it began there. */
  readonly startMessages: number;
  readonly fates: GroupFates;
}

/** Of a group that has not begun. */
export const NO_POSITION: GroupPosition = {
  headOffset: 0,
  passedMessages: 0,
  doneAheadMessages: 0,
  scanMark: 0,
  startMessages: 0,
  fates: NO_GROUP_FATES,
};

export interface GroupRecord {
  /** A small number from 1 that lease ids and rows carry; used again after the group was deleted. */
  readonly id: number;
  readonly name: string;
  readonly createdAtMs: number;
  readonly isPaused: boolean;
  /** Settings of the group's own, over those of the channel. */
  readonly settings: GivenDelivery;
  /** After how long without a reader it ends by itself; absent for one that does not. */
  readonly expireAfterIdleMs?: number | undefined;
  readonly position: GroupPosition;
}

/** Places that a group has done with, in one range of offsets. */
export interface DoneRow {
  readonly groupId: number;
  readonly bucket: number;
  /** As delta ranges (gone-places.ts), counted from the beginning of the range. */
  readonly places: Uint8Array<ArrayBuffer>;
}

export type DoneRowKey = Omit<DoneRow, "places">;

export interface GroupChanges {
  /** Deletes every group first, with all that belongs to them. */
  readonly isCleared: boolean;
  readonly write: readonly GroupRecord[];
  /** Ids of groups that are deleted, with all that belongs to them. */
  readonly delete: readonly number[];
  /** Ids of groups whose done rows are all deleted, before others are written. */
  readonly clearDone: readonly number[];
  readonly writeDone: readonly DoneRow[];
  readonly deleteDone: readonly DoneRowKey[];
}

export interface GroupStore {
  /** In the order of their ids. */
  readGroups(): readonly GroupRecord[];
  readDone(groupId: number, bucket: number): Uint8Array | undefined;
}
