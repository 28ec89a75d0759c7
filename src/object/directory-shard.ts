// One shard of the directory: which channels exist, and what the list shows of each. The rules DR1.. are in DIRECTORY.md.
// Everything is a row: no member of the object is persisted by itty-durable, so an eviction loses nothing.
import { createDurable } from "itty-durable";
import { assert } from "../base/assert.ts";
import type { ChannelEntry } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";

/** DR5: how long a removal holds back registrations that were made before it. */
export const TOMBSTONE_KEPT_MS = 24 * 60 * 60 * 1000;

/** DR6: at most so many tombstones are swept by one write, which keeps each write short whatever was removed a day ago. */
export const TOMBSTONES_SWEPT_MAX = 16;

/** One row more than a page, by which the caller sees that there is a further page. */
const ENTRIES_LISTED_MAX = LIMITS.directoryPageMax + 1;

// Tombstones lie in a table of their own so that a list reads no more rows than it returns, however many channels were removed.
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS listed_channel (
    channel TEXT NOT NULL PRIMARY KEY COLLATE BINARY,
    version INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    settings_json TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS channel_tombstone (
    channel TEXT NOT NULL PRIMARY KEY COLLATE BINARY,
    version INTEGER NOT NULL,
    deleted_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS channel_tombstone_by_time ON channel_tombstone (deleted_at_ms);
`;

/** `version` rises with each change of the channel, over all lives of its name. */
export interface Registration extends ChannelEntry {
  readonly version: number;
}

export interface Removal {
  readonly channel: string;
  readonly version: number;
  /** When the channel was deleted; the same in each repetition of the call. */
  readonly nowMs: number;
}

export interface ShardQuery {
  /** The last name that was seen; the list begins behind it. */
  readonly after?: string;
  readonly prefix?: string;
  readonly limit: number;
}

/** An entry as it was stored; the settings may be those of an earlier release, so their reader checks them. */
export interface StoredEntry {
  readonly channel: string;
  readonly createdAtMs: number;
  readonly settings: unknown;
}

export interface WriteReply {
  /** False when the call was late or repeated and therefore changed nothing. */
  readonly isApplied: boolean;
}

type EntryRow = { channel: string; created_at_ms: number; settings_json: string };
type TombstoneRow = { version: number; deleted_at_ms: number };

/**
 * Calls of one channel reach a shard late, twice, or in another order, because the channel repeats what was not answered.
 * Applying each as it comes would let a late registration bring back a channel that is gone. So of all calls for a name the one
 * with the highest version holds, and at equal versions the removal: the outcome is a maximum, which does not depend on order or
 * repetition (DR2, DR3).
 *
 * Methods are called through itty-durable, which turns a throw into a 500 response and that into a rejection at the caller. Each
 * returns a value, because a method without one is answered 204, which the caller could not tell from a reply that was lost.
 */
export class DirectoryShard extends createDurable() {
  // A private member is invisible to itty-durable, which would otherwise offer it to `persist` and `toJSON`.
  readonly #storage: DurableObjectStorage;

  constructor(ctx: DurableObjectState) {
    // The bindings are withheld: a shard needs none, and itty-durable would copy each onto the state, over a member of that name.
    super(ctx, {});
    this.#storage = ctx.storage;
    this.#storage.sql.exec(SCHEMA);
  }

  register(entry: Registration): WriteReply {
    const { channel, version, createdAtMs, settings } = entry;
    assertWhole(version, "version");
    assertWhole(createdAtMs, "createdAtMs");
    return this.#storage.transactionSync(() => {
      const listedVersion = this.#selectListedVersion(channel);
      if (listedVersion !== undefined && version <= listedVersion) return { isApplied: false };
      const tombstone = this.#selectTombstone(channel);
      if (isHeldBack(tombstone, version, createdAtMs)) return { isApplied: false };
      if (tombstone !== undefined) this.#deleteTombstone(channel);
      this.#upsertListed(channel, version, createdAtMs, JSON.stringify(settings));
      // The creation time is a lower bound of the present: a shard needs no clock of its own to sweep by.
      this.#sweepTombstones(createdAtMs);
      return { isApplied: true };
    });
  }

  unregister(removal: Removal): WriteReply {
    const { channel, version, nowMs } = removal;
    assertWhole(version, "version");
    assertWhole(nowMs, "nowMs");
    return this.#storage.transactionSync(() => {
      const listedVersion = this.#selectListedVersion(channel);
      if (listedVersion !== undefined && version < listedVersion) return { isApplied: false };
      if (isHeldBack(this.#selectTombstone(channel), version, nowMs)) return { isApplied: false };
      this.#storage.sql.exec("DELETE FROM listed_channel WHERE channel = ?", channel);
      // DR4: the tombstone is left even for a name that is not listed, since its registration may still be on the way.
      this.#upsertTombstone(channel, version, nowMs);
      this.#sweepTombstones(nowMs);
      return { isApplied: true };
    });
  }

  /** Entries in the byte order of their names. The caller asks for one more than it shows to learn whether there are more. */
  list(query: ShardQuery): StoredEntry[] {
    const { after = "", prefix = "", limit } = query;
    assert(
      Number.isInteger(limit) && limit >= 1 && limit <= ENTRIES_LISTED_MAX,
      `list has a limit of 1 to ${ENTRIES_LISTED_MAX}`,
    );
    // Names are ASCII, for which the order of JavaScript strings is that of bytes. DEL follows every character of a name.
    const from = after > prefix ? after : prefix;
    const below = `${prefix}\u007f`;
    const rows = this.#storage.sql.exec<EntryRow>(
      `SELECT channel, created_at_ms, settings_json FROM listed_channel
       WHERE channel >= ? AND channel < ? AND channel <> ? ORDER BY channel LIMIT ?`,
      from,
      below,
      after,
      limit,
    );
    return rows.toArray().map(formatEntry);
  }

  #selectListedVersion(channel: string): number | undefined {
    const rows = this.#storage.sql.exec<{ version: number }>("SELECT version FROM listed_channel WHERE channel = ?", channel);
    return rows.toArray()[0]?.version;
  }

  #selectTombstone(channel: string): TombstoneRow | undefined {
    const rows = this.#storage.sql.exec<TombstoneRow>(
      "SELECT version, deleted_at_ms FROM channel_tombstone WHERE channel = ?",
      channel,
    );
    return rows.toArray()[0];
  }

  #upsertListed(channel: string, version: number, createdAtMs: number, settingsJson: string): void {
    this.#storage.sql.exec(
      `INSERT INTO listed_channel (channel, version, created_at_ms, settings_json) VALUES (?, ?, ?, ?)
       ON CONFLICT (channel) DO UPDATE SET
         version = excluded.version, created_at_ms = excluded.created_at_ms, settings_json = excluded.settings_json`,
      channel,
      version,
      createdAtMs,
      settingsJson,
    );
  }

  #upsertTombstone(channel: string, version: number, deletedAtMs: number): void {
    this.#storage.sql.exec(
      `INSERT INTO channel_tombstone (channel, version, deleted_at_ms) VALUES (?, ?, ?)
       ON CONFLICT (channel) DO UPDATE SET version = excluded.version, deleted_at_ms = excluded.deleted_at_ms`,
      channel,
      version,
      deletedAtMs,
    );
  }

  #deleteTombstone(channel: string): void {
    this.#storage.sql.exec("DELETE FROM channel_tombstone WHERE channel = ?", channel);
  }

  /** DR6: removes the oldest of the tombstones that hold nothing back any more. */
  #sweepTombstones(nowMs: number): void {
    this.#storage.sql.exec(
      `DELETE FROM channel_tombstone WHERE channel IN (
         SELECT channel FROM channel_tombstone WHERE deleted_at_ms <= ? ORDER BY deleted_at_ms LIMIT ?
       )`,
      nowMs - TOMBSTONE_KEPT_MS,
      TOMBSTONES_SWEPT_MAX,
    );
  }
}

function formatEntry(row: EntryRow): StoredEntry {
  const settings: unknown = JSON.parse(row.settings_json);
  return { channel: row.channel, createdAtMs: row.created_at_ms, settings };
}

/** DR5: a day after the removal another life may have begun, even if its versions began anew and the row was not swept. */
function isHeldBack(tombstone: TombstoneRow | undefined, version: number, atMs: number): boolean {
  return tombstone !== undefined && version <= tombstone.version && atMs < tombstone.deleted_at_ms + TOMBSTONE_KEPT_MS;
}

function assertWhole(value: number, name: string): void {
  assert(Number.isSafeInteger(value) && value >= 0, `${name} is a whole number from 0, not ${value}`);
}
