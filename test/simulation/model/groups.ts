// Groups and retention: SPEC section GP, word by word.
import type { GroupOperation, GroupStart, OperationOf, Outcome } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { Refusal } from "../../../src/protocol/problems.ts";
import { GroupBook, groupsOf } from "./group-book.ts";
import { type Book, freshOf, type ModelGroup, refused } from "./state.ts";

/** What can end the waiting of a group's readers. */
interface Readers {
  refuseReaders(group: number, refusal: Refusal): void;
  endGroup(group: number, refusal: Refusal): void;
}

const NEEDS_GROUPS: Refusal = { kind: "wrong-retention", retention: "queue", needed: ["interest", "log"] };

export class ModelGroups {
  readonly #book: Book;
  readonly #readers: Readers;

  constructor(book: Book, readers: Readers) {
    this.#book = book;
    this.#readers = readers;
  }

  decide(operation: GroupOperation, nowMs: number): Outcome {
    if (operation.type === "list-groups") return this.#list(operation, nowMs);
    const found = findGroup(this.#book, operation.group);
    if (operation.type === "create-group") return this.#create(operation, found, nowMs);
    if (!(found instanceof GroupBook)) return refused(found);
    if (operation.type !== "describe-group" && this.#isQueue) return refused(NEEDS_GROUPS);
    if (operation.type === "seek-group") return this.#seek(found, operation.to, nowMs);
    if (operation.type === "delete-group") return this.#delete(found);
    if (operation.type === "change-group") {
      const { isPaused = found.state.isPaused, settings } = operation;
      this.#book.changeGroup(found.id, { isPaused, settings: { ...found.state.settings, ...settings } });
    }
    return { type: "group", description: found.describe(nowMs) };
  }

  /** GP1: what is not kept any more goes. */
  applyRetention(nowMs: number): void {
    const { record } = this.#book.state;
    if (record?.settings.retention === "interest") this.#giveUpDone(record.settings.whenNoGroups, nowMs);
    if (record?.settings.retention === "log") this.#giveUpOldest(record.limits, record.settings.maxAgeMs, nowMs);
  }

  get #isQueue(): boolean {
    return this.#book.existing.settings.retention === "queue";
  }

  /** With interest a message goes when every group has done with it and with those before it; a control record when every head has passed it. */
  #giveUpDone(whenNoGroups: "refuse" | "drop", nowMs: number): void {
    const groups = groupsOf(this.#book);
    if (groups.length === 0 && whenNoGroups === "refuse") return;
    const { nextOffset, records } = this.#book.state;
    const leastHead = Math.min(nextOffset, ...groups.map(({ headOffset }) => headOffset));
    const leastOpen = Math.min(nextOffset, ...groups.map(({ messages: [first] }) => first?.offset ?? nextOffset));
    const done = records.filter(({ offset, message }) => offset < (message === undefined ? leastHead : leastOpen));
    this.#book.end(
      done.map(({ offset }) => offset),
      groups.length === 0 ? "dropped" : "acked",
      nowMs,
    );
  }

