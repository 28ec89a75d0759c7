// Crashes: workerd is killed in the middle of its work and nothing that it acknowledged is lost. And proof that the checker would see it.
import { describe, expect, test } from "vitest";
import { chooseSeed } from "./hostile/seeded-random.ts";
import {
  bytesOf,
  type Counts,
  KillChecker,
  metadataOf,
  type Round,
  runKillRounds,
  type Seen,
  type SentPut,
  textOf,
} from "./kill-rounds.ts";

const ROUNDS = 20;

describe("test/e2e/kill", () => {
  test("[G1] every acknowledged put survives SIGKILL, once, at its offset and in order", { timeout: 120_000 }, async () => {
    const seed = chooseSeed();

    const summary = await runKillRounds({ rounds: ROUNDS, seed });

    console.log(JSON.stringify({ seed, ...summary }));
    expect(summary.violations, `seed ${seed}`).toEqual([]);
    expect(summary.rounds).toBe(ROUNDS);
    expect(summary.acked).toBeGreaterThanOrEqual(ROUNDS * 1000);
    // Otherwise the kills came when nothing was going on.
    expect(summary.unknown).toBeGreaterThan(ROUNDS);
    expect(summary.taken).toBeGreaterThan(0);
  });
});

function seen(producer: number, number: number, offset: number): Seen {
  return { offset, text: textOf(producer, number), ...metadataOf(number) };
}

function sum(messages: readonly Seen[]): number {
  return messages.reduce((bytes, message) => bytes + bytesOf(message), 0);
}

const PUTS: readonly SentPut[] = [
  { producer: 0, first: 1, count: 1, offset: 1 },
  { producer: 1, first: 1, count: 2, offset: 2 },
  { producer: 0, first: 2, count: 1, offset: 4 },
  { producer: 1, first: 3, count: 2 },
  { producer: 0, first: 3, count: 1 },
];
const BROWSED: readonly Seen[] = [seen(0, 1, 1), seen(1, 1, 2), seen(1, 2, 3), seen(0, 2, 4), seen(1, 3, 5), seen(1, 4, 6)];
const COUNTS: Counts = { depth: 6, bytes: sum(BROWSED), nextOffset: 7, put: 6, acked: 0, removed: 0 };

/** A history in which all is well: two producers, six messages acknowledged or not, one that never arrived. */
function history(change: Partial<Round> = {}): Round {
  const { browsed = BROWSED, counts = COUNTS } = change;
  const puts = PUTS.map((put) => ({ ...put }));
  return { puts, taken: [], lostGetsMax: 0, ...change, browsed, counts: { ...counts, bytes: sum(browsed) } };
}

function withoutOffset(offset: number): Seen[] {
  return BROWSED.filter((message) => message.offset !== offset);
}

