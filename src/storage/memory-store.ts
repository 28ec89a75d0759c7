// The channel's storage in memory: the twin of SqliteStore for the simulation and for tests of the core.
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

export class MemoryStore implements ChannelStore {
  readonly delivery = new MemoryDelivery();
  readonly deadLetters = new MemoryDeadLetters();
  readonly groups = new MemoryGroups();
  readonly checkpoints = new MemoryCheckpoints();
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

  commit(changes: Changes): void {
    if (changes.isPurge) {
      this.#segments = [];
      this.#gone.clear();
      this.#messageIds = [];
    }
    const deleted = new Set(changes.deleteSegments);
    const isKept = (firstOffset: number): boolean => firstOffset >= changes.deleteBelowOffset && !deleted.has(firstOffset);
    const kept = this.#segments.filter((segment) => isKept(segment.firstOffset));
    this.#segments = [...kept, ...changes.insertSegments].sort((a, b) => a.firstOffset - b.firstOffset);
    for (const firstOffset of this.#gone.keys()) if (!isKept(firstOffset)) this.#gone.delete(firstOffset);
    for (const [firstOffset, places] of changes.writeGone) this.#gone.set(firstOffset, places);
    const deletedIds = new Set(changes.deleteMessageIds.map((entry) => entry.offset));
    this.#messageIds = [...this.#messageIds.filter((entry) => !deletedIds.has(entry.offset)), ...changes.insertMessageIds];
    this.#position = changes.position ?? this.#position;
    if (changes.checkpoints !== undefined) this.checkpoints.commit(changes.checkpoints);
    this.#channel = changes.channel ?? this.#channel;
    if (changes.delivery !== undefined) this.delivery.commit(changes.delivery);
    if (changes.groups !== undefined) this.groups.commit(changes.groups);
    if (changes.deadLetters !== undefined) this.deadLetters.commit(changes.deadLetters);
  }

  #withGone(segment: NewSegment | undefined): StoredSegment | undefined {
    return segment === undefined ? undefined : { ...segment, gone: this.#gone.get(segment.firstOffset) };
  }
}
