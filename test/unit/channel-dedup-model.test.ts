// Random producers and keys, with lost replies, retries, epochs, evictions and failing commits, against a naive model (rules DD, G9):
// what was accepted is stored once and in order. A failure prints its seed and its shortest plan.
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import type { Outcome } from "../../src/channel/operation.ts";
import type { ProducerMark } from "../../src/protocol/dedup.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, kindOf, textsOf } from "./channel-harness.ts";

const PRODUCTION_LIMITS = { ...LIMITS };
const WINDOW_MS = 80_000;
const MAX_MESSAGES = 12;
const RUNS = Number(process.env["MODEL_RUNS"] ?? 1);

afterEach(() => {
  Object.assign(LIMITS, PRODUCTION_LIMITS);
});

type Step =
  /** `back`: how many numbers before the next one; negative ones are ahead. */
  | {
      readonly type: "numbered";
      readonly id: string;
      readonly epochUp: number;
      readonly back: number;
      readonly count: number;
      readonly isOther: boolean;
    }
  | { readonly type: "keyed"; readonly key: string; readonly payload: number }
  | { readonly type: "at"; readonly ahead: number }
  | { readonly type: "get"; readonly max: number };

interface Commit {
  readonly steps: readonly Step[];
  readonly ending: "commit" | "evict" | "fail";
  readonly passMs: number;
}

const plain = ((model: never) => fc.record(model, { noNullPrototype: true })) as typeof fc.record;

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: plain({
      type: fc.constant("numbered" as const),
      id: fc.constantFrom("a", "b", "c"),
      epochUp: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, -1),
      back: fc.constantFrom(0, 0, 0, 0, 1, 1, 2, 5, 9, -1, -2),
      count: fc.constantFrom(0, 1, 1, 2, 3),
      isOther: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 3,
    arbitrary: plain({
      type: fc.constant("keyed" as const),
      key: fc.constantFrom("x", "y", "z"),
      payload: fc.constantFrom(1, 1, 1, 2),
    }),
  },
  { weight: 1, arbitrary: plain({ type: fc.constant("at" as const), ahead: fc.constantFrom(0, 0, -1, 1) }) },
  { weight: 3, arbitrary: plain({ type: fc.constant("get" as const), max: fc.integer({ min: 1, max: 8 }) }) },
);
const commits: fc.Arbitrary<Commit> = plain({
  steps: fc.array(steps, { minLength: 1, maxLength: 8, size: "max" }),
  ending: fc.constantFrom("commit" as const, "commit" as const, "evict" as const, "fail" as const),
  passMs: fc.constantFrom(0, 0, 0, 1, 10_000, 30_000, 80_000, PRODUCTION_LIMITS.producerIdleMs),
});
const plans = fc.array(commits, { minLength: 1, maxLength: 25, size: "max" });

interface Accepted {
  readonly offset: number;
  readonly texts: readonly string[];
}

/** Everything that was ever accepted, nothing packed and nothing forgotten but by the rules. */
interface State {
  readonly producers: ReadonlyMap<string, { epoch: number; puts: readonly Accepted[]; usedAtMs: number }>;
  readonly keys: ReadonlyMap<string, Accepted & { readonly putAtMs: number }>;
  readonly log: readonly string[];
  readonly taken: number;
}

class Player {
  readonly #channel = new ChannelHarness({ settings: { maxMessages: MAX_MESSAGES, idempotencyWindowMs: WINDOW_MS } });
  #state: State = { producers: new Map(), keys: new Map(), log: [], taken: 0 };
  #taken: string[] = [];
  #names = 0;

