// What the crash harness counts and when it calls a run clean.
import { describe, expect, test } from "vitest";
import { checkHistory } from "../crash/checker.ts";
import type { HistoryEvent } from "../crash/history.ts";
import { formatSummary, listFailures } from "../crash/report.ts";
import { Tally } from "../crash/tally.ts";
import { Story } from "./crash-story.ts";

function tallyOf(events: readonly HistoryEvent[]): Tally {
  const tally = new Tally();
  for (const event of events) tally.feed(event);
  return tally;
}

function summaryOf(story: Story): Parameters<typeof listFailures>[0] {
  return { tally: tallyOf(story.events), verdict: checkHistory(story.events) };
}

/** A round with so many acknowledged puts and gets, and a kill. */
function playRound(story: Story, round: number, count: number, isBusy: boolean): void {
  story.events.push({ type: "round", round });
  for (let number = 1; number <= count / 2; number++) {
    const offset = ((round - 1) * count) / 2 + number;
    story.put([`p/${offset}`], offset).got(story.invokeGet(), [`p/${offset}`, offset]);
  }
  const inFlight = isBusy ? story.invokePut([`q/${round}`]) : undefined;
  story.events.push({ type: "kill", atMs: 0 });
  if (inFlight !== undefined) story.unknown(inFlight);
  story.events.push({ type: "start", atMs: 0 });
}

describe("test/crash/report", () => {
  test("[G1] a run is clean with a thousand acknowledged operations a round and enough unknown outcomes", () => {
    const story = new Story();
    for (const round of [1, 2, 3]) playRound(story, round, 1000, round === 2);

    const summary = summaryOf(story);

    expect(summary.tally.operations.put).toEqual({ ok: 1500, fail: 0, unknown: 1 });
    expect(summary.tally.unknownShare).toBeCloseTo(1 / 3);
    expect(listFailures(summary)).toEqual([]);
    expect(formatSummary(summary)).toMatch(/^kills +3, 33 % of them left operations with unknown outcome$/m);
    expect(formatSummary(summary)).toMatch(/^verdict +clean$/m);
  });

  test("[G1] a run in which the kills hit nothing, or too little went on, is not clean", () => {
    const story = new Story();
    for (const round of [1, 2, 3, 4]) playRound(story, round, 998, round === 1);

    expect(listFailures(summaryOf(story))).toEqual([
      "a round had only 998 acknowledged operations, not 1000",
      "only 25 % of the kills left operations with unknown outcome",
    ]);
  });

  test("[G1] messages that nobody took at the end make a run unclean", () => {
    expect(listFailures(summaryOf(new Story().put(["p/1"], 1)))).toEqual(["1 acknowledged messages left at the end"]);
  });

  test("[G1] what becomes unknown while the process runs, as when a reader leaves, is not counted for a kill", () => {
    const { kills, unknownShare } = tallyOf(new Story().lostPut(["p/1"]).kill().events);

    expect({ kills, unknownShare }).toEqual({ kills: 1, unknownShare: 0 });
  });
});
