// One reader that is given messages: as many as it asks for, within so many bytes.
import type { Giving, Recipients } from "./choice.ts";
import type { KeyLines } from "./key-lines.ts";
import type { Run } from "./run.ts";
import { Selection } from "./selection.ts";

export class OneReader implements Recipients {
  readonly selection = new Selection();
  /** Whether more messages were there, but not within the bytes. */
  isCutByBytes = false;
  readonly #keys: KeyLines;
  readonly #holder: string;
  readonly #max: number;
  readonly #bytesMax: number;

  /** `bytesMax`: or one larger message. */
  constructor(keys: KeyLines, want: { readonly holder: string; readonly max: number; readonly bytesMax: number }) {
    this.#keys = keys;
    this.#holder = want.holder;
    this.#max = want.max;
    this.#bytesMax = want.bytesMax;
  }

  get count(): number {
    return this.selection.count;
  }

  get isFull(): boolean {
    return this.selection.count >= this.#max || this.isCutByBytes;
  }

  firstBehind(): Iterable<number> {
    return this.#keys.firstBehind(this.#holder);
  }

  mayHold(key: string): boolean {
    return this.#keys.mayHold(key, this.#holder);
  }

  give(run: Run, place: number): Giving {
    if (this.selection.count > 0 && this.selection.bytes + run.messageBytes(place) > this.#bytesMax) {
      this.isCutByBytes = true;
      return "full";
    }
    this.selection.add(run, place);
    return "given";
  }
}
