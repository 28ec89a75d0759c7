// Consumers of messages with keys, whatever their handlers and connections do: those of one key are worked on one after the other, and one
// that is not done again before the later ones. What happens is drawn from a seed, which a failure names.
import { describe, expect, test } from "vitest";
import { RejectError, RetryError, type Channel, type LeasedMessage } from "../../../src/client/index.ts";
import { TestService } from "../../../src/testing/index.ts";
import { Random } from "../../simulation/random.ts";
import { TRANSPORTS } from "../../client-calls.ts";

/** KEY_ORDER_SEEDS=2000 plays so many more. */
const SEEDS = Number(process.env["KEY_ORDER_SEEDS"] ?? 60);
/** So few that a slow machine plays them in the time of a test. */
const SEEDS_PER_TEST = 10;
const FIRST_SEEDS = Array.from({ length: Math.ceil(SEEDS / SEEDS_PER_TEST) }, (_, index) => 1 + index * SEEDS_PER_TEST);
const MESSAGES_MAX = 60;
/** Many more than it takes. */
const CALLS_MAX = 2_000;
/** Steps after which everything has to be done once nothing goes wrong any more. */
const LAST_STEPS_MAX = 400;

type How = "done" | "retry" | "reject" | "retry itself" | "ack itself";
type Outcomes = PromiseSettledResult<unknown>[];

/** What is known of the messages of one key, by their places in it. */
class KeyBook {
  readonly #isCalm: boolean;
  readonly #done = new Set<number>();
  readonly #rejected = new Set<number>();
  put = 0;

  /** @param isCalm Whether no lease is ever lost: then a message that was done is not worked on again behind one that is not. */
  constructor(isCalm: boolean) {
    this.#isCalm = isCalm;
  }

