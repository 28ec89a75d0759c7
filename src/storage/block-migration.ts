// Rewrites every stored block in the form of today: the step of the migrations to schema version 8.
import type { MeteredStorage, SqlValue } from "./metered-storage.ts";
import { isOldBlock, renewBlock } from "./old-block.ts";
import { joinParts, PARTS_MAX, splitParts } from "./row-parts.ts";

/** Where blocks lie: a table of first parts, one of further parts, and what names a part of a block. */
interface Place {
  readonly table: string;
  readonly key: readonly string[];
  readonly partsTable: string;
  /** The columns of a further part that name it, by the values of its block's key. */
  readonly partKey: readonly string[];
  readonly partOf: (key: readonly SqlValue[], part: number) => SqlValue[];
}

const PLACES: readonly Place[] = [
  {
    table: "segment",
    key: ["first_offset"],
    partsTable: "segment_part",
    partKey: ["part_id"],
    partOf: ([firstOffset], part) => [Number(firstOffset) * PARTS_MAX + part],
  },
  {
    table: "dead_letter",
    key: ["record_offset", "group_id"],
    partsTable: "dead_letter_part",
    partKey: ["record_offset", "group_id", "part"],
    partOf: (key, part) => [...key, part],
  },
  {
    table: "scheduled",
    key: ["due_at_ms", "scheduled_id"],
    partsTable: "scheduled_part",
    partKey: ["due_at_ms", "scheduled_id", "part"],
    partOf: (key, part) => [...key, part],
  },
];

/** One block after the other: all of them together may not fit memory. */
export function renewBlocks(storage: MeteredStorage): void {
  endSnapshots(storage);
  for (const place of PLACES) {
    const columns = place.key.join(", ");
    for (const row of storage.exec(`SELECT ${columns} FROM ${place.table}`)) {
      renew(
        storage,
        place,
        place.key.map((column) => row[column] ?? null),
      );
    }
  }
}

/** What is read or brought page by page belongs to one version of the rows: it is `unknown-snapshot` and `unknown-restore` from here on. */
function endSnapshots(storage: MeteredStorage): void {
  const select = "SELECT type, name FROM sqlite_master WHERE type = ? AND (name GLOB 'kept_*' OR name GLOB 'staged_*')";
  for (const type of ["trigger", "table"]) {
    for (const { name } of storage.exec<{ name: string }>(select, type)) storage.exec(`DROP ${type} ${name}`);
  }
  storage.exec("DELETE FROM snapshot_state");
}

function renew(storage: MeteredStorage, place: Place, key: readonly SqlValue[]): void {
  const { table, partsTable, partKey, partOf } = place;
  const isRow = matches(place.key);
  const isPart = matches(partKey);
  const row = storage.exec<{ part_count: number; body: ArrayBuffer }>(
    `SELECT part_count, body FROM ${table} WHERE ${isRow}`,
    ...key,
  )[0];
  if (row === undefined) return;
  const parts = [row.body];
  for (let part = 1; part < row.part_count; part++) {
    const rest = storage.exec<{ body: ArrayBuffer }>(`SELECT body FROM ${partsTable} WHERE ${isPart}`, ...partOf(key, part))[0];
    if (rest !== undefined) parts.push(rest.body);
    storage.exec(`DELETE FROM ${partsTable} WHERE ${isPart}`, ...partOf(key, part));
  }
  const block = joinParts(parts);
  const [first, ...rest] = splitParts(isOldBlock(block) ? renewBlock(block) : new Uint8Array(block));
  storage.exec(`UPDATE ${table} SET part_count = ?, body = ? WHERE ${isRow}`, rest.length + 1, first ?? null, ...key);
  const insert = `INSERT INTO ${partsTable} (${partKey.join(", ")}, body) VALUES (${partKey.map(() => "?").join(", ")}, ?)`;
  for (const [index, body] of rest.entries()) storage.exec(insert, ...partOf(key, index + 1), body);
}

function matches(columns: readonly string[]): string {
  return columns.map((column) => `${column} = ?`).join(" AND ");
}
