// Shows how far the demo is: a bar on a terminal, else a line a second.
import { Presets, SingleBar } from "cli-progress";
import { CHANNEL_MESSAGES_MAX, type Tally } from "./pipeline.ts";

const BAR_INTERVAL_MS = 100;
const LINE_INTERVAL_MS = 1_000;

export interface Progress {
  stop(): void;
}

/** Shows `tally` again and again until it is stopped. */
export function showProgress(bytes: number, tally: () => Tally): Progress {
  return process.stdout.isTTY ? showBar(bytes, tally) : showLines(tally);
}

function showBar(bytes: number, tally: () => Tally): Progress {
  const format = `{bar} {percentage} % · {got} got · {depth} of ${CHANNEL_MESSAGES_MAX} in the channel · {waits} waits for room`;
  const bar = new SingleBar({ format, stream: process.stdout, hideCursor: true, barsize: 30 }, Presets.shades_classic);
  bar.start(bytes, 0, formatPayload(tally()));
  const update = (): void => {
    const now = tally();
    bar.update(now.gotBytes, formatPayload(now));
  };
  const timer = setInterval(update, BAR_INTERVAL_MS);
  return {
    stop: () => {
      clearInterval(timer);
      update();
      bar.stop();
    },
  };
}

function formatPayload({ got, depth, waits }: Tally): object {
  return { got: formatCount(got), depth, waits: formatCount(waits) };
}

function showLines(tally: () => Tally): Progress {
  const timer = setInterval(() => {
    const { put, got, depth, waits } = tally();
    console.log(
      `${formatCount(put)} put, ${formatCount(got)} got, ${depth} in the channel, ${formatCount(waits)} waits for room`,
    );
  }, LINE_INTERVAL_MS);
  return { stop: () => clearInterval(timer) };
}

function formatCount(count: number): string {
  return count.toLocaleString("en");
}

/** "1 message", "2 messages". */
export function formatAmount(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}
