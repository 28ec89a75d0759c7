// `channel bench`: a small load, to see what a channel does from here. Not the project's benchmarks, which are in test/bench.
import { type Channel, EdgeChannelError } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import { type Given, UsageError } from "../command-line/given.ts";
import type { Session } from "../command-line/session.ts";

const SECONDS_DEFAULT = 5;
const SECONDS_MAX = 600;
const SIZE_DEFAULT = 100;
const SIZE_MAX = 65_536;
const IN_FLIGHT_DEFAULT = 64;
const IN_FLIGHT_MAX = 1000;
const MS_PER_SECOND = 1000;

export const BENCH: Command = {
  name: "bench",
  needed: ["CHANNEL"],
  summary: "Measures puts and gets a second over one socket, with a load of its own",
  notes: `For half of the time messages are put, for the other half they are taken and removed at once, each by a request of its own. A put counts
when it is acknowledged, that is on disk. The channel has to be an empty queue that nobody else uses: everything in it is taken.
What is left at the end is removed.`,
  options: [
    { name: "seconds", value: "N", text: `how long it runs, 1 to ${SECONDS_MAX}; default: ${SECONDS_DEFAULT}` },
    { name: "size", value: "SIZE", text: `bytes of a message, ${SIZE_MAX} at most; default: ${SIZE_DEFAULT}` },
    { name: "in-flight", value: "N", text: `requests at the same time, ${IN_FLIGHT_MAX} at most; default: ${IN_FLIGHT_DEFAULT}` },
  ],
  run: bench,
};

interface Measured {
  readonly done: number;
  readonly perSecond: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

async function bench(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const seconds = given.whole("seconds", 1, SECONDS_MAX) ?? SECONDS_DEFAULT;
  const inFlight = given.whole("in-flight", 1, IN_FLIGHT_MAX) ?? IN_FLIGHT_DEFAULT;
  const body = "x".repeat(given.bytes("size", 0, SIZE_MAX) ?? SIZE_DEFAULT);
  const { channel, description } = await session.connect(given.channel);
  if (description !== undefined && (description.depth > 0 || description.settings.retention !== "queue")) {
    throw new UsageError(`Cannot use ${given.channel}: the bench takes all that is in it, so it has to be an empty queue`);
  }
  const phase = { inFlight, durationMs: (seconds * MS_PER_SECOND) / 2, signal };
  try {
    const puts = await measure(phase, () => hasPut(channel, body));
    const gets = await measure(phase, () => hasGot(channel));
    signal.throwIfAborted();
    await output.show({ puts, gets, inFlight, bytes: body.length }, () => {
      const heads = ["", "done", "a second", "median ms", "99 % ms"];
      const rows = Object.entries({ puts, gets }).map(([name, measured]) => formatRow(name, measured));
      return output.table(heads, rows);
    });
    return EXIT.ok;
  } finally {
    await session.channel(given.channel).purge();
  }
}

/** False when the channel is full. */
async function hasPut(channel: Channel, body: string): Promise<boolean> {
  try {
    await channel.transport.put(body);
    return true;
  } catch (error) {
    if (error instanceof EdgeChannelError && error.kind === "channel-full") return false;
    throw error;
  }
}

/** False when the channel is empty. */
async function hasGot(channel: Channel): Promise<boolean> {
  return (await channel.transport.get()).messages.length > 0;
}

interface Phase {
  readonly inFlight: number;
  readonly durationMs: number;
  readonly signal: AbortSignal;
}

/** Calls again and again, so many at the same time, until the time is over or a call says that there is nothing more to do. */
async function measure({ inFlight, durationMs, signal }: Phase, call: () => Promise<boolean>): Promise<Measured> {
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  let goesOn = true;
  const callAgain = async (): Promise<void> => {
    while (goesOn && !signal.aborted) {
      const calledMs = performance.now();
      if (calledMs - startMs >= durationMs) return;
      if (await call()) latenciesMs.push(performance.now() - calledMs);
      else goesOn = false;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, callAgain));
  const elapsedMs = performance.now() - startMs;
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number): number => roundMs(latenciesMs[Math.floor(latenciesMs.length * share)] ?? 0);
  const perSecond = Math.round((latenciesMs.length / elapsedMs) * MS_PER_SECOND);
  return { done: latenciesMs.length, perSecond, medianMs: at(0.5), p99Ms: at(0.99) };
}

function roundMs(ms: number): number {
  return Math.round(ms * 100) / 100;
}

function formatRow(name: string, { done, perSecond, medianMs, p99Ms }: Measured): readonly (string | number)[] {
  return [name, done, perSecond, medianMs, p99Ms];
}
