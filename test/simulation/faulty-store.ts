// The memory store with switches: the next commit, or a read soon after, fails.
import type { Deferred, StoredDelivery } from "../../src/channel/delivery-store.ts";
import type { Changes, ChannelRecord, ChannelStore, Position, Segment, StoredSegment } from "../../src/channel/store.ts";
import { StoredRun } from "../../src/channel/run.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { StorageDown } from "./failure.ts";

export class FaultyStore implements ChannelStore {
  readonly #store = new MemoryStore();
  readonly delivery = this.#store.delivery;
  readonly deadLetters = this.#store.deadLetters;
  readonly checkpoints = this.#store.checkpoints;
  readonly groups = this.#store.groups;
  readonly schedule = this.#store.schedule;
  readonly producers = this.#store.producers;
  readonly idempotency = this.#store.idempotency;
  readonly snapshots = this.#store.snapshots;
  /** After so many more reads of the backlog one fails; undefined for never. */
  readsUntilFailure: number | undefined;
  isRefusingCommits = false;

  readChannel(): ChannelRecord | undefined {
    return this.#store.readChannel();
  }

  readPosition(): Position | undefined {
    return this.#store.readPosition();
  }

  readLastSegment(): Segment | undefined {
    return this.#store.readLastSegment();
  }

  readSegmentFrom(offset: number): StoredSegment | undefined {
    this.#read();
    return this.#store.readSegmentFrom(offset);
  }

  readSegmentUpTo(offset: number): StoredSegment | undefined {
    this.#read();
    return this.#store.readSegmentUpTo(offset);
  }

  readGoneFrom(...range: Parameters<ChannelStore["readGoneFrom"]>): ReturnType<ChannelStore["readGoneFrom"]> {
    this.#read();
    return this.#store.readGoneFrom(...range);
  }

  /** Rows of leases and of deferred messages, by the number of their group. */
  readRows(): ReadonlyMap<number, StoredDelivery> {
    return this.delivery.readDelivery();
  }

  /** What is stored of the delivery of each group, that of a queue too. */
  readGroupStates(): { readonly id: number; readonly deferred: readonly Deferred[]; readonly scanMark: number }[] {
    const rows = this.readRows();
    const marks = this.groups.readGroups().map(({ id, position: { scanMark } }) => ({ id, scanMark }));
    return [{ id: 0, scanMark: this.readPosition()?.scanMark ?? 0 }, ...marks].map((group) => {
      return { ...group, deferred: rows.get(group.id)?.deferred.flatMap(({ messages }) => messages) ?? [] };
    });
  }

  findMessageId(messageId: string, fromOffset: number): number | undefined {
    this.#read();
    return this.#store.findMessageId(messageId, fromOffset);
  }

  /** Whether an idempotency key that was put then is in any of the tables. */
  hasKey(idempotencyKey: string, putAtMs: number): boolean {
    const generations = this.idempotency.readGenerations();
    return generations.some(({ id }) => this.idempotency.find(id, idempotencyKey)?.putAtMs === putAtMs);
  }

  commit(changes: Changes): void {
    if (this.isRefusingCommits) throw new StorageDown("The commit was refused");
    this.#store.commit(changes);
  }

  listSegments(): StoredRun[] {
    const runs: StoredRun[] = [];
    for (let segment = this.#store.readSegmentFrom(0); segment !== undefined;) {
      runs.push(new StoredRun(segment));
      segment = this.#store.readSegmentFrom(segment.firstOffset + segment.count);
    }
    return runs;
  }

  #read(): void {
    if (this.readsUntilFailure === undefined) return;
    this.readsUntilFailure -= 1;
    if (this.readsUntilFailure < 0) throw new StorageDown("A read failed");
  }
}
