// What a run says: the JSON report and the table on the terminal.
import { median, quantile } from "./paired-rounds.ts";

export const JUDGED_ROUNDS_MIN = 15;
export const JUDGED_SECONDS_MIN = 2;
/** A floor so far below what such a machine is known to reach says that something disturbed the run. */
const FLOOR_SUSPICIOUS_PART = 0.7;

export interface Goal {
  readonly of: "ratio" | "value";
  readonly bound: "at-least" | "at-most" | "below";
  readonly limit: number;
}

/** What was measured for one id. Without a baseline there are no ratios, and the spread is that of the values. */
export interface Measured {
  readonly value: number;
  readonly baselineValue: number | null;
  readonly ratio: number | null;
  readonly spread: readonly number[];
}

export interface Described {
  readonly id: string;
  readonly unit: string;
  readonly baseline: string | null;
  readonly goal: Goal | null;
  /** What the floor reaches on a machine with two cores. */
  readonly floorReference?: number;
}

export interface Result {
  readonly id: string;
  readonly value: number | null;
  readonly unit: string;
  readonly baseline: string | null;
  readonly baselineValue: number | null;
  readonly ratio: number | null;
  readonly q10: number | null;
  readonly q90: number | null;
  readonly goal: string | null;
  readonly isMet: boolean | null;
  readonly isFloorSuspicious: boolean;
}

export interface Run {
  readonly rounds: number;
  readonly seconds: number;
  readonly isJudged: boolean;
  readonly results: readonly Result[];
}

export function makeResult(described: Described, measured: Measured): Result {
  const { id, unit, baseline, goal, floorReference = 0 } = described;
  const { baselineValue } = measured;
  return {
    id,
    value: finiteOrNull(measured.value),
    unit,
    baseline,
    baselineValue,
    ratio: finiteOrNull(measured.ratio),
    q10: finiteOrNull(quantile(measured.spread, 0.1)),
    q90: finiteOrNull(quantile(measured.spread, 0.9)),
    goal: goal === null ? null : formatGoal(goal),
    isMet: goal === null ? null : isMet(goal, measured),
    isFloorSuspicious: baselineValue !== null && baselineValue < floorReference * FLOOR_SUSPICIOUS_PART,
  };
}

/** The medians of paired values; the ratio is the median of the ratios within the pairs, not the ratio of the medians. */
export function measuredOfPairs(pairs: readonly { readonly ours: number; readonly floor: number }[]): Measured {
  const ratios = pairs.map(({ ours, floor }) => ours / floor);
  return {
    value: median(pairs.map(({ ours }) => ours)),
    baselineValue: median(pairs.map(({ floor }) => floor)),
    ratio: median(ratios),
    spread: ratios,
  };
}

/** For pairs of which each alone takes too little to be measured well: the means, and the ratio of the sums. */
export function measuredOfSums(pairs: readonly { readonly ours: number; readonly floor: number }[]): Measured {
  const [value, baselineValue] = [mean(pairs.map(({ ours }) => ours)), mean(pairs.map(({ floor }) => floor))];
  return { value, baselineValue, ratio: value / baselineValue, spread: pairs.map(({ ours, floor }) => ours / floor) };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function measuredOfValues(values: readonly number[]): Measured {
  return { value: median(values), baselineValue: null, ratio: null, spread: values };
}

// Not measured (the floors alone) is NaN in the arithmetic and null in the report.
function finiteOrNull(value: number | null): number | null {
  return value !== null && Number.isFinite(value) ? value : null;
}

function isMet(goal: Goal, measured: Measured): boolean | null {
  const judged = finiteOrNull(goal.of === "ratio" ? measured.ratio : measured.value);
  if (judged === null) return null;
  if (goal.bound === "at-least") return judged >= goal.limit;
  return goal.bound === "at-most" ? judged <= goal.limit : judged < goal.limit;
}

export function formatGoal(goal: Goal): string {
  const sign = { "at-least": ">=", "at-most": "<=", below: "<" }[goal.bound];
  return `${goal.of} ${sign} ${goal.limit}`;
}

export function formatTable(run: Run): string {
  const header = ["id", "value", "baseline", "unit", "ratio", "q10 to q90", "goal", ""];
  const rows = run.results.map((result) => [
    result.id,
    formatNumber(result.value),
    result.baseline === null ? "-" : `${formatNumber(result.baselineValue)} (${result.baseline})`,
    result.unit,
    formatNumber(result.ratio),
    `${formatNumber(result.q10)} to ${formatNumber(result.q90)}`,
    result.goal ?? "-",
    formatVerdict(result, run.isJudged),
  ]);
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const lines = [header, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const notes = run.results
    .filter((result) => result.isFloorSuspicious)
    .map(
      (result) =>
        `Suspicious: the floor of ${result.id} (${formatNumber(result.baselineValue)}) is far below this kind of machine.`,
    );
  if (!run.isJudged) notes.push(`Not a judged run: that takes at least ${JUDGED_ROUNDS_MIN} rounds of ${JUDGED_SECONDS_MIN} s.`);
  return [...lines, ...notes].join("\n");
}

function formatVerdict(result: Result, isJudged: boolean): string {
  if (!isJudged || result.isMet === null) return "";
  return result.isMet ? "met" : "MISSED";
}

function formatNumber(value: number | null): string {
  if (value === null) return "-";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 3);
}
