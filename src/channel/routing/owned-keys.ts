// Which reader was last given a message of a key: it owns the key. Ownership passes when it leaves, and after a time in which it got none.

interface Entry<Owner> {
  readonly key: string;
  owner: Owner;
  givenAtMs: number;
  /** In the order in which they were last given, the oldest first. */
  older: Entry<Owner> | undefined;
  newer: Entry<Owner> | undefined;
}

export interface OwnershipBounds {
  /** Keys whose owners are known; of more the longest unused are forgotten. */
  readonly keysMax: number;
  /** For how long a key that nothing comes for stays its owner's. */
  readonly idleMs: number;
}

interface KeyOwner {
  /** The keys that it owns. */
  readonly keys: Set<string>;
}

export class OwnedKeys<Owner extends KeyOwner> {
  readonly #byKey = new Map<string, Entry<Owner>>();
  #oldest: Entry<Owner> | undefined;
  #newest: Entry<Owner> | undefined;
  readonly #bounds: OwnershipBounds;
  readonly #onCount: (owner: Owner) => void;

  /** `onCount` is told whose number of keys changed. */
  constructor(bounds: OwnershipBounds, onCount: (owner: Owner) => void) {
    this.#bounds = bounds;
    this.#onCount = onCount;
  }

  get size(): number {
    return this.#byKey.size;
  }

  ownerOf(key: string): Owner | undefined {
    return this.#byKey.get(key)?.owner;
  }

  give(key: string, owner: Owner, nowMs: number): void {
    const known = this.#byKey.get(key);
    if (known !== undefined) this.#renew(known, owner, nowMs);
    else {
      if (this.#oldest !== undefined && this.#byKey.size >= this.#bounds.keysMax) this.#drop(this.#oldest);
      const entry: Entry<Owner> = { key, owner, givenAtMs: nowMs, older: undefined, newer: undefined };
      this.#byKey.set(key, entry);
      this.#append(entry);
      this.#count(owner, () => owner.keys.add(key));
    }
  }

  /** What nothing came for in a long time is nobody's any more. */
  expire(nowMs: number): void {
    while (this.#oldest !== undefined && this.#oldest.givenAtMs + this.#bounds.idleMs <= nowMs) this.#drop(this.#oldest);
  }

  /** Costs as much as it was given keys. */
  removeOwner({ keys }: Owner): void {
    for (const key of keys) {
      const entry = this.#byKey.get(key);
      if (entry !== undefined) this.#drop(entry);
    }
  }

  #renew(entry: Entry<Owner>, owner: Owner, nowMs: number): void {
    const { key, owner: before } = entry;
    this.#unlink(entry);
    entry.givenAtMs = nowMs;
    this.#append(entry);
    if (owner === before) return;
    entry.owner = owner;
    this.#count(before, () => before.keys.delete(key));
    this.#count(owner, () => owner.keys.add(key));
  }

  #drop(entry: Entry<Owner>): void {
    const { key, owner } = entry;
    this.#unlink(entry);
    this.#byKey.delete(key);
    this.#count(owner, () => owner.keys.delete(key));
  }

  #count(owner: Owner, change: () => void): void {
    change();
    this.#onCount(owner);
  }

  #append(entry: Entry<Owner>): void {
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
  }

  #unlink({ older, newer }: Entry<Owner>): void {
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
  }
}
