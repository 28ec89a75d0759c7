// The channel's storage in memory: the twin of SqliteStore for the simulation and for tests of the core.
import type { SnapshotRow } from "../channel/snapshot-store.ts";
import type {
  Changes,
  ChannelRecord,
  ChannelStore,
  MessageIdEntry,
  NewSegment,
  Position,
  Segment,
  StoredSegment,
} from "../channel/store.ts";
import { MemoryCheckpoints } from "./memory-checkpoints.ts";
import { MemoryDeadLetters } from "./memory-dead-letters.ts";
import { MemoryGroups } from "./memory-groups.ts";
import { MemoryDelivery } from "./memory-delivery.ts";
import { MemoryIdempotency } from "./memory-idempotency.ts";
import { MemoryProducers } from "./memory-producers.ts";
import { MemorySchedule } from "./memory-schedule.ts";
import { MemorySnapshots, packRow, unpackRow } from "./memory-snapshots.ts";

export class MemoryStore implements ChannelStore {
  readonly delivery = new MemoryDelivery();
  readonly deadLetters = new MemoryDeadLetters();
  readonly groups = new MemoryGroups();
  readonly checkpoints = new MemoryCheckpoints();
  readonly schedule = new MemorySchedule();
  readonly producers = new MemoryProducers();
  readonly idempotency = new MemoryIdempotency();
  readonly snapshots = new MemorySnapshots();
  /** What a restore brings was dumped by a store like this one: others are told by their version. */
  readonly isSound = true;
  #channel: ChannelRecord | undefined;
  #position: Position | undefined;
  /** In the order of offsets. */
  #segments: NewSegment[] = [];
  #gone = new Map<number, Uint8Array>();
  #messageIds: MessageIdEntry[] = [];

  readChannel(): ChannelRecord | undefined {
    return this.#channel;
  }

  readPosition(): Position | undefined {
    return this.#position;
  }

  readLastSegment(): Segment | undefined {
    return this.#segments.at(-1);
  }

  readSegmentFrom(offset: number): StoredSegment | undefined {
    return this.#withGone(this.#segments.find((segment) => segment.firstOffset >= offset));
  }

  readSegmentUpTo(offset: number): StoredSegment | undefined {
    return this.#withGone(this.#segments.findLast((segment) => segment.firstOffset <= offset));
  }

  readGoneFrom(offset: number, limit: number): readonly number[] {
    const offsets = [...this.#gone.keys()].filter((firstOffset) => firstOffset >= offset);
    return offsets.sort((a, b) => a - b).slice(0, limit);
  }

  findMessageId(messageId: string, fromOffset: number): number | undefined {
    const offsets = this.#messageIds
      .filter((entry) => entry.messageId === messageId && entry.offset >= fromOffset)
      .map((entry) => entry.offset);
    return offsets.length === 0 ? undefined : Math.min(...offsets);
  }

  /** The same in memory of its own. */
  copy(): MemoryStore {
    const copy = new MemoryStore();
    copy.#load(this.#dump());
    copy.#channel = this.#channel;
    copy.snapshots.copyFrom(this.snapshots);
    return copy;
  }

  commit(changes: Changes): void {
    const installed = changes.snapshots === undefined ? undefined : this.snapshots.begin(changes.snapshots);
    if (installed !== undefined) this.#load(installed);
    if (changes.isPurge) {
      this.#segments = [];
      this.#gone.clear();
      this.#messageIds = [];
    }
    this.#deleteSegments(changes);
    for (const segment of changes.insertSegments) this.#insertSegment(segment);
    for (const [firstOffset, places] of changes.writeGone) this.#gone.set(firstOffset, places);
    const deletedIds = new Set(changes.deleteMessageIds.map((entry) => entry.offset));
    if (deletedIds.size > 0) this.#messageIds = this.#messageIds.filter((entry) => !deletedIds.has(entry.offset));
    this.#messageIds.push(...changes.insertMessageIds);
    this.#position = changes.position ?? this.#position;
    if (changes.checkpoints !== undefined) this.checkpoints.commit(changes.checkpoints);
    this.#channel = changes.channel ?? this.#channel;
    if (changes.delivery !== undefined) this.delivery.commit(changes.delivery);
    if (changes.groups !== undefined) this.groups.commit(changes.groups);
    if (changes.deadLetters !== undefined) this.deadLetters.commit(changes.deadLetters);
    if (changes.schedule !== undefined) this.schedule.commit(changes.schedule);
    if (changes.producers !== undefined) this.producers.commit(changes.producers);
    if (changes.idempotency !== undefined) this.idempotency.commit(changes.idempotency);
    if (changes.snapshots !== undefined) this.snapshots.finish(changes.snapshots, () => this.#dump());
  }

  #deleteSegments({ deleteBelowOffset, deleteSegments, reuseSegment }: Changes): void {
    const deleted = new Set([...deleteSegments, reuseSegment]);
    // Most commits only add: they must not cost more the more there is.
    if (deleteBelowOffset === 0 && deleted.size === 1 && deleted.has(0)) return;
    const isKept = (firstOffset: number): boolean => firstOffset >= deleteBelowOffset && !deleted.has(firstOffset);
    this.#segments = this.#segments.filter((segment) => isKept(segment.firstOffset));
    for (const firstOffset of this.#gone.keys()) if (!isKept(firstOffset)) this.#gone.delete(firstOffset);
  }

  /** Where it belongs: mostly at the end. */
  #insertSegment(segment: NewSegment): void {
    const before = this.#segments.findLastIndex(({ firstOffset }) => firstOffset < segment.firstOffset);
    this.#segments.splice(before + 1, 0, segment);
  }

  #dump(): SnapshotRow[] {
    const { checkpoints, deadLetters, delivery, groups, idempotency, producers, schedule } = this;
    const parts = Object.entries({ checkpoints, deadLetters, delivery, groups, idempotency, producers, schedule });
    return [
      packRow("position", { position: this.#position, gone: [...this.#gone], messageIds: this.#messageIds }),
      ...this.#segments.map((segment) => packRow("segment", segment)),
      ...parts.map(([name, part]) => packRow(name, part.dump())),
    ];
  }

  #load(rows: readonly SnapshotRow[]): void {
    this.#segments = [];
    for (const row of rows) {
      // What was dumped here comes back here.
      const content = unpackRow(row) as never;
      if (row.table === "segment") this.#segments.push(content);
      else if (row.table === "position") this.#loadPosition(content);
      else this[row.table as "schedule"].load(content);
    }
  }

  #loadPosition(content: { position?: Position; gone: [number, Uint8Array][]; messageIds: MessageIdEntry[] }): void {
    this.#position = content.position;
    this.#gone = new Map(content.gone);
    this.#messageIds = content.messageIds;
  }

  #withGone(segment: NewSegment | undefined): StoredSegment | undefined {
    return segment === undefined ? undefined : { ...segment, gone: this.#gone.get(segment.firstOffset) };
  }
}
