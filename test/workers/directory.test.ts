// The directory in the Workers runtime. Rules DR1.. are in src/object/DIRECTORY.md.
// Rules of one shard are tested on an object of their own; the client's on the 16 shards, which all tests of this file share.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import {
  formatShardName,
  listChannels,
  registerChannel,
  shardOfChannel,
  unregisterChannel,
  type ChannelQuery,
} from "../../src/object/directory.ts";
import {
  TOMBSTONE_KEPT_MS,
  TOMBSTONES_SWEPT_MAX,
  type DirectoryShard,
  type Registration,
  type StoredEntry,
} from "../../src/object/directory-shard.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_SETTINGS, type Settings } from "../../src/protocol/settings.ts";

const namespace = (env as unknown as { DIRECTORY: DurableObjectNamespace }).DIRECTORY;

const NOW_MS = Date.UTC(2026, 10, 23);
const SETTINGS: Settings = { ...DEFAULT_SETTINGS, maxMessages: 10, maxBytes: 1_000, maxMessageBytes: 100 };

function freshPrefix(): string {
  return `t${crypto.randomUUID()}:`;
}

function entryOf(channel: string, version = 1, more: Partial<Registration> = {}): Registration {
  return { channel, version, createdAtMs: NOW_MS, settings: SETTINGS, ...more };
}

/** Runs `use` inside a shard that no other test touches. */
function inShard<R>(use: (shard: DirectoryShard, state: DurableObjectState) => R, name: string = freshPrefix()): Promise<R> {
  // The typing of the helper asks for a class that offers RPC; a shard is called by fetch, as itty-durable does it.
  return runInDurableObject(namespace.getByName(name), (instance, state) => use(instance as unknown as DirectoryShard, state));
}

function namesOf(entries: readonly StoredEntry[]): string[] {
  return entries.map((entry) => entry.channel);
}

function countTombstones(state: DurableObjectState): number {
  return state.storage.sql.exec<{ count: number }>("SELECT count(*) AS count FROM channel_tombstone").one().count;
}

async function listNames(prefix: string, limit: number, after?: string): Promise<{ names: string[]; next: string | null }> {
  const query: ChannelQuery = after === undefined ? { prefix, limit } : { prefix, limit, after };
  const page = await listChannels(namespace, query);
  return { names: page.channels.map((entry) => entry.channel), next: page.next };
}

/** Walks all pages; `between` runs after each page but the last. */
async function walk(prefix: string, limit: number, between: () => Promise<void> = () => Promise.resolve()): Promise<string[]> {
  const seen: string[] = [];
  for (let page = await listNames(prefix, limit); ; page = await listNames(prefix, limit, page.next)) {
    seen.push(...page.names);
    if (page.next === null) return seen;
    await between();
  }
}

function permute<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, at) => permute(items.toSpliced(at, 1)).map((rest) => [item, ...rest]));
}

