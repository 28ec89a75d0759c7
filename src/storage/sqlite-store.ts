// The channel's storage in the SQLite database of its Durable Object. Its SQL is here, in the tables beside and in schema.ts.
import { assert } from "../base/assert.ts";
import { DEFAULT_SETTINGS } from "../protocol/settings.ts";
import type { Changes, ChannelRecord, ChannelStore, NewSegment, Position, Segment, StoredSegment } from "../channel/store.ts";
import { CheckpointTable } from "./checkpoint-table.ts";
import type { MeteredStorage, SqlValue } from "./metered-storage.ts";
import { DeadLetterTables } from "./dead-letter-table.ts";
import { DeliveryTables } from "./delivery-table.ts";
import { GroupTables } from "./group-table.ts";
import { ScheduleTable } from "./schedule-table.ts";
import { IdempotencyTable } from "./idempotency-table.ts";
import { ProducersTable } from "./producers-table.ts";
import { migrate, readSchemaVersion, SCHEMA_VERSION } from "./schema.ts";
import { SnapshotTables } from "./snapshot-tables.ts";
import { isSoundWhole } from "./snapshot-whole.ts";
import { joinParts, PART_BYTES_MAX, partRange, PARTS_MAX, splitParts } from "./row-parts.ts";
import type { Select, Statement } from "./statement.ts";

type SegmentRow = {
  first_offset: number;
  record_count: number;
  message_count: number;
  message_bytes: number;
  before_messages: number;
  before_bytes: number;
  before_segments: number;
  put_at_ms: number;
};

type StoredSegmentRow = SegmentRow & { part_count: number; places: ArrayBuffer | null; body: ArrayBuffer };

type PositionRow = {
  next_offset: number;
  head_offset: number;
  put_messages: number;
  put_bytes: number;
  put_segments: number;
  passed_messages: number;
  passed_bytes: number;
  passed_segments: number;
  ahead_messages: number;
  ahead_bytes: number;
  ahead_segments: number;
  removed_messages: number;
  dead_lettered_messages: number;
  dropped_messages: number;
  last_control_offset: number;
  scan_mark: number;
  lost_ahead_bytes: number;
  last_ttl_offset: number;
  expired_messages: number;
  written_at_ms: number;
};

const SEGMENT_COLUMNS =
  "segment.first_offset, record_count, message_count, message_bytes, before_messages, before_bytes, before_segments, put_at_ms";
const SEGMENT_WITH_BODY = `SELECT ${SEGMENT_COLUMNS}, part_count, places, body FROM segment LEFT JOIN gone ON gone.first_offset = segment.first_offset`;
const SELECT_SEGMENT_FROM = `${SEGMENT_WITH_BODY} WHERE segment.first_offset >= ? ORDER BY segment.first_offset LIMIT 1`;
const SELECT_SEGMENT_UP_TO = `${SEGMENT_WITH_BODY} WHERE segment.first_offset <= ? ORDER BY segment.first_offset DESC LIMIT 1`;
const SELECT_LAST_SEGMENT = `SELECT ${SEGMENT_COLUMNS} FROM segment ORDER BY segment.first_offset DESC LIMIT 1`;
const SELECT_PARTS = "SELECT body FROM segment_part WHERE part_id > ? AND part_id < ? ORDER BY part_id";
const SELECT_POSITION = `SELECT next_offset, head_offset, put_messages, put_bytes, put_segments, passed_messages, passed_bytes, passed_segments,
  ahead_messages, ahead_bytes, ahead_segments, removed_messages, dead_lettered_messages, dropped_messages, last_control_offset, scan_mark, lost_ahead_bytes,
  last_ttl_offset, expired_messages, written_at_ms FROM position`;
