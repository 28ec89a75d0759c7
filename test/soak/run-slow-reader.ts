// The command line: `npm run soak:slow-reader`.
import { median } from "../bench/paired-rounds.ts";
import { parseWholeOptions } from "./options.ts";
import { measureSlowReader, type SlowReaderReport } from "./slow-reader.ts";

const DEFAULTS = { seconds: 60, rounds: 8, readers: 4, bytes: 100 } as const;
/** The last quarter's median above the first's. */
const GROWTH_MIB_MAX = 16;
const RATIO_MIN = 0.9;

const HELP = `Usage: npm run soak:slow-reader -- [options]

Puts messages into a log on the real runtime as fast as its readers take them, while one more reader stops granting credit. The memory of
the runtime must not grow for it, and the other readers must not slow down. Needs Linux.

  --seconds N  how long the reader stands still while the memory is watched, at least 4; default ${DEFAULTS.seconds}
  --rounds N   how often the others are measured with and without one that stands still, in turns; default ${DEFAULTS.rounds}
  --readers N  how many others there are; default ${DEFAULTS.readers}
  --bytes N    of a message; default ${DEFAULTS.bytes}
  --help       this text

Ends with 0 when the last quarter's median memory is less than ${GROWTH_MIB_MAX} MiB above the first's and the others' rate with the slow reader is at least
${RATIO_MIN} of that without it, in the median of the rounds, 1 otherwise, 2 for wrong options.`;

interface Verdict {
  readonly firstMib: number;
  readonly lastMib: number;
  readonly ratio: number;
  readonly isClean: boolean;
}

function judge({ rssMib, rates, takenAfter }: SlowReaderReport): Verdict {
  const quarter = Math.max(1, Math.floor(rssMib.length / 4));
  const [firstMib, lastMib] = [median(rssMib.slice(0, quarter)), median(rssMib.slice(-quarter))];
  const ratio = median(rates.map(({ ours, floor }) => ours / floor));
  return { firstMib, lastMib, ratio, isClean: lastMib - firstMib < GROWTH_MIB_MAX && ratio >= RATIO_MIN && takenAfter > 0 };
}

function formatMib(value: number): string {
  return `${value.toFixed(1)} MiB`;
}

function formatRate(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function formatReport(report: SlowReaderReport, verdict: Verdict): string {
  const rows: readonly (readonly [string, string])[] = [
    ["memory, median of the first quarter", formatMib(verdict.firstMib)],
    ["memory, median of the last quarter", formatMib(verdict.lastMib)],
    ["difference", formatMib(verdict.lastMib - verdict.firstMib)],
    ["least and most", `${formatMib(Math.min(...report.rssMib))}, ${formatMib(Math.max(...report.rssMib))}`],
    ["deliveries/s to the others without", formatRate(median(report.rates.map(({ floor }) => floor)))],
    ["deliveries/s to the others with", formatRate(median(report.rates.map(({ ours }) => ours)))],
    ["ratio, median of the rounds", verdict.ratio.toFixed(3)],
    ["taken by the slow reader afterwards", formatRate(report.takenAfter)],
    ["given up by the log, as it was told", formatRate(report.missed)],
  ];
  return rows.map(([name, value]) => `${name.padEnd(36)}  ${value}`).join("\n");
}

// Ends through "exit", where the runtime is ended too.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

const plan = parseWholeOptions(process.argv.slice(2), HELP, DEFAULTS);
if (plan !== undefined) {
  try {
    const report = await measureSlowReader(plan, (phase) => console.log(phase));
    const verdict = judge(report);
    console.log(formatReport(report, verdict));
    if (!verdict.isClean) process.exitCode = 1;
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}
