// The directory's client: finds the shard of a name, and makes one list of all shards. Used by the channel object and the worker.
// A failure of a shard is a rejection here: the channel tries again later, the list route answers `unavailable` (DR9).
import { proxyDurable } from "itty-durable";
import * as v from "valibot";
import { assert } from "../base/assert.ts";
import { channelEntrySchema, type ChannelEntry } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";
import { DEFAULT_SETTINGS } from "../protocol/settings.ts";
import type { Registration, Removal, ShardQuery } from "./directory-shard.ts";

export interface ChannelQuery {
  /** The `next` of the page before. */
  readonly after?: string;
  readonly prefix?: string;
  /** Entries of a page, at most `LIMITS.directoryPageMax`. */
  readonly limit: number;
}

export interface ChannelPage {
  readonly channels: readonly ChannelEntry[];
  /** The last name of this page when there are more, else null. */
  readonly next: string | null;
}

/** A shard as itty-durable's proxy offers it. Replies are checked: one that cannot be parsed comes as a `Response`. */
interface ShardProxy {
  register(entry: Registration): Promise<unknown>;
  unregister(removal: Removal): Promise<unknown>;
  list(query: ShardQuery): Promise<unknown>;
}

const writeReplySchema = v.object({ isApplied: v.boolean() });

const storedEntriesSchema = v.array(
  v.object({ channel: v.string(), createdAtMs: v.number(), settings: v.record(v.string(), v.unknown()) }),
);

/** Lists the channel, or changes what the list shows of it. May be repeated and may come late (DR2, DR3). */
export async function registerChannel(namespace: DurableObjectNamespace, entry: Registration): Promise<void> {
  // Only these members are sent: a caller's object may have more, and arguments travel in a header of limited length.
  const { channel, version, createdAtMs, settings } = entry;
  await callShard(namespace, shardOfChannel(channel), writeReplySchema, (shard) =>
    shard.register({ channel, version, createdAtMs, settings }),
  );
}

/** Takes the channel off the list. May be repeated and may come late (DR2, DR3). */
export async function unregisterChannel(namespace: DurableObjectNamespace, removal: Removal): Promise<void> {
  const { channel, version, nowMs } = removal;
  await callShard(namespace, shardOfChannel(channel), writeReplySchema, (shard) => shard.unregister({ channel, version, nowMs }));
}

/**
 * One page over all shards in the order of names (DR7, DR8). Any shard may hold the whole page, so each is asked for all of it
 * and one entry more, which shows whether there is a further page.
 */
export async function listChannels(namespace: DurableObjectNamespace, query: ChannelQuery): Promise<ChannelPage> {
  const { limit } = query;
  assert(
    Number.isInteger(limit) && limit >= 1 && limit <= LIMITS.directoryPageMax,
    `a page has 1 to ${LIMITS.directoryPageMax} entries`,
  );
  const shardQuery: ShardQuery = { ...query, limit: limit + 1 };
  // All calls start at once. The runtime queues those beyond its six connections that wait for headers, and every body is read as
  // it comes, so none of them blocks another.
  const shards = Array.from({ length: LIMITS.directoryShards }, (_, shard) => shard);
  const lists = await Promise.all(
    shards.map((shard) => callShard(namespace, shard, storedEntriesSchema, (proxy) => proxy.list(shardQuery))),
  );
  const merged = lists.flat().sort((a, b) => (a.channel < b.channel ? -1 : 1));
  // Settings that an earlier release stored lack what was added since: the defaults stand in.
  const channels = merged
    .slice(0, limit)
    .map((entry) => v.parse(channelEntrySchema, { ...entry, settings: { ...DEFAULT_SETTINGS, ...entry.settings } }));
  return { channels, next: merged.length > limit ? (channels.at(-1)?.channel ?? null) : null };
}

/**
 * The shard of a name: FNV-1a of 32 bits over its bytes, the upper half folded onto the lower, modulo the number of shards. FNV's
 * low bits alone would see only the low bits of each character. Never change this or the number of shards: stored entries would
 * not be found (DR1).
 */
export function shardOfChannel(channel: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(channel)) hash = Math.imul(hash ^ byte, 0x01000193);
  return ((hash >>> 16) ^ (hash & 0xffff)) % LIMITS.directoryShards;
}

/** The name of the object that is shard number `shard`. */
export function formatShardName(shard: number): string {
  return `directory/${shard}`;
}

async function callShard<Schema extends v.GenericSchema>(
  namespace: DurableObjectNamespace,
  shard: number,
  replySchema: Schema,
  call: (proxy: ShardProxy) => Promise<unknown>,
): Promise<v.InferOutput<Schema>> {
  const name = formatShardName(shard);
  try {
    // A new proxy for each call, because a stub that failed may go on failing. It must not be awaited or returned from an async
    // function: to it `then` is one more method of the object.
    const proxy = proxyDurable(namespace, { name: "DIRECTORY", parse: true }).get(name) as ShardProxy;
    return v.parse(replySchema, await call(proxy));
  } catch (error) {
    throw new Error(`Cannot reach "${name}": ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