const UPSERT_POSITION = `INSERT OR REPLACE INTO position (id, next_offset, head_offset, put_messages, put_bytes, put_segments,
  passed_messages, passed_bytes, passed_segments, ahead_messages, ahead_bytes, ahead_segments, removed_messages, dead_lettered_messages,
  dropped_messages, last_control_offset, scan_mark, lost_ahead_bytes, last_ttl_offset, expired_messages, written_at_ms) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const INSERT_SEGMENT = `INSERT INTO segment (first_offset, record_count, message_count, message_bytes, before_messages, before_bytes,
  before_segments, put_at_ms, part_count, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** A row whose key changes counts as one, where deleting it and inserting another are two (measured). */
const REUSE_SEGMENT = `UPDATE segment SET first_offset = ?, record_count = ?, message_count = ?, message_bytes = ?, before_messages = ?,
  before_bytes = ?, before_segments = ?, put_at_ms = ?, part_count = ?, body = ? WHERE first_offset = ?`;

export class SqliteStore implements ChannelStore {
  readonly delivery: DeliveryTables;
  readonly deadLetters: DeadLetterTables;
  readonly groups: GroupTables;
  readonly checkpoints: CheckpointTable;
  readonly schedule: ScheduleTable;
  readonly producers: ProducersTable;
  readonly idempotency: IdempotencyTable;
  readonly snapshots: SnapshotTables;
  readonly #storage: MeteredStorage;
  #schemaVersion: number;
  /** Whether the tables that most channels never use may have rows: spares their statements in every commit. */
  #hasParts: boolean;
  #hasGone: boolean;

  constructor(storage: MeteredStorage) {
    this.#storage = storage;
    this.#schemaVersion = readSchemaVersion(storage);
    // An object that was only asked about keeps no tables: they are made by the first commit.
    if (this.#schemaVersion > 0) this.#migrate();
    const select: Select = (statement, ...bindings) => this.#select(statement, ...bindings);
    this.delivery = new DeliveryTables(select);
    this.deadLetters = new DeadLetterTables(select);
    this.groups = new GroupTables(select);
    this.checkpoints = new CheckpointTable(select);
    this.schedule = new ScheduleTable(select);
    this.producers = new ProducersTable(select);
    this.idempotency = new IdempotencyTable(select);
    this.snapshots = new SnapshotTables(select, SCHEMA_VERSION);
    this.#hasParts = this.#hasRows("SELECT part_id FROM segment_part LIMIT 1");
    this.#hasGone = this.#hasRows("SELECT first_offset FROM gone LIMIT 1");
  }

  readChannel(): ChannelRecord | undefined {
    const row = this.#select<{ record_json: string }>("SELECT record_json FROM channel")[0];
    if (row === undefined) return undefined;
    const record = JSON.parse(row.record_json) as ChannelRecord;
    // A record of an earlier release lacks the settings that came later.
    const delivery = { ...DEFAULT_SETTINGS.delivery, ...record.settings.delivery };
    return { ...record, settings: { ...DEFAULT_SETTINGS, ...record.settings, delivery } };
  }

  readPosition(): Position | undefined {
    const row = this.#select<PositionRow>(SELECT_POSITION)[0];
    return row === undefined ? undefined : parsePosition(row);
  }

  readLastSegment(): Segment | undefined {
    const row = this.#select<SegmentRow>(SELECT_LAST_SEGMENT)[0];
    return row === undefined ? undefined : parseSegment(row);
  }

  readSegmentFrom(offset: number): StoredSegment | undefined {
    return this.#parseStored(this.#select<StoredSegmentRow>(SELECT_SEGMENT_FROM, offset)[0]);
  }

  readSegmentUpTo(offset: number): StoredSegment | undefined {
    return this.#parseStored(this.#select<StoredSegmentRow>(SELECT_SEGMENT_UP_TO, offset)[0]);
  }

  readGoneFrom(offset: number, limit: number): readonly number[] {
    const select = "SELECT first_offset FROM gone WHERE first_offset >= ? ORDER BY first_offset LIMIT ?";
    return this.#select<{ first_offset: number }>(select, offset, limit).map((row) => row.first_offset);
  }

  findMessageId(messageId: string, fromOffset: number): number | undefined {
    const select =
      "SELECT record_offset FROM message_id WHERE message_id = ? AND record_offset >= ? ORDER BY record_offset LIMIT 1";
    return this.#select<{ record_offset: number }>(select, messageId, fromOffset)[0]?.record_offset;
  }

  /** Inside a transaction of the caller it becomes part of that one. */
  commit(changes: Changes): void {
    if (this.#schemaVersion === 0) this.#migrate();
    const { snapshots } = changes;
    if (snapshots === undefined) this.#write(this.#statementsOf(changes));
    else {
      this.#storage.transaction(() => {
        for (const { text, bindings } of this.snapshots.statementsBefore(snapshots)) this.#storage.exec(text, ...bindings);
        this.#write(this.#statementsOf(changes));
        for (const { text, bindings } of this.snapshots.statementsAfter(snapshots)) this.#storage.exec(text, ...bindings);
      });
    }
    this.#noteTables(changes);
  }

  /** Whether what a restore put in the place of all that was stored can be worked with. Reads much: for the commit of a restore alone. */
  get isSound(): boolean {
    return isSoundWhole(this, (statement, ...bindings) => this.#select(statement, ...bindings));
  }

  #statementsOf(changes: Changes): Statement[] {
    const scheduled = changes.schedule === undefined ? [] : this.schedule.statementsOf(changes.schedule);
    const statements = [...this.#deletionsOf(changes), ...scheduled, ...this.#writesOf(changes)];
    if (changes.delivery !== undefined) statements.push(...this.delivery.statementsOf(changes.delivery));
    if (changes.groups !== undefined) statements.push(...this.groups.statementsOf(changes.groups));
    if (changes.deadLetters !== undefined) statements.push(...this.deadLetters.statementsOf(changes.deadLetters));
    return statements;
  }

  #write(statements: readonly Statement[]): void {
    const [first] = statements;
    // A statement alone is atomic as it is, and a transaction around it would cost a fifth of a small commit (measured).
    if (statements.length === 1 && first !== undefined) this.#storage.exec(first.text, ...first.bindings);
    else {
      this.#storage.transaction(() => {
        for (const { text, bindings } of statements) this.#storage.exec(text, ...bindings);
      });
    }
  }

  #migrate(): void {
    this.#storage.transaction(() => migrate(this.#storage, this.#schemaVersion));
    this.#schemaVersion = readSchemaVersion(this.#storage);
  }

  #select<Row extends Record<string, SqlValue>>(statement: string, ...bindings: SqlValue[]): Row[] {
    return this.#schemaVersion === 0 ? [] : this.#storage.exec<Row>(statement, ...bindings);
  }

  #hasRows(select: string): boolean {
    return this.#select(select).length > 0;
  }

  *#deletionsOf(changes: Changes): Iterable<Statement> {
    if (changes.isPurge) {
      for (const table of ["segment", "segment_part", "gone", "message_id"]) yield { text: `DELETE FROM ${table}`, bindings: [] };
    }
    const below = changes.deleteBelowOffset;
    if (below > 0) {
      yield { text: "DELETE FROM segment WHERE first_offset < ?", bindings: [below] };
      if (this.#hasParts) yield { text: "DELETE FROM segment_part WHERE part_id < ?", bindings: [below * PARTS_MAX] };
      if (this.#hasGone) yield { text: "DELETE FROM gone WHERE first_offset < ?", bindings: [below] };
    }
    for (const firstOffset of changes.deleteSegments) yield* this.#deleteSegment(firstOffset, false);
    if (changes.reuseSegment > 0) yield* this.#deleteSegment(changes.reuseSegment, this.#mayReuse(changes));
    for (const { messageId, offset } of changes.deleteMessageIds) {
      yield { text: "DELETE FROM message_id WHERE message_id = ? AND record_offset = ?", bindings: [messageId, offset] };
    }
  }

  *#deleteSegment(firstOffset: number, isRowReused: boolean): Iterable<Statement> {
    if (!isRowReused) yield { text: "DELETE FROM segment WHERE first_offset = ?", bindings: [firstOffset] };
    if (this.#hasGone) yield { text: "DELETE FROM gone WHERE first_offset = ?", bindings: [firstOffset] };
    if (this.#hasParts)
      yield { text: "DELETE FROM segment_part WHERE part_id > ? AND part_id < ?", bindings: partRange(firstOffset) };
  }

  /** A snapshot knows rows by their keys: while one is open, none may get another. */
  #mayReuse({ reuseSegment, snapshots }: Changes): boolean {
    return reuseSegment > 0 && snapshots === undefined && !this.snapshots.isOpen;
  }

  *#writesOf(changes: Changes): Iterable<Statement> {
    const reused = this.#mayReuse(changes) ? changes.reuseSegment : 0;
    for (const [index, segment] of changes.insertSegments.entries()) yield* insertSegment(segment, index === 0 ? reused : 0);
    for (const [firstOffset, places] of changes.writeGone) {
      yield { text: "INSERT OR REPLACE INTO gone (first_offset, places) VALUES (?, ?)", bindings: [firstOffset, places.buffer] };
    }
    for (const { messageId, offset } of changes.insertMessageIds) {
      yield { text: "INSERT INTO message_id (message_id, record_offset) VALUES (?, ?)", bindings: [messageId, offset] };
    }
    if (changes.position !== undefined) yield { text: UPSERT_POSITION, bindings: bindPosition(changes.position) };
    if (changes.checkpoints !== undefined) yield* this.checkpoints.statementsOf(changes.checkpoints);
    if (changes.channel !== undefined) {
      const text = "INSERT OR REPLACE INTO channel (id, record_json) VALUES (1, ?)";
      yield { text, bindings: [JSON.stringify(changes.channel)] };
    }
    if (changes.producers !== undefined) yield* this.producers.statementsOf(changes.producers);
    if (changes.idempotency !== undefined) yield* this.idempotency.statementsOf(changes.idempotency, this.#keepsTables(changes));
  }

  /** A snapshot that ends in this commit reads nothing any more. */
  #keepsTables({ snapshots }: Changes): boolean {
    return this.snapshots.isOpen && snapshots?.isEnded !== true;
  }

  #noteTables(changes: Changes): void {
    if (changes.isPurge) {
      this.#hasParts = false;
      this.#hasGone = false;
    }
    if (changes.writeGone.size > 0) this.#hasGone = true;
    if (changes.insertSegments.some(({ block }) => block.byteLength > PART_BYTES_MAX)) this.#hasParts = true;
  }

  #parseStored(row: StoredSegmentRow | undefined): StoredSegment | undefined {
    if (row === undefined) return undefined;
    const rest =
      row.part_count === 1 ? [] : this.#storage.exec<{ body: ArrayBuffer }>(SELECT_PARTS, ...partRange(row.first_offset));
    const block = joinParts([row.body, ...rest.map((part) => part.body)]);
    return { ...parseSegment(row), block, gone: row.places === null ? undefined : new Uint8Array(row.places) };
  }
}

