// Storage in proportion to what is kept, measured in the database itself (SPEC RC1, RC4 and RC9). STUCK_MESSAGES=1000000 runs the last
// test with a million messages.
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { inObject, restart } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  entriesOf,
  lease,
  type MessageJson,
  pathOf,
  type PulledJson,
  read,
  settle,
} from "./service.ts";

const LONG_MS = LIMITS.retryDelayMsMax;

interface Stored {
  /** Bytes of all blocks. */
  readonly blocks: number;
  /** Bytes of the pages in use. */
  readonly database: number;
  /** Bytes of the largest row of each table. */
  readonly longestRows: Readonly<Record<string, number>>;
}

function measureStorage(channel: string): Promise<Stored> {
  return inObject(channel, (_, { storage: { sql } }) => {
    const one = (statement: string): number => sql.exec<{ n: number | null }>(statement).one().n ?? 0;
    const tables = sql.exec<{ name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
    );
    const longestRows = Array.from(tables, ({ name }): [string, number] => {
      const columns = Array.from(
        sql.exec<{ name: string }>(`SELECT name FROM pragma_table_info('${name}')`),
        (column) => column.name,
      );
      const bytes = columns.map((column) => `coalesce(length(CAST(${column} AS BLOB)), 0)`).join(" + ");
      return [name, one(`SELECT max(${bytes}) AS n FROM ${name}`)];
    });
    const blocks = one("SELECT sum(length(body)) AS n FROM segment") + one("SELECT sum(length(body)) AS n FROM segment_part");
    return { blocks, database: sql.databaseSize, longestRows: Object.fromEntries(longestRows) };
  });
}

function putMany(channel: string, messages: readonly object[]): Promise<unknown> {
  return read(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }), 201);
}

/** Pulls everything that can be had. */
async function pullAll(channel: string, group: object): Promise<MessageJson[]> {
  const pulled: MessageJson[] = [];
  for (;;) {
    const json = { max: LIMITS.inFlightMax, leaseMs: LIMITS.leaseMsMax, ...group };
    const { messages } = await read<PulledJson>(call("POST", pathOf(channel, "/messages/pull"), { json }));
    if (messages.length === 0) return pulled;
    pulled.push(...messages);
  }
}

function isKept({ offset }: MessageJson): boolean {
  return offset % 100 === 0;
}

async function rowsReadOnWaking(channel: string): Promise<number> {
  await restart(channel);
  return (await describeChannel(channel)).rows.read;
}

describe("storage in proportion", () => {
  test("[RC9] 99 of 100 messages settled, spread: at most twice the live bytes and 4 MB", { timeout: 60_000 }, async () => {
    const [batches, batch] = [8, 5_000];
    const channel = await createChannel();
    const text = "x".repeat(1_000);
    for (let count = 0; count < batches; count++) {
      await putMany(
        channel,
        Array.from({ length: batch }, () => ({ text })),
      );
      const { messages } = await lease(channel, { max: batch });
      expect(messages).toHaveLength(batch);
      await settle(channel, {
        acks: entriesOf(messages.filter((message) => !isKept(message))),
        retries: entriesOf(messages.filter(isKept), { delayMs: LONG_MS }),
      });
      // Within the work too, and not only when all is done.
      const { bytes } = await describeChannel(channel);
      const { blocks, database } = await measureStorage(channel);
      expect(blocks).toBeLessThanOrEqual(2 * bytes + 4_000_000);
      expect(database).toBeLessThanOrEqual(2 * bytes + 4 * 1024 * 1024);
    }

    expect(await describeChannel(channel)).toMatchObject({ depth: 400, bytes: 400_000, counts: { acked: 39_600 } });
    const { longestRows } = await measureStorage(channel);
    expect(Math.max(...Object.values(longestRows))).toBeLessThan(LIMITS.rowBytesMax);
    expect(await rowsReadOnWaking(channel)).toBeLessThan(1_000);
  });

  test.for(["queue", "log"] as const)(
    "[RC9] [RC1] one stuck key in a %s with very many messages settled behind it: no row over 1 MB, waking under 1,000 rows",
    { timeout: 300_000 },
    async (retention) => {
      const total = Number(env.STUCK_MESSAGES);
      const batch = LIMITS.batchMessagesMax;
      const channel = await createChannel({ retention, maxMessages: 2 * total });
      const group = retention === "queue" ? {} : { group: "g" };
      if (retention === "log") await read(call("PUT", pathOf(channel, "/groups/g")), 201);
      await putMany(channel, [{ text: "stuck", key: "stuck" }]);
      const stuck = await pullAll(channel, group);
      await settle(channel, { retries: entriesOf(stuck, { delayMs: LONG_MS }) });

      for (let put = 0; put < total; put += batch) {
        // One of a hundred waits behind the stuck one, so that no range of offsets is without.
        const messages = Array.from({ length: batch }, (_, index) => ({
          text: String(put + index),
          key: index % 100 === 0 ? "stuck" : `k${index % 100}`,
        }));
        await putMany(channel, messages);
        const pulled = await pullAll(channel, group);
        expect(pulled).toHaveLength(0.99 * batch);
        expect(await settle(channel, { acks: entriesOf(pulled) })).toMatchObject({ acked: 0.99 * batch });
      }

      const { longestRows, ...sizes } = await measureStorage(channel);
      const rowsRead = await rowsReadOnWaking(channel);
      const pulled = await pullAll(channel, group);
      const afterPull = (await describeChannel(channel)).rows.read;
      expect(Math.max(...Object.values(longestRows))).toBeLessThan(1_000_000);
      expect(rowsRead).toBeLessThan(1_000);
      expect(afterPull).toBeLessThan(1_000);
      expect(pulled).toEqual([]);
      const { bytes, depth } = await describeChannel(channel);
      // A log keeps what its readers have done with.
      expect(depth).toBe(retention === "queue" ? 1 + total / 100 : 1 + total);
      expect(sizes.blocks).toBeLessThanOrEqual(2 * bytes + 4_000_000);
    },
  );
});