  /** A log keeps the newest that its limits allow. */
  #giveUpOldest(limits: { maxMessages: number; maxBytes: number }, maxAgeMs: number | null, nowMs: number): void {
    let { depth, bytes } = this.#book;
    const oldest: number[] = [];
    for (const record of this.#book.state.records) {
      const isTooOld = maxAgeMs !== null && record.putAtMs < nowMs - maxAgeMs;
      if (depth <= limits.maxMessages && bytes <= limits.maxBytes && !isTooOld) break;
      oldest.push(record.offset);
      if (record.message !== undefined) depth -= 1;
      bytes -= record.bytes;
    }
    const last = oldest.at(-1);
    if (last === undefined) return;
    for (const group of groupsOf(this.#book)) group.passUntil(last + 1, "dropped");
    this.#book.end(oldest, "dropped", nowMs);
  }

  #list({ after = "", limit }: OperationOf<"list-groups">, nowMs: number): Outcome {
    const found = groupsOf(this.#book)
      .map((group) => group.describe(nowMs))
      .filter(({ group }) => group > after)
      .sort((a, b) => (a.group < b.group ? -1 : 1));
    const groups = found.slice(0, limit);
    return { type: "groups", groups, next: found.length > limit ? (groups.at(-1)?.group ?? null) : null };
  }

  #create(operation: OperationOf<"create-group">, found: GroupBook | Refusal, nowMs: number): Outcome {
    const { group: name, settings, start = { at: "last" } } = operation;
    if (this.#isQueue) return refused(NEEDS_GROUPS);
    if (found instanceof GroupBook) return { type: "group", description: found.describe(nowMs) };
    const offset = this.resolve(start);
    if (offset === undefined) return this.outOfRange();
    const { groups, deletedGroups } = this.#book.state;
    if (groups.length >= LIMITS.groupsMax) return refused({ kind: "too-many-groups", limit: LIMITS.groupsMax });
    const taken = new Set([...deletedGroups, ...groups.map((group) => group.id)]);
    let id = 1;
    while (taken.has(id)) id += 1;
    const group = { id, name, createdAtMs: nowMs, isPaused: false, settings, ...this.#beginAt(offset) };
    this.#book.change({ groups: [...groups, group] });
    return { type: "group-created", description: new GroupBook(this.#book, id).describe(nowMs) };
  }

  #seek(group: GroupBook, to: GroupStart, nowMs: number): Outcome {
    const offset = this.resolve(to);
    if (offset === undefined) return this.outOfRange();
    const isBack = offset < group.headOffset || (offset === group.headOffset && offset < this.#book.state.nextOffset);
    if (isBack) this.#book.changeGroup(group.id, this.#beginAt(offset));
    else group.passUntil(offset, "skipped");
    return { type: "group", description: group.describe(nowMs) };
  }

  #delete({ id, state: { name } }: GroupBook): Outcome {
    const { groups, deletedGroups } = this.#book.state;
    this.#book.change({ groups: groups.filter((group) => group.id !== id), deletedGroups: [...deletedGroups, id] });
    this.#readers.refuseReaders(id, { kind: "unknown-group", group: name });
    this.#readers.endGroup(id, { kind: "unknown-group", group: name });
    return { type: "group-deleted", group: name };
  }

  /** The account of a group that begins at `offset`, with what is there. */
  #beginAt(offset: number): AccountOf<ModelGroup> {
    const open = this.#book.state.records.filter((record) => record.offset >= offset).map((record) => freshOf(record));
    return { ...NOTHING_HAPPENED, records: open, put: open.filter(({ message }) => message !== undefined).length };
  }

  /** GP4: the offset that is meant; undefined for one that is neither kept nor the next. */
  resolve(start: GroupStart): number | undefined {
    const { headOffset } = this.#book;
    const { records, nextOffset } = this.#book.state;
    if ("at" in start) return start.at === "first" ? headOffset : nextOffset;
    if ("timeMs" in start) return records.find(({ putAtMs }) => putAtMs >= start.timeMs)?.offset ?? nextOffset;
    return start.offset >= headOffset && start.offset <= nextOffset ? start.offset : undefined;
  }

  outOfRange(): Outcome {
    const { headOffset, state } = this.#book;
    return refused({ kind: "seek-out-of-range", firstOffset: headOffset, nextOffset: state.nextOffset });
  }
}

type AccountOf<Group extends ModelGroup> = Omit<Group, "id" | "name" | "createdAtMs" | "isPaused" | "settings">;

const NOTHING_HAPPENED: AccountOf<ModelGroup> = {
  records: [],
  put: 0,
  acked: 0,
  removed: 0,
  deadLettered: 0,
  dropped: 0,
  expired: 0,
  skipped: 0,
  frontier: 0,
  scanMark: 0,
  doubtBefore: 0,
};

/** The groups with which a life begins: that of a queue, or none. */
export function firstGroups(retention: "queue" | "interest" | "log", createdAtMs: number): ModelGroup[] {
  if (retention !== "queue") return [];
  return [{ id: 0, name: "default", createdAtMs, isPaused: false, settings: {}, ...NOTHING_HAPPENED }];
}

/** The group that is meant, or why there is none. */
export function findGroup(book: Book, name = "default"): GroupBook | Refusal {
  const found = book.state.groups.find((group) => group.name === name);
  if (found !== undefined) return new GroupBook(book, found.id);
  return book.existing.settings.retention === "queue" ? NEEDS_GROUPS : { kind: "unknown-group", group: name };
}
