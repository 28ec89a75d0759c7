// Ray's cases about loads that are guessed and asked for: R30 to R32, R34 to R42, R47 (test_pow_2_request_router.py of Ray 2.58; see ray.ts). R33
// is about Python's event loops. Ray plays these without preferences; they belong to the strategy `pow2-cached`.
import { afterEach, describe, expect, test } from "vitest";
import { GuessedLoads } from "../../../src/channel/routing/guessed-loads.ts";
import {
  type Answer,
  answerDeadline,
  ASK_TERMS,
  type Candidate,
  type GuessedChoice,
  LoadGuesser,
} from "../../../src/channel/routing/load-guesser.ts";
import { Random } from "../../simulation/random.ts";
import { SLOTS } from "./ray.ts";

const STALE_MS = ASK_TERMS.staleMs;

/** Readers that answer at once, or when they are told to. */
class Readers {
  readonly guesser: LoadGuesser;
  readonly deadlines = new Map<string, number[]>();
  readonly answers = new Map<string, Answer>();
  readonly #ids: readonly string[];
  nowMs = 0;

  constructor(ids: readonly string[], terms = ASK_TERMS) {
    this.#ids = ids;
    this.guesser = new LoadGuesser((id, deadlineMs) => {
      this.deadlines.set(id, [...this.asked(id), deadlineMs]);
      return this.answers.get(id);
    }, terms);
  }