describe("src/object/directory", () => {
  test("[DR1] the shard of a name never changes", () => {
    const names = ["a", "b", "orders", "orders:eu", "Orders", "0", "x".repeat(100)];

    expect(names.map(shardOfChannel)).toEqual([0, 9, 2, 0, 14, 3, 1]);
    expect(formatShardName(3)).toBe("directory/3");
    expect(LIMITS.directoryShards).toBe(16);
  });

  test("[DR1] numbered names are spread over all shards", () => {
    const counts = Array.from({ length: LIMITS.directoryShards }, () => 0);
    for (let i = 0; i < 1_600; i += 1) {
      const shard = shardOfChannel(`channel-${i}`);
      counts[shard] = (counts[shard] ?? 0) + 1;
    }

    expect(Math.min(...counts)).toBeGreaterThan(50);
    expect(Math.max(...counts)).toBeLessThan(150);
  });

  test("[DR7] a registered channel is listed with its creation time and settings", async () => {
    const channel = `${freshPrefix()}orders`;
    const settings: Settings = {
      ...SETTINGS,
      growth: { factor: 2, maxMessages: 20, maxBytes: 2_000 },
      expireAfterIdleMs: 60_000,
    };

    await registerChannel(namespace, entryOf(channel, 1, { settings }));

    const page = await listChannels(namespace, { prefix: channel, limit: 10 });
    expect(page).toEqual({ channels: [{ channel, createdAtMs: NOW_MS, settings }], next: null });
  });

  test("[DR7] a removed channel is not listed", async () => {
    const channel = freshPrefix();
    await registerChannel(namespace, entryOf(channel));

    await unregisterChannel(namespace, { channel, version: 2, nowMs: NOW_MS });

    expect((await listNames(channel, 10)).names).toEqual([]);
  });

  test("[DR7] settings that were stored before a setting was added are listed with its default", async () => {
    const channel = freshPrefix();
    const { growth: _, ...older } = SETTINGS;
    await registerChannel(namespace, entryOf(channel, 1, { settings: older as Settings }));

    const page = await listChannels(namespace, { prefix: channel, limit: 1 });

    expect(page.channels[0]?.settings).toEqual(SETTINGS);
  });

  test("[DR7] a prefix is matched by bytes and includes the name that equals it", async () => {
    const prefix = freshPrefix();
    for (const end of ["", "A", "a", "a~", "a.b"]) await registerChannel(namespace, entryOf(prefix + end));

    expect((await listNames(`${prefix}a`, 10)).names).toEqual(["a", "a.b", "a~"].map((end) => prefix + end));
    expect((await listNames(prefix, 10)).names).toEqual(["", "A", "a", "a.b", "a~"].map((end) => prefix + end));
  });

  test("[DR8] pages over all shards give each name once and in byte order", async () => {
    const prefix = freshPrefix();
    const names: string[] = [];
    // Names are added until every shard holds one, since the fresh prefix decides where they fall.
    while (names.length < 40 || new Set(names.map(shardOfChannel)).size < LIMITS.directoryShards) {
      names.push(`${prefix}${names.length % 2 === 0 ? "n" : "N"}${names.length}`);
    }
    await Promise.all(names.map((name) => registerChannel(namespace, entryOf(name))));

    const seen = await walk(prefix, 7);

    expect(seen).toEqual(names.toSorted((a, b) => (a < b ? -1 : 1)));
  });

  test("[DR8] a full last page has no next", async () => {
    const prefix = freshPrefix();
    for (const end of ["a", "b", "c", "d"]) await registerChannel(namespace, entryOf(prefix + end));

    const first = await listNames(prefix, 2);
    const second = await listNames(prefix, 2, first.next ?? "");

    expect(first).toEqual({ names: [`${prefix}a`, `${prefix}b`], next: `${prefix}b` });
    expect(second).toEqual({ names: [`${prefix}c`, `${prefix}d`], next: null });
  });

  test("[DR8] names that all lie in one shard have a next page too", async () => {
    const prefix = freshPrefix();
    const shard = shardOfChannel(prefix);
    const names: string[] = [];
    for (let i = 100; names.length < 5; i += 1) if (shardOfChannel(`${prefix}${i}`) === shard) names.push(`${prefix}${i}`);
    for (const name of names) await registerChannel(namespace, entryOf(name));

    expect(await listNames(prefix, 2)).toEqual({ names: names.slice(0, 2), next: names[1] });
    expect(await walk(prefix, 2)).toEqual(names);
  });

  test("[DR8] names that stay are listed once while others come and go between pages", async () => {
    const prefix = freshPrefix();
    const staying = Array.from({ length: 20 }, (_, i) => `${prefix}stay-${String(i).padStart(2, "0")}`);
    const leaving = staying.map((name) => `${name}-leaves`);
    await Promise.all([...staying, ...leaving].map((name) => registerChannel(namespace, entryOf(name))));
    let turn = 0;

    const seen = await walk(prefix, 6, async () => {
      const channel = leaving[turn * 5];
      if (channel !== undefined) await unregisterChannel(namespace, { channel, version: 2, nowMs: NOW_MS });
      await registerChannel(namespace, entryOf(`${prefix}added-${turn}`));
      await registerChannel(namespace, entryOf(`${prefix}zz-added-${turn}`));
      turn += 1;
    });

    expect(seen.filter((name) => staying.includes(name))).toEqual(staying);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toContain(`${prefix}zz-added-0`);
    expect(seen).not.toContain(`${prefix}added-0`);
  });

  test("[DR8] without a prefix the walk passes every channel", async () => {
    const prefix = freshPrefix();
    const names = Array.from({ length: 20 }, (_, i) => `${prefix}${i}`);
    await Promise.all(names.map((name) => registerChannel(namespace, entryOf(name))));

    const seen = await walk("", LIMITS.directoryPageMax);

    expect(seen.filter((name) => name.startsWith(prefix))).toEqual(names.toSorted());
  });

  test("[DR8] a page has 1 to directoryPageMax entries", async () => {
    for (const limit of [0, 1.5, LIMITS.directoryPageMax + 1]) {
      await expect(() => listChannels(namespace, { limit })).rejects.toThrow("a page has 1 to");
    }
  });

  test("[DR9] a failing shard rejects the calls that need it, and serves again when it recovers", async () => {
    const channel = freshPrefix();
    const shardName = formatShardName(shardOfChannel(channel));
    const rename = (from: string, to: string): Promise<unknown> =>
      inShard((_, state) => state.storage.sql.exec(`ALTER TABLE ${from} RENAME TO ${to}`).toArray(), shardName);
    await registerChannel(namespace, entryOf(channel));

    await rename("listed_channel", "broken");
    await expect(() => registerChannel(namespace, entryOf(channel, 2))).rejects.toThrow(`Cannot reach "${shardName}"`);
    await expect(() => unregisterChannel(namespace, { channel, version: 2, nowMs: NOW_MS })).rejects.toThrow("no such table");
    await expect(() => listChannels(namespace, { prefix: channel, limit: 1 })).rejects.toThrow("no such table");
    await rename("broken", "listed_channel");

    expect((await listNames(channel, 10)).names).toEqual([channel]);
  });

  test("[DR9] a call with arguments that break the contract rejects", async () => {
    const channel = freshPrefix();

    await expect(() => registerChannel(namespace, entryOf(channel, 1.5))).rejects.toThrow("version is a whole number");
    await expect(() => unregisterChannel(namespace, { channel, version: 1, nowMs: -1 })).rejects.toThrow(
      "nowMs is a whole number",
    );

    expect((await listNames(channel, 10)).names).toEqual([]);
  });

  test("[DR10] the directory survives an eviction of its shards", async () => {
    const prefix = freshPrefix();
    const [kept, removed] = [`${prefix}kept`, `${prefix}removed`];
    await registerChannel(namespace, entryOf(kept, 4));
    await unregisterChannel(namespace, { channel: removed, version: 4, nowMs: NOW_MS });

    // Both may lie in one shard, and what was evicted cannot be evicted again.
    for (const shard of new Set([kept, removed].map(shardOfChannel))) {
      await evictDurableObject(namespace.getByName(formatShardName(shard)));
    }
    await registerChannel(namespace, entryOf(kept, 3, { createdAtMs: 1 }));
    await registerChannel(namespace, entryOf(removed, 3));

    const page = await listChannels(namespace, { prefix, limit: 10 });
    expect(page.channels).toEqual([{ channel: kept, createdAtMs: NOW_MS, settings: SETTINGS }]);
  });
});

