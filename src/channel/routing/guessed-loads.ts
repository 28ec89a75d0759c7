// What readers were last known to hold, where nobody counts it exactly: a guess that grows stale.

export class GuessedLoads {
  readonly #guesses = new Map<string, { readonly load: number; readonly atMs: number }>();
  readonly #staleMs: number;

  constructor(staleMs: number) {
    this.#staleMs = staleMs;
  }

  get size(): number {
    return this.#guesses.size;
  }

  /** Undefined where nothing is known, or what is known is older than `staleMs`. */
  find(reader: string, nowMs: number): number | undefined {
    const guess = this.#guesses.get(reader);
    return guess === undefined || nowMs - guess.atMs > this.#staleMs ? undefined : guess.load;
  }

  set(reader: string, load: number, nowMs: number): void {
    this.#guesses.set(reader, { load, atMs: nowMs });
  }

  sent(reader: string, nowMs: number): void {
    this.set(reader, (this.find(reader, nowMs) ?? 0) + 1, nowMs);
  }

  /** It is done with some. A stale guess stays one. */
  done(reader: string, messages: number, nowMs: number): void {
    const load = this.find(reader, nowMs);
    if (load !== undefined) this.set(reader, Math.max(0, load - messages), nowMs);
  }

  forget(reader: string): void {
    this.#guesses.delete(reader);
  }

  /** Forgets all others. */
  keepOnly(readers: ReadonlySet<string>): void {
    for (const reader of this.#guesses.keys()) if (!readers.has(reader)) this.#guesses.delete(reader);
  }
}
