// The tables of dead letters: a row for each, split where one would be too large, and a row with their totals.
import { assert } from "../base/assert.ts";
import type { DeadLetter, DeadLetterChanges, DeadLetterStore, DeadLetterTotals } from "../channel/dead-letter-store.ts";
import { Block, encodeBlock } from "../protocol/block.ts";
import { joinParts, PARTS_MAX, partRange, splitParts } from "./row-parts.ts";
import type { Select, Statement } from "./statement.ts";

type DeadLetterRow = {
  record_offset: number;
  attempts: number;
  reason: string;
  died_at_ms: number;
  part_count: number;
  body: ArrayBuffer;
};

const SELECT_FROM = `SELECT record_offset, attempts, reason, died_at_ms, part_count, body FROM dead_letter
  WHERE record_offset >= ? ORDER BY record_offset LIMIT 1`;
const SELECT_PARTS = "SELECT body FROM dead_letter_part WHERE part_id > ? AND part_id < ? ORDER BY part_id";
const INSERT = `INSERT OR REPLACE INTO dead_letter (record_offset, attempts, reason, died_at_ms, part_count, body)
  VALUES (?, ?, ?, ?, ?, ?)`;

export class DeadLetterTables implements DeadLetterStore {
  readonly #select: Select;
  /** Whether there may be parts: spares a statement for each that is deleted. */
  #hasParts: boolean;

  constructor(select: Select) {
    this.#select = select;
    this.#hasParts = select("SELECT part_id FROM dead_letter_part LIMIT 1").length > 0;
  }

  readTotals(): DeadLetterTotals {
    const row = this.#select<{ messages: number; bytes: number }>("SELECT messages, bytes FROM dead_letter_totals")[0];
    return row ?? { messages: 0, bytes: 0 };
  }

  readFrom(offset: number): DeadLetter | undefined {
    const row = this.#select<DeadLetterRow>(SELECT_FROM, offset)[0];
    if (row === undefined) return undefined;
    const rest = row.part_count === 1 ? [] : this.#select<{ body: ArrayBuffer }>(SELECT_PARTS, ...partRange(row.record_offset));
    const block = new Block(joinParts([row.body, ...rest.map((part) => part.body)]));
    return { message: block.message(0), attempts: row.attempts, reason: row.reason, diedAtMs: row.died_at_ms };
  }

  *statementsOf(changes: DeadLetterChanges): Iterable<Statement> {
    if (changes.isCleared) {
      yield { text: "DELETE FROM dead_letter", bindings: [] };
      yield { text: "DELETE FROM dead_letter_part", bindings: [] };
    }
    for (const offset of changes.delete) {
      yield { text: "DELETE FROM dead_letter WHERE record_offset = ?", bindings: [offset] };
      if (this.#hasParts)
        yield { text: "DELETE FROM dead_letter_part WHERE part_id > ? AND part_id < ?", bindings: partRange(offset) };
    }
    for (const letter of changes.insert) yield* this.#insert(letter);
    const { messages, bytes } = changes.totals;
    yield {
      text: "INSERT OR REPLACE INTO dead_letter_totals (id, messages, bytes) VALUES (1, ?, ?)",
      bindings: [messages, bytes],
    };
  }

  *#insert({ message, attempts, reason, diedAtMs }: DeadLetter): Iterable<Statement> {
    const { offset } = message;
    const [first, ...rest] = splitParts(encodeBlock([{ ...message, isControl: false }], offset));
    assert(first !== undefined, "a block has bytes");
    yield { text: INSERT, bindings: [offset, attempts, reason, diedAtMs, rest.length + 1, first] };
    for (const [index, body] of rest.entries()) {
      this.#hasParts = true;
      const bindings = [offset * PARTS_MAX + index + 1, body];
      yield { text: "INSERT INTO dead_letter_part (part_id, body) VALUES (?, ?)", bindings };
    }
  }
}
