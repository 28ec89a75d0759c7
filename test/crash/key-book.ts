// The messages of each key that have not ended, for the rule that all live leases of a key belong to one reader (G5).
import type { Seen } from "./history.ts";
import { keyOf } from "./payload.ts";
import type { Tracked } from "./tracked.ts";

const NONE: ReadonlySet<Tracked> = new Set();

export class KeyBook {
  readonly #open = new Map<string, Set<Tracked>>();

  add(tracked: Tracked): void {
    if (tracked.key === undefined) return;
    const open = this.#open.get(tracked.key);
    if (open === undefined) this.#open.set(tracked.key, new Set([tracked]));
    else open.add(tracked);
  }

  remove(tracked: Tracked): void {
    if (tracked.key !== undefined) this.#open.get(tracked.key)?.delete(tracked);
  }

  openOf(key: string | undefined): ReadonlySet<Tracked> {
    return (key === undefined ? undefined : this.#open.get(key)) ?? NONE;
  }

  /** The one with the least offset: nothing can end its lease but a settle call, its deadline or its connection. */
  firstOf(key: string | undefined): Tracked | undefined {
    let first: Tracked | undefined;
    for (const tracked of this.openOf(key)) if ((tracked.offset ?? 0) < (first?.offset ?? Infinity)) first = tracked;
    return first;
  }
}

/** Messages of one pull that come after a later one of their key, in words. */
export function findKeyFalls(messages: readonly Seen[]): string[] {
  const falls: string[] = [];
  const last = new Map<string, number>();
  for (const { name, offset } of messages) {
    const key = keyOf(name);
    if (key === undefined) continue;
    const before = last.get(key) ?? 0;
    if (offset <= before) falls.push(`${name} at ${offset} was handed out after ${before} of its key`);
    last.set(key, offset);
  }
  return falls;
}