  arrive(): void {
    for (const id of this.#ids) this.guesser.arrive(id, this.nowMs);
  }

  asked(id: string): readonly number[] {
    return this.deadlines.get(id) ?? [];
  }

  answersWith(id: string, load: number): void {
    this.answers.set(id, { type: "load", load });
  }

  get candidates(): readonly Candidate[] {
    return this.#ids.map((id) => ({ id, capacity: SLOTS }));
  }

  choose(attempt = 0): GuessedChoice {
    return this.guesser.choose(this.candidates, attempt, this.nowMs);
  }

  load(id: string): number | undefined {
    return this.guesser.loads.find(id, this.nowMs);
  }
}

const played: Readers[] = [];

function play(...args: ConstructorParameters<typeof Readers>): Readers {
  const readers = new Readers(...args);
  played.push(readers);
  return readers;
}

/** Ray's tests leave no task behind: nobody is waited for for ever. */
function expectNothingPending(): void {
  for (const { guesser, nowMs } of played.splice(0)) {
    guesser.giveUp(nowMs + ASK_TERMS.deadlineMaxMs);
    expect(guesser.pending).toBe(0);
  }
}

describe("Ray's guessed queue lengths", () => {
  afterEach(expectNothingPending);

  test("[ray:R30] who does not answer in time is waited for no longer; when it answers, it is chosen", () => {
    const readers = play(["r1"]);
    expect(readers.choose()).toEqual({ type: "asked", untilMs: 100 });

    expect([readers.guesser.giveUp(99), readers.guesser.giveUp(100)]).toEqual([[], ["r1"]]);
    readers.guesser.answer("r1", { type: "load", load: 0 }, 101);
    // It came too late, for a question that nobody asks any more.
    expect(readers.load("r1")).toBeUndefined();
    readers.nowMs = 125;
    readers.answersWith("r1", 0);
    expect(readers.choose(1)).toEqual({ type: "to", reader: "r1", load: 0 });
  });

  test("[ray:R31] each attempt waits twice as long for the answer, up to the longest", () => {
    const readers = play(["r1"]);
    for (let attempt = 0; attempt < 8; attempt++) {
      const choice = readers.choose(attempt);
      if (choice.type !== "asked") throw new Error("Expected no answer");
      readers.nowMs = choice.untilMs;
      readers.guesser.giveUp(readers.nowMs);
    }

    expect(readers.asked("r1")).toEqual([100, 200, 400, 800, 1000, 1000, 1000, 1000]);
  });

  test("[ray:R32] a longest deadline below the first counts as the first", () => {
    const terms = { deadlineMs: 10, deadlineMaxMs: 1, staleMs: STALE_MS };

    expect([0, 1, 5, 2048].map((attempt) => answerDeadline(attempt, terms))).toEqual([10, 10, 10, 10]);
  });

  test("[ray:R34] what is known is forgotten with age, and when its reader is gone", () => {
    const loads = new GuessedLoads(STALE_MS);
    expect(loads.find("r1", 0)).toBeUndefined();
    loads.set("r1", 123, 0);
    expect([0, STALE_MS, STALE_MS + 1].map((nowMs) => loads.find("r1", nowMs))).toEqual([123, 123, undefined]);
    loads.set("r1", 456, STALE_MS + 1);
    expect(loads.find("r1", STALE_MS + 1)).toBe(456);

    for (const [index, id] of ["r1", "r2", "r3", "r4"].entries()) loads.set(id, index + 1, 0);
    loads.keepOnly(new Set(["r1", "r3"]));
    expect(["r1", "r2", "r3", "r4"].map((id) => loads.find(id, 0))).toEqual([1, undefined, 3, undefined]);
    expect(loads.size).toBe(2);
  });

  test("[ray:R35] who is known is not asked, who is stale is; and each once when it comes", () => {
    const readers = play(["r1"]);
    readers.arrive();
    readers.guesser.answer("r1", { type: "load", load: 0 }, 0);
    expect(readers.choose()).toMatchObject({ reader: "r1" });
    expect(readers.asked("r1").length).toBe(1);

    readers.nowMs = STALE_MS + 1;
    readers.answersWith("r1", 0);
    expect(readers.choose()).toMatchObject({ reader: "r1" });
    expect(readers.asked("r1").length).toBe(2);
  });

  test("[ray:R36] who is known to be full is asked nevertheless", () => {
    const readers = play(["r1"]);
    readers.arrive();
    readers.guesser.answer("r1", { type: "load", load: SLOTS }, 0);
    expect(readers.choose()).toMatchObject({ type: "asked" });
    expect(readers.asked("r1").length).toBe(2);

    readers.guesser.answer("r1", { type: "load", load: SLOTS - 1 }, 0);
    expect(readers.choose()).toEqual({ type: "to", reader: "r1", load: SLOTS - 1 });
    readers.answersWith("r1", SLOTS);
    readers.guesser.loads.set("r1", SLOTS, 0);
    expect(readers.choose()).toEqual({ type: "full" });
  });

  test("[ray:R37] who is known is chosen at once, and who is not is asked in passing", () => {
    const readers = play(["r1", "r2"]);
    readers.guesser.loads.set("r1", 0, 0);
    expect(readers.choose()).toEqual({ type: "to", reader: "r1", load: 0 });
    expect([readers.asked("r1").length, readers.asked("r2").length]).toEqual([0, 1]);

    readers.guesser.answer("r2", { type: "load", load: 3 }, 0);
    expect(readers.load("r2")).toBe(3);
  });

  test("[ray:R38] of a hundred random pairs the smaller is always chosen, and both are known afterwards", () => {
    const readers = play(["r1", "r2"]);
    const random = new Random(38);
    for (let round = 0; round < 100; round++) {
      const loads = [random.below(SLOTS), random.below(SLOTS)] as const;
      readers.answersWith("r1", loads[0]);
      readers.answersWith("r2", loads[1]);
      const least = loads[1] < loads[0] ? "r2" : "r1";
      expect(readers.choose()).toEqual({ type: "to", reader: least, load: Math.min(...loads) });
      expect(["r1", "r2"].map((id) => [readers.load(id), readers.asked(id).length])).toEqual([
        [loads[0], round + 1],
        [loads[1], round + 1],
      ]);
      readers.nowMs += STALE_MS + 1;
    }
  });

  test("[ray:R39] what is sent counts, and what is done counts no more", () => {
    const { loads } = play(["r1"]).guesser;
    loads.sent("r1", 0);
    expect(loads.find("r1", 0)).toBe(1);

    loads.done("r1", 1, 0);
    expect(loads.find("r1", 0)).toBe(0);
  });

  test("[ray:R40] several that are done count each", () => {
    const { loads } = play(["r1"]).guesser;
    loads.set("r1", 3, 0);
    const seen = [1, 2, 3].map(() => {
      loads.done("r1", 1, 0);
      return loads.find("r1", 0);
    });

    expect(seen).toEqual([2, 1, 0]);
  });

  test("[ray:R41] what is done twice makes no less than nothing", () => {
    const { loads } = play(["r1"]).guesser;
    loads.set("r1", 0, 0);
    loads.done("r1", 1, 0);

    expect(loads.find("r1", 0)).toBe(0);
  });

  test("[ray:R42] what is done makes no guess of one that is stale", () => {
    const { loads } = play(["r1"]).guesser;
    loads.set("r1", 5, 0);
    loads.done("r1", 1, STALE_MS + 1);

    expect(loads.find("r1", STALE_MS + 1)).toBeUndefined();
  });

  test("[ray:R44] [ray:R45] who answers that it is gone or unavailable is unknown, and full if there is nobody else", () => {
    const readers = play(["r1", "r2"]);
    readers.answers.set("r1", { type: "gone" });
    readers.answersWith("r2", 5);
    expect(readers.choose()).toMatchObject({ reader: "r2" });

    readers.answers.set("r2", { type: "unavailable" });
    readers.nowMs = STALE_MS + 1;
    expect(readers.choose()).toEqual({ type: "full" });
    readers.answersWith("r1", 0);
    expect(readers.choose()).toMatchObject({ reader: "r1" });
  });

  test("[ray:R16] an answer of a reader that left meanwhile counts for nothing", () => {
    const readers = play(["r1"]);
    readers.choose();
    readers.guesser.leave("r1");
    readers.guesser.answer("r1", { type: "load", load: 0 }, 1);

    expect([readers.load("r1"), readers.guesser.pending]).toEqual([undefined, 0]);
  });

  test("[ray:R47] whoever is not known to be full is available", () => {
    const readers = play(["r1", "r2", "r3"]);
    readers.guesser.loads.set("r1", SLOTS, 0);
    readers.guesser.loads.set("r2", 0, 0);
    const { candidates, guesser } = readers;

    expect(guesser.available(candidates, 0)).toEqual(["r2", "r3"]);
    expect(guesser.available(candidates.slice(0, 1), 0)).toEqual([]);
  });
});