  play(plan: readonly Commit[]): void {
    for (const { steps: planned, ending, passMs } of plan) {
      const [saved, taken] = [this.#state, [...this.#taken]];
      const run = (): void => {
        for (const step of planned) this.#step(step);
      };
      if (ending === "fail") {
        this.#channel.failToCommit(run);
        this.#state = saved;
        this.#taken = taken;
      } else this.#channel.together(run);
      if (ending === "evict") this.#channel.evict();
      this.#channel.nowMs += passMs;
    }
    expectSame([...this.#taken, ...this.#channel.browseTexts()], this.#state.log);
  }

  #step(step: Step): void {
    const { log, taken } = this.#state;
    switch (step.type) {
      case "numbered":
        return this.#putNumbered(step);
      case "keyed":
        return this.#putKeyed(
          step.key,
          Array.from({ length: step.payload }, () => `key ${step.key}`),
        );
      case "at": {
        const expectedOffset = Math.max(1, log.length + 1 + step.ahead);
        const texts = [this.#name()];
        const outcome = this.#channel.put(texts, { expectedOffset });
        if (expectedOffset === log.length + 1) this.#expectNew(outcome, texts);
        else expectKind(outcome, "offset-conflict");
        return undefined;
      }
      case "get": {
        const texts = this.#channel.getTexts(step.max);
        this.#taken.push(...texts);
        this.#state = { ...this.#state, taken: taken + texts.length };
        return undefined;
      }
    }
  }

  #putNumbered({ id, epochUp, back, count, isOther }: Extract<Step, { type: "numbered" }>): void {
    const known = this.#find(id);
    const epoch = Math.max(0, (known?.epoch ?? 3) + epochUp);
    const puts = known?.epoch === epoch ? known.puts : [];
    const seq = Math.max(1, puts.length + 1 - back);
    const first = puts[seq - 1];
    const texts = first !== undefined && !isOther ? first.texts : Array.from({ length: count }, () => this.#name());

    const outcome = this.#channel.put(texts, { producer: { id, epoch, seq } });

    if (known !== undefined && epoch < known.epoch) expectKind(outcome, "stale-producer-epoch");
    else if (seq > puts.length + 1) {
      const refusal = { kind: "producer-sequence-gap", producerId: id, epoch, expectedSeq: puts.length + 1 };
      expectSame(outcome, { type: "refused", refusal });
    } else if (first !== undefined) this.#expectDuplicate(outcome, first, { seq, texts, last: puts.length });
    else {
      const accepted = this.#expectNew(outcome, texts);
      if (accepted === undefined) return;
      const producer = { epoch, puts: [...puts, accepted], usedAtMs: this.#channel.nowMs };
      this.#state = { ...this.#state, producers: new Map([...this.#state.producers, [id, producer]]) };
    }
  }

  #expectDuplicate(outcome: Outcome, first: Accepted, put: { seq: number; texts: readonly string[]; last: number }): void {
    const isKept = put.seq > put.last - LIMITS.producerOutcomesMax;
    const isSame = put.texts.length === first.texts.length && put.texts.join("").length === first.texts.join("").length;
    if (!isKept) expectSame(outcome, { type: "put", offset: null, count: put.texts.length, isDuplicate: true });
    else if (isSame) expectSame(outcome, { type: "put", offset: first.offset, count: first.texts.length, isDuplicate: true });
    else expectKind(outcome, "producer-sequence-reused");
  }

  #putKeyed(key: string, texts: readonly string[]): void {
    const { nowMs } = this.#channel;
    const first = this.#state.keys.get(key);

    const outcome = this.#channel.put(texts, { idempotencyKey: key });

    if (first !== undefined && first.putAtMs + WINDOW_MS > nowMs) {
      const duplicate = { type: "put", offset: first.offset, count: texts.length, isDuplicate: true };
      if (first.texts.length === texts.length) expectSame(outcome, duplicate);
      else expectKind(outcome, "idempotency-key-reused");
      return;
    }
    const accepted = this.#expectNew(outcome, texts);
    if (accepted === undefined) return;
    this.#state = { ...this.#state, keys: new Map([...this.#state.keys, [key, { ...accepted, putAtMs: nowMs }]]) };
  }

  /** It is appended, unless the channel is full. */
  #expectNew(outcome: Outcome, texts: readonly string[]): Accepted | undefined {
    const { log, taken } = this.#state;
    if (texts.length > 0 && log.length - taken + texts.length > MAX_MESSAGES) {
      expectKind(outcome, "channel-full");
      return undefined;
    }
    const offset = log.length + 1;
    expectSame(outcome, { type: "put", offset, count: texts.length });
    this.#state = { ...this.#state, log: [...log, ...texts] };
    return { offset, texts };
  }

  #find(id: string): { epoch: number; puts: readonly Accepted[] } | undefined {
    const producer = this.#state.producers.get(id);
    const isForgotten = producer !== undefined && producer.usedAtMs + LIMITS.producerIdleMs <= this.#channel.nowMs;
    return isForgotten ? undefined : producer;
  }

  /** A text of its own for each message; some are longer than others. */
  #name(): string {
    this.#names += 1;
    return `${this.#names}`.padStart(4 + (this.#names % 2), "0");
  }
}

