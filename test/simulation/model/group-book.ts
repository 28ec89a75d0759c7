// What the model knows of one group: the records that it has not done with, and what became of the others.
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { GroupDescription } from "../../../src/protocol/description.ts";
import type { DeliverySettings } from "../../../src/protocol/settings.ts";
import type { Book, Fate, GroupRecord, ModelGroup, ModelMessage } from "./state.ts";

export class GroupBook {
  readonly id: number;
  readonly #book: Book;

  constructor(book: Book, id: number) {
    this.#book = book;
    this.id = id;
  }

  get state(): ModelGroup {
    const group = this.#book.state.groups.find(({ id }) => id === this.id);
    if (group === undefined) throw new Error("The group exists");
    return group;
  }

  get settings(): DeliverySettings {
    return { ...this.#book.existing.settings.delivery, ...this.state.settings } as DeliverySettings;
  }

  /** LS8: leases were lost; they were given before the place at which delivery stood. */
  doubt(): void {
    const { nextOffset } = this.#book.state;
    const before = Math.min(nextOffset, Math.max(this.state.scanMark, this.headOffset) + LIMITS.scanMarkLagMax);
    if (before > this.state.doubtBefore) this.#book.changeGroup(this.id, { doubtBefore: before });
  }

  get messages(): readonly ModelMessage[] {
    return this.state.records.filter((record) => record.message !== undefined);
  }

  get depth(): number {
    return this.messages.length;
  }

  get leased(): readonly ModelMessage[] {
    return this.messages.filter((message) => message.state === "leased");
  }

  /** The first record that the group has not done with. */
  get headOffset(): number {
    return this.state.records[0]?.offset ?? this.#book.state.nextOffset;
  }

  find(offset: number): ModelMessage | undefined {
    return this.messages.find((message) => message.offset === offset);
  }

  update(offset: number, change: Partial<ModelMessage>): void {
    this.#book.changeGroup(this.id, { records: this.#updated(offset, change) });
  }

  /** As `update`, where it is not stored. */
  note(offset: number, change: Partial<ModelMessage>): void {
    this.#book.noteGroup(this.id, { records: this.#updated(offset, change) });
  }

  lookUpTo(frontier: number): void {
    this.#book.noteGroup(this.id, { frontier });
  }

  finish(offset: number, fate: Fate, nowMs: number): boolean {
    if (this.find(offset) === undefined) return false;
    this.#leave([offset], { [fate]: this.state[fate] + 1 });
    // GP1: the group of a queue is the queue.
    if (this.#isQueue) this.#book.end([offset], fate, nowMs);
    return true;
  }

  passControls(offsets: readonly number[], nowMs: number): void {
    if (offsets.length === 0) return;
    this.#leave(offsets, {});
    if (this.#isQueue) this.#book.end(offsets, "acked", nowMs);
  }

  /** The group goes on at `offset`; what it had not done with before that counts so. */
  passUntil(offset: number, fate: "dropped" | "skipped"): void {
    const passed = this.state.records.filter((record) => record.offset < offset);
    if (passed.length === 0) return;
    const messages = passed.filter(({ message }) => message !== undefined).length;
    this.#leave(
      passed.map((record) => record.offset),
      { [fate]: this.state[fate] + messages },
    );
  }

  describe(nowMs: number): GroupDescription {
    const { name, createdAtMs, isPaused, put, acked, deadLettered, removed, dropped, expired, skipped } = this.state;
    const { depth, messages } = this;
    const leased = this.leased.length;
    const quarantined = messages.filter((message) => message.isQuarantined).length;
    const isRetrying = ({ state, isQuarantined, dueAtMs }: ModelMessage): boolean =>
      state === "back" && !isQuarantined && dueAtMs > nowMs;
    const retrying = messages.filter(isRetrying).length;
    const passed = messages.filter(({ state }) => state === "parked" || state === "back").length;
    return {
      group: name,
      createdAtMs,
      isPaused,
      settings: this.settings,
      expireAfterIdleMs: null,
      headOffset: this.headOffset,
      depth,
      ready: depth - leased - retrying - quarantined,
      leased,
      retrying,
      quarantined,
      isLookAheadExhausted: passed >= LIMITS.lookAheadMax,
      counts: { put, acked, deadLettered, removed, dropped, expired, skipped },
    };
  }

  get #isQueue(): boolean {
    return this.#book.existing.settings.retention === "queue";
  }

  #leave(offsets: readonly number[], change: Partial<ModelGroup>): void {
    const records = this.state.records.filter((record) => !offsets.includes(record.offset));
    this.#book.changeGroup(this.id, { records, ...change });
  }

  #updated(offset: number, change: Partial<ModelMessage>): GroupRecord[] {
    return this.state.records.map((record) =>
      record.offset === offset && record.message !== undefined ? { ...record, ...change } : record,
    );
  }
}

export function groupsOf(book: Book): GroupBook[] {
  return book.state.groups.map(({ id }) => new GroupBook(book, id));
}
