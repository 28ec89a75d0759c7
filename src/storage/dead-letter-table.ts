// The tables of dead letters: a row for each, split where one would be too large, and a row with their totals.
import { assert } from "../base/assert.ts";
import type {
  DeadLetter,
  DeadLetterChanges,
  DeadLetterFate,
  DeadLetterKey,
  DeadLetterStore,
  DeadLetterTotals,
} from "../channel/dead-letter-store.ts";
import { Block } from "../protocol/block.ts";
import { encodeStoredBlock } from "../protocol/block-writer.ts";
import { packHistory, unpackHistory, type PackedHistory } from "./packed-history.ts";
import { joinParts, splitParts } from "./row-parts.ts";
import type { Select, Statement } from "./statement.ts";

type DeadLetterRow = {
  record_offset: number;
  group_id: number;
  group_name: string;
  attempts: number;
  reason: string;
  died_at_ms: number;
  part_count: number;
  body: ArrayBuffer;
  history_json: string | null;
};

type FateRow = Omit<DeadLetterRow, "body" | "part_count">;

const SELECT_FROM = `SELECT record_offset, group_id, group_name, attempts, reason, died_at_ms, part_count, body, history_json
  FROM dead_letter
  WHERE (record_offset, group_id) >= (?, ?) ORDER BY record_offset, group_id LIMIT 1`;
const SELECT_FATES = `SELECT record_offset, group_id, group_name, attempts, reason, died_at_ms, history_json FROM dead_letter
  WHERE record_offset = ? ORDER BY group_id`;
const SELECT_PARTS = "SELECT body FROM dead_letter_part WHERE record_offset = ? AND group_id = ? ORDER BY part";
const INSERT = `INSERT OR REPLACE INTO dead_letter (record_offset, group_id, group_name, attempts, reason, died_at_ms, part_count, body, history_json)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const INSERT_PART = "INSERT INTO dead_letter_part (record_offset, group_id, part, body) VALUES (?, ?, ?, ?)";

export class DeadLetterTables implements DeadLetterStore {
  readonly #select: Select;
  /** Whether there may be parts: spares a statement for each that is deleted. */
  #hasParts: boolean;

  constructor(select: Select) {
    this.#select = select;
    this.#hasParts = select("SELECT part FROM dead_letter_part LIMIT 1").length > 0;
  }

  readTotals(): DeadLetterTotals {
    const row = this.#select<{ messages: number; bytes: number }>("SELECT messages, bytes FROM dead_letter_totals")[0];
    return row ?? { messages: 0, bytes: 0 };
  }

  readFrom(key: DeadLetterKey): DeadLetter | undefined {
    const row = this.#select<DeadLetterRow>(SELECT_FROM, key.offset, key.groupId)[0];
    if (row === undefined) return undefined;
    const { offset, groupId, ...fate } = parseFate(row);
    const rest = row.part_count === 1 ? [] : this.#select<{ body: ArrayBuffer }>(SELECT_PARTS, offset, groupId);
    const block = Block.ofStored(joinParts([row.body, ...rest.map((part) => part.body)]));
    return { offset, groupId, ...fate, message: block.message(0) };
  }

  readFates(offset: number): readonly DeadLetterFate[] {
    return this.#select<FateRow>(SELECT_FATES, offset).map(parseFate);
  }

  *statementsOf(changes: DeadLetterChanges): Iterable<Statement> {
    if (changes.isCleared) {
      yield { text: "DELETE FROM dead_letter", bindings: [] };
      yield { text: "DELETE FROM dead_letter_part", bindings: [] };
    }
    for (const { offset, groupId } of changes.delete) {
      const bindings = [offset, groupId];
      yield { text: "DELETE FROM dead_letter WHERE record_offset = ? AND group_id = ?", bindings };
      if (this.#hasParts) yield { text: "DELETE FROM dead_letter_part WHERE record_offset = ? AND group_id = ?", bindings };
    }
    for (const letter of changes.insert) yield* this.#insert(letter);
    const { messages, bytes } = changes.totals;
    yield {
      text: "INSERT OR REPLACE INTO dead_letter_totals (id, messages, bytes) VALUES (1, ?, ?)",
      bindings: [messages, bytes],
    };
  }

  *#insert({ offset, groupId, group, message, attempts, reason, diedAtMs, history }: DeadLetter): Iterable<Statement> {
    const [first, ...rest] = splitParts(encodeStoredBlock([{ ...message, isControl: false }], offset));
    assert(first !== undefined, "a block has bytes");
    const historyJson = history === undefined ? null : JSON.stringify(packHistory(history));
    const bindings = [offset, groupId, group, attempts, reason, diedAtMs, rest.length + 1, first, historyJson];
    yield { text: INSERT, bindings };
    for (const [index, body] of rest.entries()) {
      this.#hasParts = true;
      yield { text: INSERT_PART, bindings: [offset, groupId, index + 1, body] };
    }
  }
}

function parseFate(row: FateRow): DeadLetterFate {
  const { record_offset: offset, group_id: groupId, group_name: group, attempts, reason, died_at_ms: diedAtMs } = row;
  const history = row.history_json === null ? undefined : unpackHistory(JSON.parse(row.history_json) as PackedHistory);
  return { offset, groupId, group, attempts, reason, diedAtMs, history };
}