function expectSame(actual: unknown, expected: unknown): void {
  expect(actual).toEqual(expected);
}

function expectKind(outcome: Outcome, kind: string): void {
  expect(kindOf(outcome)).toBe(kind);
}

/** What happens between the answers to a producer that pipelines. */
type Event = "get" | "evict" | "fail" | "cancel" | "reconnect" | "time";

/** A producer that sends its puts ahead of their answers, waits for room, and begins again where it was refused. */
class PipeliningProducer {
  readonly channel = new ChannelHarness({ settings: { maxMessages: 3 } });
  readonly #total: number;
  #connection = this.channel.connect();
  #request = 0;
  /** The numbers that are on their way, by their requests. */
  readonly #sent = new Map<number, number>();
  readonly accepted = new Set<number>();

  constructor(total: number) {
    this.#total = total;
  }

  get isDone(): boolean {
    return this.accepted.size === this.#total;
  }

  /** Sends what is not accepted, in order, once all that was sent is answered. */
  send(): void {
    if (this.#sent.size > 0) return;
    for (let seq = 1; seq <= this.#total && this.#sent.size < 6; seq += 1) {
      if (this.accepted.has(seq)) continue;
      this.#request += 1;
      this.#sent.set(this.#request, seq);
      this.#take(this.#request, this.#put(this.#request, seq, false));
    }
  }

  hear(): void {
    for (const { connection, request, outcome } of this.channel.takeAnswers()) {
      const seq = connection === this.#connection ? this.#sent.get(request) : undefined;
      if (seq === undefined) continue;
      this.#take(request, outcome.type === "room" ? this.#put(request, seq, true) : outcome);
    }
  }

  cancel(): void {
    const [request] = this.#sent.keys();
    if (request !== undefined) this.channel.apply({ type: "cancel", request }, { connection: this.#connection, request });
  }

  reconnect(): void {
    this.channel.close(this.#connection);
    this.#connection = this.channel.connect();
    this.#sent.clear();
  }

  #put(request: number, seq: number, isPromised: boolean): Outcome {
    const producer: ProducerMark = { id: "p", epoch: 0, seq };
    const origin = { connection: this.#connection, request };
    return this.channel.put([`${seq}`], { producer, waitMs: 60_000, isPromised, origin });
  }

  #take(request: number, outcome: Outcome): void {
    if (outcome.type === "waiting") return;
    const seq = this.#sent.get(request);
    this.#sent.delete(request);
    if (outcome.type === "put" && seq !== undefined) this.accepted.add(seq);
  }
}

describe("src/channel/dedup: model", () => {
  test(
    "[G9] [DD2] [DD6] whatever is lost and repeated, each put is stored once, in order, with one outcome",
    { timeout: 600_000 },
    () => {
      Object.assign(LIMITS, { producerOutcomesMax: 5, producerCacheBytesMax: 1200 });
      expect.hasAssertions();

      fc.assert(
        fc.property(plans, (plan) => new Player().play(plan)),
        { numRuns: 300 * RUNS },
      );
    },
  );

  test(
    "[G9] [DD10] a producer that pipelines and waits for room gets each put stored once and in order",
    { timeout: 600_000 },
    () => {
      const events = fc.array(fc.constantFrom<Event>("get", "get", "get", "evict", "fail", "cancel", "reconnect", "time"), {
        maxLength: 60,
        size: "max",
      });
      expect.hasAssertions();

      fc.assert(
        fc.property(events, (planned) => {
          const producer = new PipeliningProducer(20);
          const { channel } = producer;
          const taken: string[] = [];
          const happen = (event: Event): void => {
            if (event === "get") taken.push(...textsOf(channel.get({ max: 2 })));
            if (event === "evict") channel.evict();
            if (event === "fail") channel.failToCommit(() => channel.getTexts());
            if (event === "cancel") producer.cancel();
            if (event === "reconnect") producer.reconnect();
            if (event === "time") channel.tick(LIMITS.reservationMs);
            producer.hear();
            producer.send();
          };
          producer.send();
          for (const event of planned) happen(event);
          for (let turn = 0; turn < 100 && !producer.isDone; turn += 1) happen(turn % 5 === 4 ? "reconnect" : "get");
          taken.push(...channel.getTexts(100));

          expect(producer.isDone).toBe(true);
          expect(taken).toEqual(Array.from({ length: 20 }, (_, index) => `${index + 1}`));
        }),
        { numRuns: 200 * RUNS },
      );
    },
  );
});
