// The command line: `npm run soak:slow-reader`.
import { parseWholeOptions } from "./options.ts";
import { measureSlowReader, type SlowReaderReport } from "./slow-reader.ts";

const DEFAULTS = { seconds: 60, readers: 4, bytes: 100 } as const;
/** The last quarter's median above the first's. */
const GROWTH_MIB_MAX = 16;
const RATIO_MIN = 0.9;

const HELP = `Usage: npm run soak:slow-reader -- [options]

Puts messages into a log on the real runtime as fast as its readers take them, while one more reader stops granting credit. The memory of
the runtime must not grow for it, and the other readers must not slow down. Needs Linux.

  --seconds N  how long the reader stands still, at least 4; default ${DEFAULTS.seconds}
  --readers N  how many others there are; default ${DEFAULTS.readers}
  --bytes N    of a message; default ${DEFAULTS.bytes}
  --help       this text

Ends with 0 when the last quarter's median memory is less than ${GROWTH_MIB_MAX} MiB above the first's and the others' median rate with the slow reader is at
least ${RATIO_MIN} of that without it, 1 otherwise, 2 for wrong options.`;

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2;
}

interface Verdict {
  readonly firstMib: number;
  readonly lastMib: number;
  readonly without: number;
  readonly with: number;
  readonly isClean: boolean;
}

function judge({ rssMib, ratesWith, ratesWithout, takenAfter }: SlowReaderReport): Verdict {
  const quarter = Math.max(1, Math.floor(rssMib.length / 4));
  const [firstMib, lastMib] = [medianOf(rssMib.slice(0, quarter)), medianOf(rssMib.slice(-quarter))];
  const rates = { without: medianOf(ratesWithout), with: medianOf(ratesWith) };
  const isClean = lastMib - firstMib < GROWTH_MIB_MAX && rates.with >= RATIO_MIN * rates.without && takenAfter > 0;
  return { firstMib, lastMib, ...rates, isClean };
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
    ["deliveries/s to the others without", formatRate(verdict.without)],
    ["deliveries/s to the others with", formatRate(verdict.with)],
    ["ratio", (verdict.with / verdict.without).toFixed(3)],
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
