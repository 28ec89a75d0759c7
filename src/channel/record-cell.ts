// Holds the channel's record and remembers whether the next commit has to write it.
import type { ChannelRecord } from "./store.ts";

export class RecordCell {
  #record: ChannelRecord | undefined;
  #isChanged = false;

  constructor(record: ChannelRecord | undefined) {
    this.#record = record;
  }

  get(): ChannelRecord | undefined {
    return this.#record;
  }

  set(record: ChannelRecord): void {
    this.#record = record;
    this.#isChanged = true;
  }

  /** Returns what takes back every `set` that comes after this call. */
  save(): () => void {
    const record = this.#record;
    const isChanged = this.#isChanged;
    return () => {
      this.#record = record;
      this.#isChanged = isChanged;
    };
  }

  /** The record, if the commit has to write it. */
  takeChanged(): ChannelRecord | undefined {
    const changed = this.#isChanged ? this.#record : undefined;
    this.#isChanged = false;
    return changed;
  }
}
