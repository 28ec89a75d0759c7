// Groups that nobody uses any more: one that was given an idle time ends by itself, so that a reader that died holds nothing back (rule GP10).
import type { Group, Groups } from "./groups.ts";
import type { Streams } from "./streams.ts";
import type { WaitLine } from "./wait-line.ts";

interface IdleGroupsParts {
  readonly groups: Groups;
  readonly line: WaitLine;
  readonly streams: Streams;
}

export class IdleGroups {
  readonly #parts: IdleGroupsParts;
  /** When each group with an idle time was last seen in use, by what goes with it alone. Not stored: waking begins the time anew. */
  readonly #usedAtMs = new WeakMap<Group["delivery"], number>();

  constructor(parts: IdleGroupsParts) {
    this.#parts = parts;
  }

  /** Notes who is in use now; to be called before each operation and after it, as it may be what begins or ends it. */
  look(nowMs: number): void {
    for (const group of this.#expiring()) {
      if (!this.#usedAtMs.has(group.delivery) || this.#isInUse(group)) this.#usedAtMs.set(group.delivery, nowMs);
    }
  }

  noteUse(group: Group, nowMs: number): void {
    if (group.expireAfterIdleMs !== null) this.#usedAtMs.set(group.delivery, nowMs);
  }

  /** Groups whose idle time is over. */
  findIdle(nowMs: number): Group[] {
    return this.#expiring().filter((group) => !this.#isInUse(group) && this.#endsAtMs(group) <= nowMs);
  }

  /** When the first idle time may be over. */
  get nextAtMs(): number | undefined {
    const times = this.#expiring().map((group) => this.#endsAtMs(group));
    return times.length === 0 ? undefined : Math.min(...times);
  }

  #endsAtMs({ delivery, expireAfterIdleMs }: Group): number {
    return (this.#usedAtMs.get(delivery) ?? Infinity) + (expireAfterIdleMs ?? Infinity);
  }

  #expiring(): Group[] {
    const { groups } = this.#parts;
    return groups.expiring === 0 ? [] : [...groups.all()].filter(({ expireAfterIdleMs }) => expireAfterIdleMs !== null);
  }

  #isInUse({ id, delivery }: Group): boolean {
    const { line, streams } = this.#parts;
    return delivery.leased > 0 || line.firstGet(id) !== undefined || streams.hasMembers(id);
  }
}
