// The tables of groups: a row for each, and what each has done ahead of its head, a row for each range of offsets.
import type { GroupChanges, GroupRecord, GroupStore } from "../channel/group-store.ts";
import type { Select, Statement } from "./statement.ts";

/** A done row's id is its group's number times this, plus its range's number, which is lower (offsets end at 2^48). */
const ROWS_PER_GROUP = 2 ** 39;

export class GroupTables implements GroupStore {
  readonly #select: Select;

  constructor(select: Select) {
    this.#select = select;
  }

  readGroups(): readonly GroupRecord[] {
    const rows = this.#select<{ record_json: string }>("SELECT record_json FROM reader_group ORDER BY group_id");
    return rows.map((row) => JSON.parse(row.record_json) as GroupRecord);
  }

  readDone(groupId: number, bucket: number): Uint8Array | undefined {
    const rowId = groupId * ROWS_PER_GROUP + bucket;
    const row = this.#select<{ places: ArrayBuffer }>("SELECT places FROM group_done WHERE row_id = ?", rowId)[0];
    return row === undefined ? undefined : new Uint8Array(row.places);
  }

  *statementsOf(changes: GroupChanges): Iterable<Statement> {
    if (changes.isCleared) {
      yield { text: "DELETE FROM reader_group", bindings: [] };
      yield { text: "DELETE FROM group_done", bindings: [] };
    }
    for (const id of changes.delete) yield { text: "DELETE FROM reader_group WHERE group_id = ?", bindings: [id] };
    for (const id of [...changes.delete, ...changes.clearDone]) {
      const bindings = [id * ROWS_PER_GROUP, (id + 1) * ROWS_PER_GROUP];
      yield { text: "DELETE FROM group_done WHERE row_id >= ? AND row_id < ?", bindings };
    }
    for (const { groupId, bucket } of changes.deleteDone) {
      yield { text: "DELETE FROM group_done WHERE row_id = ?", bindings: [groupId * ROWS_PER_GROUP + bucket] };
    }
    for (const record of changes.write) {
      const bindings = [record.id, JSON.stringify(record)];
      yield { text: "INSERT OR REPLACE INTO reader_group (group_id, record_json) VALUES (?, ?)", bindings };
    }
    for (const { groupId, bucket, places } of changes.writeDone) {
      const bindings = [groupId * ROWS_PER_GROUP + bucket, places.buffer];
      yield { text: "INSERT OR REPLACE INTO group_done (row_id, places) VALUES (?, ?)", bindings };
    }
  }
}