/** `reused` is the first offset of another segment whose row it takes, or 0. */
function* insertSegment(segment: NewSegment, reused: number): Iterable<Statement> {
  const { firstOffset, count, messages, bytes, before, putAtMs, block } = segment;
  const [first, ...rest] = splitParts(block);
  assert(first !== undefined, "a block has bytes");
  const totals = [before.messages, before.bytes, before.segments] as const;
  const bindings = [firstOffset, count, messages, bytes, ...totals, putAtMs, rest.length + 1, first];
  yield reused === 0 ? { text: INSERT_SEGMENT, bindings } : { text: REUSE_SEGMENT, bindings: [...bindings, reused] };
  for (const [index, body] of rest.entries()) {
    yield {
      text: "INSERT INTO segment_part (part_id, body) VALUES (?, ?)",
      bindings: [firstOffset * PARTS_MAX + index + 1, body],
    };
  }
}

function bindPosition(position: Position): SqlValue[] {
  const { put, passed, removedAhead } = position;
  return [
    position.nextOffset,
    position.headOffset,
    put.messages,
    put.bytes,
    put.segments,
    passed.messages,
    passed.bytes,
    passed.segments,
    removedAhead.messages,
    removedAhead.bytes,
    removedAhead.segments,
    position.fates.removed,
    position.fates.deadLettered,
    position.fates.dropped,
    position.lastControlOffset,
    position.scanMark,
    position.lostAheadBytes,
    position.lastTtlOffset,
    position.fates.expired,
    position.writtenAtMs,
  ];
}

function parseSegment(row: SegmentRow): Segment {
  return {
    firstOffset: row.first_offset,
    count: row.record_count,
    messages: row.message_count,
    bytes: row.message_bytes,
    before: { messages: row.before_messages, bytes: row.before_bytes, segments: row.before_segments },
    putAtMs: row.put_at_ms,
  };
}

function parsePosition(row: PositionRow): Position {
  return {
    nextOffset: row.next_offset,
    headOffset: row.head_offset,
    put: { messages: row.put_messages, bytes: row.put_bytes, segments: row.put_segments },
    passed: { messages: row.passed_messages, bytes: row.passed_bytes, segments: row.passed_segments },
    removedAhead: { messages: row.ahead_messages, bytes: row.ahead_bytes, segments: row.ahead_segments },
    fates: {
      removed: row.removed_messages,
      deadLettered: row.dead_lettered_messages,
      dropped: row.dropped_messages,
      expired: row.expired_messages,
    },
    lastControlOffset: row.last_control_offset,
    scanMark: row.scan_mark,
    lostAheadBytes: row.lost_ahead_bytes,
    lastTtlOffset: row.last_ttl_offset,
    writtenAtMs: row.written_at_ms,
  };
}
