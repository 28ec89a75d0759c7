// Shows how far the demo is: a bar on a terminal, else a line a second.
import { Presets, SingleBar } from "cli-progress";

const BAR_INTERVAL_MS = 100;
const LINE_INTERVAL_MS = 1_000;

export interface Progress {
  stop(): void;
}

/** How far it is: a part of a total that is known before, and all there is to say. */
export interface Step {
  readonly done: number;
  readonly text: string;
}

/** Shows again and again how far it is, until it is stopped. */
export function showProgress(total: number, look: () => Step): Progress {
  return process.stdout.isTTY ? showBar(total, look) : showLines(look);
}

function showBar(total: number, look: () => Step): Progress {
  const format = "{bar} {percentage} % · {text}";
  const bar = new SingleBar({ format, stream: process.stdout, hideCursor: true, barsize: 20 }, Presets.shades_classic);
  bar.start(total, 0, look());
  const update = (): void => {
    const step = look();
    bar.update(step.done, step);
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

function showLines(look: () => Step): Progress {
  const timer = setInterval(() => console.log(look().text), LINE_INTERVAL_MS);
  return { stop: () => clearInterval(timer) };
}

export function formatCount(count: number): string {
  return count.toLocaleString("en");
}

/** "1 message", "2 messages". */
export function formatAmount(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}
