// The rounds: load on the real runtime, kill -9 at a random moment, a restart on the same storage and a look at everything.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { buildWorker, type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";
import { SeededRandom } from "../e2e/hostile/seeded-random.ts";
import { HttpPort } from "./http-port.ts";
import { type Load, whereOf } from "./load.ts";
import { Names, runHttpProducer, runSocketProducer } from "./producers.ts";
import { runHeir, runLeavingReader, runReader, runTakingReader, settleAll } from "./readers.ts";
import { Recorder } from "./recorder.ts";
import { SocketPort } from "./socket-port.ts";
import type { Tally } from "./tally.ts";
import type { Verdict } from "./verdict.ts";

/** Leased and settled; the other is taken from at most once. */
const LEASED = { channel: "leased", maxMessages: 800, settings: { delivery: { maxAttempts: 4 } } };
const TAKEN = { channel: "taken", maxMessages: 200, settings: {} };
const CHANNELS = [LEASED, TAKEN];
const OK_MIN = 1000;
const OK_FURTHER_MAX = 600;
/** Now and then the runtime is killed soon after it started, too, or while connections are being opened. */
const EARLY_KILL_SHARE = 0.2;
const EARLY_OK_MAX = 150;
const POLL_MS = 3;
const TURNS_MAX = 30;
const STALL_MS = 30_000;
const DRAIN_MS = 60_000;

export interface RoundsOptions {
  readonly rounds: number;
  readonly seed: number;
  /** Where storage and history are kept; created when absent. On a disk, not in memory. */
  readonly dir: string;
  readonly onRound?: (tally: Tally) => void;
}

export interface RoundsSummary {
  readonly tally: Tally;
  readonly verdict: Verdict;
  readonly historyPath: string;
}

/** Runs the rounds, ends after the first with a fault, and drains the channels when there was none. */
export async function runRounds({ rounds, seed, dir, onRound }: RoundsOptions): Promise<RoundsSummary> {
  await mkdir(dir, { recursive: true });
  const historyPath = join(dir, "history.jsonl");
  const recorder = new Recorder(historyPath);
  const run = new Run(recorder, new SeededRandom(seed), dir);
  try {
    await run.begin();
    for (let round = 1; round <= rounds && recorder.checker.faults === 0; round++) {
      recorder.mark({ type: "round", round });
      await run.runRound();
      onRound?.(recorder.tally);
    }
    if (recorder.checker.faults === 0) await run.drain();
  } finally {
    await run.end();
    await recorder.close();
  }
  return { tally: recorder.tally, verdict: recorder.checker.verdict(), historyPath };
}

class Run {
  readonly #recorder: Recorder;
  readonly #random: SeededRandom;
  readonly #dir: string;
  readonly #names: readonly Names[];
  readonly #held: string[] = [];
  readonly #deadLettersFrom = new Map<string, number>();
  #bundle = "";
  #lives = 0;
  #runtime: LocalRuntime | undefined;

  constructor(recorder: Recorder, random: SeededRandom, dir: string) {
    this.#recorder = recorder;
    this.#random = random;
    this.#dir = dir;
    this.#names = Array.from({ length: 4 }, (_, index) => new Names(`p${index + 1}`, random.fork()));
  }