describe("src/object/directory-shard", () => {
  test("[DR2] a higher version replaces what is listed", () =>
    inShard((shard) => {
      const settings = { ...SETTINGS, maxMessages: 99 };
      shard.register(entryOf("a"));

      expect(shard.register(entryOf("a", 2, { settings }))).toEqual({ isApplied: true });
      expect(shard.list({ limit: 10 })).toEqual([{ channel: "a", createdAtMs: NOW_MS, settings }]);
    }));

  test("[DR2] a late or repeated registration changes nothing", () =>
    inShard((shard) => {
      shard.register(entryOf("a", 5));

      for (const version of [5, 4, 1]) {
        expect(shard.register(entryOf("a", version, { createdAtMs: 1 }))).toEqual({ isApplied: false });
      }
      expect(shard.list({ limit: 10 })).toEqual([{ channel: "a", createdAtMs: NOW_MS, settings: SETTINGS }]);
    }));

  test("[DR2] a late or repeated removal changes nothing", () =>
    inShard((shard, state) => {
      shard.register(entryOf("a", 5));

      expect(shard.unregister({ channel: "a", version: 4, nowMs: NOW_MS })).toEqual({ isApplied: false });
      expect(countTombstones(state)).toBe(0);
      expect(shard.unregister({ channel: "a", version: 6, nowMs: NOW_MS })).toEqual({ isApplied: true });
      expect(shard.unregister({ channel: "a", version: 6, nowMs: NOW_MS })).toEqual({ isApplied: false });
      expect(shard.list({ limit: 10 })).toEqual([]);
    }));

  test("[DR3] the outcome does not depend on the order of the calls or on their repetition", () =>
    inShard((shard) => {
      const calls = [
        (channel: string) => shard.register(entryOf(channel, 1)),
        (channel: string) => shard.register(entryOf(channel, 2)),
        (channel: string) => shard.unregister({ channel, version: 3, nowMs: NOW_MS }),
        (channel: string) => shard.register(entryOf(channel, 4)),
      ];
      const expected: string[] = [];

      for (const [order, permutation] of permute(calls).entries()) {
        for (const call of [...permutation, ...permutation]) call(`last-listed-${String(order).padStart(2, "0")}`);
        for (const call of permutation.filter((each) => each !== calls[3])) call(`last-removed-${order}`);
        expected.push(`last-listed-${String(order).padStart(2, "0")}`);
      }

      expect(namesOf(shard.list({ limit: LIMITS.directoryPageMax }))).toEqual(expected);
    }));

  test("[DR3] of two calls with one version the removal holds, in either order", () =>
    inShard((shard) => {
      shard.register(entryOf("a", 2));
      shard.unregister({ channel: "a", version: 2, nowMs: NOW_MS });
      shard.unregister({ channel: "b", version: 2, nowMs: NOW_MS });
      shard.register(entryOf("b", 2));

      expect(shard.list({ limit: 10 })).toEqual([]);
    }));

  test("[DR4] a stale registration does not bring a removed channel back, a newer one does", () =>
    inShard((shard, state) => {
      shard.register(entryOf("a", 1));
      shard.unregister({ channel: "a", version: 3, nowMs: NOW_MS });

      expect(shard.register(entryOf("a", 2))).toEqual({ isApplied: false });
      expect(shard.list({ limit: 10 })).toEqual([]);
      expect(shard.register(entryOf("a", 4))).toEqual({ isApplied: true });
      expect(namesOf(shard.list({ limit: 10 }))).toEqual(["a"]);
      expect(countTombstones(state)).toBe(0);
    }));

  test("[DR4] a removal that overtakes its registration still holds it back", () =>
    inShard((shard) => {
      expect(shard.unregister({ channel: "a", version: 2, nowMs: NOW_MS })).toEqual({ isApplied: true });

      expect(shard.register(entryOf("a", 1))).toEqual({ isApplied: false });
      expect(shard.list({ limit: 10 })).toEqual([]);
    }));

  test("[DR5] a removal holds nothing back from a life that begins 24 h later, swept or not", () =>
    inShard((shard) => {
      shard.unregister({ channel: "a", version: 7, nowMs: NOW_MS });

      expect(shard.register(entryOf("a", 1, { createdAtMs: NOW_MS + TOMBSTONE_KEPT_MS - 1 }))).toEqual({ isApplied: false });
      expect(shard.register(entryOf("a", 1, { createdAtMs: NOW_MS + TOMBSTONE_KEPT_MS }))).toEqual({ isApplied: true });
      expect(shard.unregister({ channel: "a", version: 2, nowMs: NOW_MS + TOMBSTONE_KEPT_MS })).toEqual({ isApplied: true });
    }));

  test("[DR5] a removal 24 h after another holds by itself, so that it may overtake its registration", () =>
    inShard((shard) => {
      shard.unregister({ channel: "a", version: 7, nowMs: NOW_MS });
      const laterMs = NOW_MS + TOMBSTONE_KEPT_MS;

      expect(shard.unregister({ channel: "a", version: 2, nowMs: laterMs - 1 })).toEqual({ isApplied: false });
      expect(shard.unregister({ channel: "a", version: 2, nowMs: laterMs })).toEqual({ isApplied: true });
      expect(shard.register(entryOf("a", 1, { createdAtMs: laterMs }))).toEqual({ isApplied: false });
      expect(shard.list({ limit: 10 })).toEqual([]);
    }));

  test("[DR6] a write sweeps tombstones of 24 h, the oldest first and a bounded number", () =>
    inShard((shard, state) => {
      const total = 2 * TOMBSTONES_SWEPT_MAX + 3;
      for (let i = 0; i < total; i += 1) shard.unregister({ channel: `old-${i}`, version: 1, nowMs: NOW_MS + i });
      const laterMs = NOW_MS + total + TOMBSTONE_KEPT_MS;

      shard.register(entryOf("a", 1, { createdAtMs: laterMs }));
      expect(countTombstones(state)).toBe(total - TOMBSTONES_SWEPT_MAX);
      expect(shard.register(entryOf("old-0", 1))).toEqual({ isApplied: true });
      expect(shard.register(entryOf(`old-${total - 1}`, 1))).toEqual({ isApplied: false });
      shard.unregister({ channel: "b", version: 1, nowMs: laterMs });
      expect(countTombstones(state)).toBe(total - 2 * TOMBSTONES_SWEPT_MAX + 1);
      shard.unregister({ channel: "c", version: 1, nowMs: laterMs });
      expect(countTombstones(state)).toBe(2);
    }));

  test("[DR6] a tombstone younger than 24 h stays", () =>
    inShard((shard, state) => {
      shard.unregister({ channel: "a", version: 1, nowMs: NOW_MS });

      shard.register(entryOf("b", 1, { createdAtMs: NOW_MS + TOMBSTONE_KEPT_MS - 1 }));
      expect(countTombstones(state)).toBe(1);
      shard.register(entryOf("c", 1, { createdAtMs: NOW_MS + TOMBSTONE_KEPT_MS }));
      expect(countTombstones(state)).toBe(0);
    }));

  test("[DR8] a shard lists at most one entry more than a page", () =>
    inShard((shard) => {
      const names = Array.from({ length: LIMITS.directoryPageMax + 2 }, (_, i) => `n${String(i).padStart(6, "0")}`);
      for (const name of names) shard.register(entryOf(name));

      expect(namesOf(shard.list({ limit: LIMITS.directoryPageMax + 1 }))).toEqual(names.slice(0, -1));
      expect(() => shard.list({ limit: LIMITS.directoryPageMax + 2 })).toThrow("list has a limit");
      expect(() => shard.list({ limit: 0 })).toThrow("list has a limit");
    }));

  test("[DR11] a registration writes one row, an update one, a stale one none", () =>
    inShard((shard, state) => {
      const { sql } = state.storage;
      const exec = sql.exec.bind(sql);
      let rowsWritten = 0;
      // Counts at the storage of this object; nothing is replaced by a double.
      sql.exec = (query, ...bindings) => {
        const cursor = exec(query, ...bindings);
        rowsWritten += cursor.rowsWritten;
        return cursor as never;
      };
      const countRows = (call: () => unknown): number => {
        rowsWritten = 0;
        call();
        return rowsWritten;
      };

      expect(countRows(() => shard.register(entryOf("a", 1)))).toBe(1);
      expect(countRows(() => shard.register(entryOf("a", 2)))).toBe(1);
      expect(countRows(() => shard.register(entryOf("a", 2)))).toBe(0);
      expect(countRows(() => shard.unregister({ channel: "a", version: 3, nowMs: NOW_MS }))).toBe(3);
      expect(countRows(() => shard.register(entryOf("a", 4)))).toBe(2);
    }));
});
