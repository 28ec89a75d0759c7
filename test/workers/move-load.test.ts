// A channel moves while producers put and readers read: nothing is lost, nothing comes twice, and offsets go on. The pause that producers see is
// printed. SPEC rules NM6 and NM8.
import { describe, expect, onTestFinished, test } from "vitest";
import { type Channel, EdgeChannel, upgradeWith } from "../../src/client/index.ts";
import { silenceWarnings } from "./inside.ts";
import { call, createChannel, describeChannel, fetchFromWorker, ORIGIN, pathOf, read, untilChannel } from "./service.ts";

const PRODUCERS = 3;
/** Of each producer, and when the moves begin. */
const MESSAGES = 700;
const FIRST_MOVE_AT = 150;
const SECOND_MOVE_AT = 450;

/** A program with a connection of its own. */
function open(name: string): Channel {
  const client = EdgeChannel.connect(ORIGIN, {
    transport: "socket",
    fetch: fetchFromWorker,
    openSocket: upgradeWith(fetchFromWorker),
  });
  onTestFinished(() => client.close());
  return client.channel(name);
}

interface Produced {
  readonly offsets: Map<string, number>;
  /** The longest time between two answers. */
  pauseMs: number;
}

/** Puts one after the other, and a few at a time. */
async function produce(channel: Channel, producer: number, onPut: (count: number) => void): Promise<Produced> {
  const produced: Produced = { offsets: new Map(), pauseMs: 0 };
  let answeredAtMs = performance.now();
  await using puts = channel.producer({ maxBatchMessages: 20, maxOutstandingBytes: 2000 });
  for (let index = 0; index < MESSAGES; index++) {
    const text = `${producer}:${index}`;
    const noteAnswer = ({ offset }: { readonly offset: number | null }): void => {
      produced.pauseMs = Math.max(produced.pauseMs, performance.now() - answeredAtMs);
      answeredAtMs = performance.now();
      produced.offsets.set(text, offset ?? -1);
      onPut(index);
    };
    void puts.put({ body: text, key: `k${index % 50}` }).then(noteAnswer);
    await puts.ready();
  }
  await puts.flush();
  return produced;
}

async function move(channel: string, locationHint: string): Promise<number> {
  const beganAtMs = performance.now();
  await read(call("POST", pathOf(channel, "/move"), { json: { locationHint } }));
  return performance.now() - beganAtMs;
}

silenceWarnings();

describe("a move under load", () => {
  test("[NM6] [NM8] there and back: 0 lost, 0 twice, offsets go on; readers and producers follow by themselves", async () => {
    const name = await createChannel({ retention: "log", maxMessages: 100_000 });
    const channel = open(name);
    await channel.groups.create("workers", { start: { at: "first" } });
    const moves: Promise<number>[] = [];
    const onPut = (index: number): void => {
      if (moves.length === 0 && index >= FIRST_MOVE_AT) moves.push(move(name, "weur"));
      if (moves.length === 1 && index >= SECOND_MOVE_AT)
        moves.push(moves[0]?.then(() => move(name, "enam")) ?? Promise.resolve(0));
    };
    const total = PRODUCERS * MESSAGES;
    const plain: { readonly offset: number; readonly body: unknown }[] = [];
    const reading = (async () => {
      for await (const { offset, body } of open(name).subscribe({ from: { at: "first" } })) {
        plain.push({ offset, body });
        if (plain.length === total) return;
      }
    })();
    const worked = new Map<number, number>();
    const consumer = open(name).consume(({ offset }) => void worked.set(offset, (worked.get(offset) ?? 0) + 1), {
      group: "workers",
      prefetch: 50,
      concurrency: 8,
    });
    const produced = await Promise.all(Array.from({ length: PRODUCERS }, (_, producer) => produce(open(name), producer, onPut)));
    await reading;
    const durations = await Promise.all(moves);

    expect(plain.map(({ offset }) => offset)).toEqual(Array.from({ length: total }, (_, index) => index + 1));
    const offsets = new Map(produced.flatMap(({ offsets: own }) => [...own]));
    expect(offsets.size).toBe(total);
    expect(plain.every(({ offset, body }) => offsets.get(String(body)) === offset)).toBe(true);
    while ((await channel.groups.describe("workers")).depth > 0);
    await consumer.stop();
    expect(worked.size).toBe(total);
    expect((await describeChannel(name)).counts.put).toBe(total);
    await untilChannel(name, ({ subscriptions }) => subscriptions.members === 0);
    const pauses = produced.map(({ pauseMs }) => Math.round(pauseMs));
    console.info(
      `${total} messages; moves took ${durations.map(Math.round).join(" and ")} ms; the longest pauses of the producers were ${pauses.join(", ")} ms; worked on twice: ${[...worked.values()].filter((times) => times > 1).length}`,
    );
  }, 20_000);
});