  async begin(): Promise<void> {
    ({ bundle: this.#bundle } = await buildWorker({ outDir: join(this.#dir, "bundle") }));
    const { url } = await this.#start();
    for (const { channel, maxMessages, settings } of CHANNELS) {
      this.#recorder.mark({ type: "channel", channel, maxMessages });
      const port = new HttpPort(url, channel, "setup");
      await port.create({ maxMessages, ...settings });
      await port.close();
    }
  }

  async runRound(): Promise<void> {
    if (this.#random.chance(EARLY_KILL_SHARE)) await this.#runLife(this.#random.int(0, EARLY_OK_MAX));
    await this.#runLife(OK_MIN + this.#random.int(0, OK_FURTHER_MAX));
  }

  /** Takes and settles all that is left, by leases and by gets, and looks at the empty channels. */
  async drain(): Promise<void> {
    const url = this.#runtime?.url ?? "";
    const endMs = Date.now() + DRAIN_MS;
    for (const { channel } of CHANNELS) {
      const port = new HttpPort(url, channel, `drain-${channel}`);
      const load = this.#makeLoad(url, () => false);
      while ((await this.#inspect(port)) > 0) {
        if (Date.now() > endMs) throw new Error(`Channel ${channel} could not be drained within ${DRAIN_MS} ms`);
        await takeAll(load, port, channel === TAKEN.channel);
      }
      await port.close();
    }
  }

  async end(): Promise<void> {
    await this.#runtime?.kill();
  }

  /** Load until so many operations of the round are acknowledged, the kill, the restart, and the look at what is there. */
  async #runLife(okWanted: number): Promise<void> {
    const runtime = this.#runtime;
    if (runtime === undefined) throw new Error("The runtime is not running");
    let isOver = false;
    this.#lives += 1;
    const load = this.#makeLoad(runtime.url, () => isOver);
    const actors = this.#startActors(load, runtime.url);
    const failed = Promise.all(actors).then((): never => {
      throw new Error(`The load ended by itself:\n${runtime.output()}`);
    });
    // When the race is lost for another reason, nobody waits for it any more.
    failed.catch(() => undefined);
    try {
      await Promise.race([this.#waitForOk(okWanted, load.isOver), failed]);
      for (let turn = this.#random.int(0, TURNS_MAX); turn > 0; turn--) await nextTurn();
    } finally {
      isOver = true;
    }
    this.#recorder.mark({ type: "kill", atMs: Date.now() });
    process.kill(runtime.pid, "SIGKILL");
    await runtime.kill();
    // Replies that left before the kill are still read: they are acknowledgements like all others.
    await Promise.allSettled([...actors, failed]);
    const { url } = await this.#start();
    for (const { channel } of CHANNELS) {
      const port = new HttpPort(url, channel, "inspector");
      await this.#inspect(port);
      await port.close();
    }
  }

  async #start(): Promise<LocalRuntime> {
    this.#runtime = await startLocalRuntime({
      bundle: this.#bundle,
      storageDir: join(this.#dir, "storage"),
      vars: { DEVELOPMENT: "1" },
    });
    this.#recorder.mark({ type: "start", atMs: Date.now() });
    return this.#runtime;
  }

  #makeLoad(url: string, isOver: () => boolean): Load {
    let connections = 0;
    const open = (channel: string): Promise<SocketPort> => {
      connections += 1;
      return SocketPort.open(url, channel, `life-${this.#lives}-ws-${connections}`);
    };
    return { recorder: this.#recorder, random: this.#random.fork(), open, held: this.#held, isOver };
  }

  #startActors(load: Load, url: string): Promise<void>[] {
    let ports = 0;
    const http = (channel: string): HttpPort => {
      ports += 1;
      return new HttpPort(url, channel, `life-${this.#lives}-http-${ports}`);
    };
    const [first, second, third, fourth] = this.#names;
    if (first === undefined || second === undefined || third === undefined || fourth === undefined) return [];
    const { channel: leased } = LEASED;
    const { channel: taken } = TAKEN;
    const actors = [
      load.open(leased).then((port) => runSocketProducer(load, port, first)),
      load.open(leased).then((port) => runSocketProducer(load, port, second)),
      runHttpProducer(load, http(leased), third),
      runHeir(load, http(leased)),
      load.open(leased).then((port) => runReader(load, port)),
      load.open(leased).then((port) => runReader(load, port)),
      runReader(load, http(leased), 1),
      runLeavingReader(load, leased),
      load.open(taken).then((port) => runSocketProducer(load, port, fourth)),
      load.open(taken).then((port) => runTakingReader(load, port)),
    ];
    // What fails after the kill, such as a connection that was being opened, is no failure.
    return actors.map((actor) =>
      actor.catch((error: unknown) => {
        if (!load.isOver()) throw error;
      }),
    );
  }

  async #waitForOk(wanted: number, isOver: () => boolean): Promise<void> {
    const { tally } = this.#recorder;
    const endMs = Date.now() + STALL_MS;
    while (tally.okOfRound < wanted && !isOver()) {
      if (Date.now() > endMs) throw new Error(`Only ${tally.okOfRound} operations were acknowledged within ${STALL_MS} ms`);
      await delay(POLL_MS);
    }
  }

  /** Records all that is there and returns how much it is. */
  async #inspect(port: HttpPort): Promise<number> {
    const from = this.#deadLettersFrom.get(port.channel) ?? 1;
    const reply = await this.#recorder.record(whereOf(port), { f: "inspect" }, async () => {
      const { inspection, firstOffset } = await port.inspect(from);
      this.#deadLettersFrom.set(port.channel, firstOffset);
      return { type: "ok", value: inspection };
    });
    return reply.type === "ok" ? reply.value.depth : 0;
  }
}

async function takeAll(load: Load, port: HttpPort, isTaking: boolean): Promise<void> {
  const { recorder } = load;
  const want = { max: 200, waitMs: 500 };
  for (;;) {
    if (isTaking) {
      const got = await recorder.record(whereOf(port), { f: "get", max: want.max }, () => port.get(want));
      if (got.type !== "ok" || got.value.messages.length === 0) return;
      continue;
    }
    const lease = { ...want, leaseMs: 30_000, isDetached: true };
    const pulled = await recorder.record(whereOf(port), { f: "pull", ...lease }, () => port.pull(lease));
    if (pulled.type !== "ok" || pulled.value.messages.length === 0) return;
    await settleAll(load, port, pulled.value.messages);
  }
}
