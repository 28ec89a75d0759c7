// The order of messages with the same key: all live leases of a key belong to one holder, and what comes later waits its turn (G5).

/** The open messages of a key, in the order of offsets. Invariant: every leased one comes before every deferred one. */
interface KeyLine {
  readonly leased: number[];
  readonly deferred: number[];
  /** Who holds the leased ones. */
  holder: string | undefined;
}

export class KeyLines {
  readonly #lines = new Map<string, KeyLine>();
  /** Keys of which a holder has messages while later ones are deferred, by holder. */
  readonly #contended = new Map<string, Set<string>>();

  /** Keys with open messages. */
  get size(): number {
    return this.#lines.size;
  }

  /** Whether a message of `key` that comes after all open ones may be handed to `holder` now. */
  isFree(key: string, holder: string): boolean {
    const line = this.#lines.get(key);
    return line === undefined || (line.deferred.length === 0 && (line.leased.length === 0 || line.holder === holder));
  }

  /** Whether `holder` may have deferred messages of `key`: nobody else holds one. */
  mayHold(key: string, holder: string): boolean {
    const line = this.#lines.get(key);
    return line === undefined || line.leased.length === 0 || line.holder === holder;
  }

  /** Who holds leased messages of `key`. */
  holderOf(key: string): string | undefined {
    return this.#lines.get(key)?.holder;
  }

  /** Those who hold messages of keys of which later ones are deferred. */
  get contenders(): Iterable<string> {
    return this.#contended.keys();
  }

  /** The deferred message of `key` at `place`, from 0, in the order of offsets. */
  deferredAt(key: string, place: number): number | undefined {
    return this.#lines.get(key)?.deferred[place];
  }

  /** Leased messages of `key` after `offset`, in the order of offsets. */
  leasedAfter(key: string, offset: number): number[] {
    return (this.#lines.get(key)?.leased ?? []).filter((leased) => leased > offset);
  }

  /** Leased messages of `key`, in the order of offsets. */
  leasedOf(key: string): readonly number[] {
    return this.#lines.get(key)?.leased ?? [];
  }

  /** The first deferred message of each key of which `holder` has earlier ones: nobody else may have it. */
  firstBehind(holder: string): number[] {
    return [...(this.#contended.get(holder) ?? [])].flatMap((key) => this.#lines.get(key)?.deferred[0] ?? []);
  }

  lease(key: string, offset: number, holder: string): void {
    const line = this.#lineOf(key);
    remove(line.deferred, offset);
    insert(line.leased, offset);
    line.holder = holder;
    this.#noteContention(key, line, holder);
  }

  defer(key: string, offset: number): void {
    const line = this.#lineOf(key);
    const { holder } = line;
    remove(line.leased, offset);
    if (line.leased.length === 0) line.holder = undefined;
    insert(line.deferred, offset);
    this.#noteContention(key, line, holder);
  }

  /** Forgets a message that ended. Returns the message of the key that may be handed to anybody now. */
  finish(key: string, offset: number): number | undefined {
    const line = this.#lines.get(key);
    if (line === undefined) return undefined;
    remove(line.leased, offset);
    remove(line.deferred, offset);
    this.#noteContention(key, line, line.holder);
    if (line.leased.length > 0) return undefined;
    line.holder = undefined;
    if (line.deferred.length === 0) this.#lines.delete(key);
    return line.deferred[0];
  }

  /** The message of `key` that may be handed to anybody now. */
  firstFree(key: string): number | undefined {
    const line = this.#lines.get(key);
    return line === undefined || line.leased.length > 0 ? undefined : line.deferred[0];
  }

  clear(): void {
    this.#lines.clear();
    this.#contended.clear();
  }

  #noteContention(key: string, { leased, deferred }: KeyLine, holder: string | undefined): void {
    if (holder === undefined) return;
    const keys = this.#contended.get(holder);
    if (leased.length > 0 && deferred.length > 0) {
      if (keys === undefined) this.#contended.set(holder, new Set([key]));
      else keys.add(key);
    } else if (keys?.delete(key) === true && keys.size === 0) this.#contended.delete(holder);
  }

  #lineOf(key: string): KeyLine {
    let line = this.#lines.get(key);
    if (line === undefined) this.#lines.set(key, (line = { leased: [], deferred: [], holder: undefined }));
    return line;
  }
}

/** Where `offset` is or belongs. */
function findPlace(offsets: readonly number[], offset: number): number {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((offsets[middle] ?? 0) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function insert(offsets: number[], offset: number): void {
  const place = findPlace(offsets, offset);
  if (offsets[place] !== offset) offsets.splice(place, 0, offset);
}

function remove(offsets: number[], offset: number): void {
  const place = findPlace(offsets, offset);
  if (offsets[place] === offset) offsets.splice(place, 1);
}