describe("test/e2e/kill-rounds", () => {
  test("[G1] a history in which all is well passes", () => {
    const taken = BROWSED.slice(0, 2);
    const later = history({ puts: [], taken, browsed: BROWSED.slice(2), counts: { ...COUNTS, depth: 4, acked: 2 } });
    const checker = new KillChecker();

    expect(checker.check(history())).toEqual([]);
    expect(checker.check(later)).toEqual([]);
  });

  test("[GT4] a get without a reply explains as many missing messages as it asked for, from the head", () => {
    const afterGet = { browsed: BROWSED.slice(2), counts: { ...COUNTS, depth: 4, acked: 2 } };

    expect(new KillChecker().check(history({ ...afterGet, lostGetsMax: 2 }))).toEqual([]);
    expect(new KillChecker().check(history({ ...afterGet, lostGetsMax: 1 }))).toContainEqual(expect.stringContaining("lost"));
  });

  test.each<[string, Partial<Round>, string]>([
    ["the first is lost", { browsed: withoutOffset(1), counts: { ...COUNTS, depth: 5, acked: 1 } }, "lost: 0/1"],
    ["one is lost in the middle", { browsed: withoutOffset(3), counts: { ...COUNTS, depth: 5, acked: 1 } }, "lost: 1/2"],
    [
      "one is lost behind the head",
      { browsed: withoutOffset(3), lostGetsMax: 9, counts: { ...COUNTS, depth: 5, acked: 1 } },
      "lost",
    ],
    ["all are lost", { browsed: [], counts: { ...COUNTS, depth: 0, acked: 6 } }, "lost: 0/2"],
    [
      "one is there twice",
      { browsed: [...BROWSED, seen(0, 2, 7)], counts: { ...COUNTS, depth: 7, put: 7, nextOffset: 8 } },
      "twice",
    ],
    ["one moved", { browsed: [...BROWSED.slice(0, 3), seen(0, 2, 7)], counts: COUNTS }, "moved: 0/2"],
    [
      "two changed places",
      { browsed: [seen(0, 2, 1), ...BROWSED.slice(1, 3), seen(0, 1, 4)], counts: COUNTS },
      "out of order: 0/1",
    ],
    ["offsets fall", { browsed: [...BROWSED].reverse() }, "offsets do not rise"],
    ["one was never sent", { browsed: [...BROWSED.slice(0, 5), seen(7, 7, 6)] }, "never sent"],
    ["a text is damaged", { browsed: [{ offset: 1, text: `${textOf(0, 1)}!` }, ...BROWSED.slice(1)] }, "never sent"],
    [
      "a batch is there in part",
      { browsed: withoutOffset(6), counts: { ...COUNTS, depth: 5, put: 5, nextOffset: 6 } },
      "stored in part",
    ],
    ["taken out of order", { taken: [seen(1, 1, 2), seen(0, 1, 1)], browsed: BROWSED.slice(2) }, "taken out of order"],
    ["taken and still there", { taken: [seen(0, 1, 1)] }, "came back: 0/1"],
    ["the sum is wrong", { counts: { ...COUNTS, acked: 1 } }, "put is not depth + acked + removed"],
    ["the depth is wrong", { counts: { ...COUNTS, depth: 5, acked: 1 } }, "depth is not the 6"],
    ["the offsets were reset", { counts: { ...COUNTS, nextOffset: 6 } }, "put is not the last offset"],
    ["something was removed", { counts: { ...COUNTS, depth: 6, put: 7, removed: 1 } }, "nothing was removed"],
  ])("[G1] the checker sees it when %s", (_name, change, violation) => {
    expect(new KillChecker().check(history(change))).toContainEqual(expect.stringContaining(violation));
  });

  test("[PT6] the checker sees it when the bytes are not those of the messages, or a header is lost", () => {
    const withHeaders: SentPut[] = [{ producer: 2, first: 60, count: 1, offset: 1 }];
    const browsed = [seen(2, 60, 1)];
    const counts: Counts = { depth: 1, bytes: sum(browsed), nextOffset: 2, put: 1, acked: 0, removed: 0 };
    const round: Round = { puts: withHeaders, taken: [], lostGetsMax: 0, browsed, counts };
    const without = { ...round, browsed: [{ offset: 1, text: textOf(2, 60) }] };

    expect(new KillChecker().check(round)).toEqual([]);
    expect(new KillChecker().check({ ...round, counts: { ...counts, bytes: -3 } })).toContainEqual(
      expect.stringContaining("bytes are not"),
    );
    expect(new KillChecker().check(without)).toContainEqual(expect.stringContaining("damaged: 2/60"));
  });

  test("[G2] the checker sees a put that was stored without one that its connection sent before", () => {
    const later: SentPut[] = [
      { producer: 3, first: 1, count: 1 },
      { producer: 3, first: 2, count: 1 },
    ];
    const browsed = [...BROWSED, seen(3, 2, 7)];
    const round = history({ puts: [...PUTS, ...later], browsed, counts: { ...COUNTS, depth: 7, put: 7, nextOffset: 8 } });

    expect(new KillChecker().check(round)).toContainEqual(expect.stringContaining("without what was sent before: 3/2"));
  });

  test("[G1] the checker sees it when a message comes back in a later round", () => {
    const taken = BROWSED.slice(0, 1);
    const afterGet = { ...COUNTS, depth: 5, acked: 1 };
    const isTaken = history({ taken, browsed: BROWSED.slice(1), counts: afterGet });
    const isLost = history({ lostGetsMax: 1, browsed: BROWSED.slice(1), counts: afterGet });
    const isBack = history({ puts: [] });
    const neverStored = history({
      puts: [],
      browsed: [...BROWSED, seen(0, 3, 7)],
      counts: { ...COUNTS, depth: 7, put: 7, nextOffset: 8 },
    });

    for (const first of [isTaken, isLost]) {
      const checker = new KillChecker();
      expect(checker.check(first)).toEqual([]);
      expect(checker.check(isBack)).toContainEqual(expect.stringContaining("came back: 0/1"));
    }
    const checker = new KillChecker();
    expect(checker.check(history())).toEqual([]);
    expect(checker.check(neverStored)).toContainEqual(expect.stringContaining("came back: 0/3"));
  });
});