  get left(): number {
    return this.put - new Set([...this.#done, ...this.#rejected]).size;
  }

  get rejected(): number {
    return this.#rejected.size;
  }

  /** Whether work on these may begin. */
  explainBegin(places: readonly number[]): string | undefined {
    const begun = new Set<number>();
    for (const place of places) {
      for (let before = 0; before < place; before++) {
        const isOver = this.#done.has(before) || this.#rejected.has(before) || begun.has(before);
        if (!isOver) return `${place} of ${String(places)} before ${before}`;
      }
      begun.add(place);
    }
    return undefined;
  }

  noteDone(place: number): void {
    this.#done.add(place);
  }

  noteRejected(place: number): void {
    this.#rejected.add(place);
  }

  /** It is not done, and neither are those behind it. */
  noteUndone(place: number): void {
    if (this.#isCalm) for (const done of this.#done) if (done >= place) this.#done.delete(done);
  }
}

/** Consumers, what they work on, and what is wrong with it. */
class Work {
  readonly faults: string[] = [];
  readonly #random: Random;
  readonly #isCalm: boolean;
  readonly #books = new Map<string, KeyBook>();
  #waiting: (() => void)[] = [];
  #calls = 0;
  isOver = false;

  constructor(random: Random, isCalm: boolean) {
    this.#random = random;
    this.#isCalm = isCalm;
  }

  get left(): number {
    return [...this.#books.values()].reduce((sum, { left }) => sum + left, 0);
  }

  get rejected(): number {
    return [...this.#books.values()].reduce((sum, { rejected }) => sum + rejected, 0);
  }

  bookOf(key: string): KeyBook {
    const book = this.#books.get(key) ?? new KeyBook(this.#isCalm);
    this.#books.set(key, book);
    return book;
  }

  /** Lets some of the handlers that wait go on; in the end all of them. */
  release(): void {
    const going = this.#waiting.filter(() => this.isOver || this.#random.chance(40));
    this.#waiting = this.#waiting.filter((resolve) => !going.includes(resolve));
    for (const resolve of going) resolve();
  }

  /** What one consumer does. */
  handler(): (messages: readonly LeasedMessage[]) => Promise<Outcomes> {
    const busyKeys = new Set<string>();
    return (messages) => this.#handle(messages, busyKeys);
  }

  async #handle(messages: readonly LeasedMessage[], busyKeys: Set<string>): Promise<Outcomes> {
    const byKey = Map.groupBy(messages, ({ key = "" }) => key);
    byKey.delete("");
    for (const [key, ofKey] of byKey) {
      const fault = busyKeys.has(key) ? "worked on twice at a time" : this.bookOf(key).explainBegin(ofKey.map(placeOf));
      if (fault !== undefined) this.faults.push(`${key}: ${fault}`);
      busyKeys.add(key);
    }
    // What is worked on again and again would go on for ever, before time moves.
    const isEndless = ++this.#calls >= CALLS_MAX;
    if (this.#calls === CALLS_MAX) this.faults.push(`${CALLS_MAX} calls of handlers`);
    if (isEndless || (!this.isOver && this.#random.chance(50))) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.#work(messages);
    } finally {
      for (const key of byKey.keys()) busyKeys.delete(key);
    }
  }

  async #work(messages: readonly LeasedMessage[]): Promise<Outcomes> {
    const random = this.#random;
    const isAllWrong = !this.isOver && random.chance(10);
    const wrong = this.isOver ? 0 : random.oneOf(0, 3, 20);
    let hows: readonly [How, ...How[]] = ["retry", "retry", "reject", "retry itself", "ack itself"];
    const undone = new Set<string>();
    const outcomes: Outcomes = [];
    for (const message of messages) {
      const { key = "" } = message;
      const book = this.bookOf(key);
      const place = placeOf(message);
      const how = isAllWrong || random.chance(wrong) ? random.oneOf(...hows) : "done";
      // Who has it next may begin at once.
      if (how === "retry itself") hows = ["retry", "reject"];
      if (how === "reject" && !isAllWrong) {
        book.noteRejected(place);
        outcomes.push({ status: "rejected", reason: new RejectError() });
        continue;
      }
      // Who has the next one may begin before its answer is here.
      if (how === "ack itself" && !undone.has(key)) book.noteDone(place);
      const isDone = how === "done" || (how === "ack itself" && (await succeeds(message.ack())));
      if (how === "retry itself") void succeeds(message.retry({ delayMs: random.oneOf(0, 5) }));
      if (isDone && !undone.has(key)) book.noteDone(place);
      if (!isDone && key !== "") {
        book.noteUndone(place);
        undone.add(key);
      }
      const reason = new RetryError("again", { delayMs: random.oneOf(undefined, 0, 0, 20) });
      outcomes.push(
        how === "retry" || how === "reject" ? { status: "rejected", reason } : { status: "fulfilled", value: undefined },
      );
    }
    return outcomes;
  }
}

function placeOf({ body }: LeasedMessage): number {
  return Number(body);
}

async function succeeds(promise: Promise<void>): Promise<boolean> {
  return await promise.then(
    () => true,
    () => false,
  );
}

async function putSome(channel: Channel, work: Work, random: Random): Promise<void> {
  const keys = ["", "a", "b", "c"].slice(0, random.between(1, 4));
  const messages = Array.from({ length: random.between(1, 20) }, () => {
    const key = random.oneOf("a", ...keys);
    return { body: String(work.bookOf(key).put++), ...(key !== "" && { key }) };
  });
  await channel.putBatch(messages);
}

async function disturb(service: TestService, random: Random): Promise<void> {
  const fault = random.oneOf("settle", "pull", "deploy", "expire");
  if (fault === "settle" || fault === "pull") service.loseReply({ to: fault });
  if (fault === "deploy") await service.deploy();
  if (fault === "expire") await service.expireLeases();
}

async function play(seed: number, transport: (typeof TRANSPORTS)[number]): Promise<readonly string[]> {
  const random = new Random(seed);
  const isCalm = random.chance(50);
  const service = new TestService({ seed });
  const work = new Work(random, isCalm);
  const putter = service.connect().channel("jobs");
  await putter.create({ delivery: { maxAttempts: -1 } });
  const begin = () => {
    const [batchSize, concurrency] = [random.oneOf(1, 3, 10), random.oneOf(1, 1, 3)];
    const options = {
      batchSize,
      concurrency,
      ...(random.chance(50) && { prefetch: batchSize * concurrency + random.below(30) }),
    };
    return service.connect({ transport }).channel("jobs").consume(work.handler(), options);
  };
  const consumers = [begin()];
  for (let put = 0; put < MESSAGES_MAX; put += 10) {
    await putSome(putter, work, random);
    for (let steps = random.below(6); steps > 0; steps--) {
      if (consumers.length < 2 && random.chance(10)) consumers.push(begin());
      if (!isCalm && random.chance(15)) await disturb(service, random);
      await service.advance(random.oneOf(0, 0, 1, 20, 150, 2_000));
      work.release();
    }
  }
  work.isOver = true;
  for (let steps = 0; steps < LAST_STEPS_MAX && (await putter.stats()).depth > 0; steps++) {
    work.release();
    await service.advance(1_000);
  }
  const { depth, deadLetters } = await putter.stats();
  // Where the lease was over, rejecting was in vain.
  const tooMany = Math.max(0, deadLetters.messages - work.rejected);
  const counts = [depth, work.left, tooMany].join();
  work.release();
  const stopping = Promise.all(consumers.map((consumer) => consumer.stop()));
  await service.advance(60_000);
  await stopping;
  return [...work.faults, ...(counts === "0,0,0" ? [] : [`left in the channel, left to do, dead letters too many: ${counts}`])];
}

describe.each(TRANSPORTS)("src/client/consumer over %s", (transport) => {
  test.each(FIRST_SEEDS)(
    "[KO6] messages of a key are worked on in their order, and none is lost: seeds from %i",
    async (first) => {
      for (let seed = first; seed < first + SEEDS_PER_TEST && seed <= SEEDS; seed++)
        expect(await play(seed, transport), `seed ${seed}`).toEqual([]);
    },
  );
});
