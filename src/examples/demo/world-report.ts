// What came of the world in words and tables: who got what, why, and how much stayed local.
import type { RouteNote } from "../../protocol/history.ts";
import { NEARNESSES, type Nearness, needColo } from "./nearness.ts";
import { drawMap } from "./world-map.ts";

export interface ReaderTally {
  readonly name: string;
  readonly colo: string;
  /** Messages that it handled, by how near they were put. */
  readonly got: Readonly<Record<Nearness, number>>;
}

/** What the history of a message told while its reader had it. */
export interface ExampleRoute {
  readonly offset: number;
  readonly origin: string;
  readonly reader: string;
  readonly colo: string;
  readonly nearness: Nearness;
  readonly route: RouteNote;
}

const FARTHER: Readonly<Record<Exclude<Nearness, "colo">, string>> = {
  region: "in the same region",
  continent: "on the same continent",
  any: "elsewhere",
};

const REASONS: Readonly<Record<RouteNote["reason"], string>> = {
  "holds-key": "it held other messages of the key",
  "owns-key": "it had the last message of the key",
  "fewest-keys": "it had the fewest keys",
  pow2: "the less loaded of two drawn",
  "least-loaded": "it held the fewest messages",
  "round-robin": "it was its turn",
  "consistent-hash": "the message belongs to it",
  "pow2-cached": "the less loaded of two drawn, as far as known",
};

/** All messages that were handled, by how near they were put. */
function sumUp(readers: readonly ReaderTally[]): Record<Nearness, number> {
  const sum = { colo: 0, region: 0, continent: 0, any: 0 };
  for (const { got } of readers) for (const nearness of NEARNESSES) sum[nearness] += got[nearness];
  return sum;
}

/** The part of all messages that was handled in the colo where it was put; 0 of none. */
export function localShareOf(readers: readonly ReaderTally[]): number {
  const sum = sumUp(readers);
  return sum.colo / Math.max(1, countAll(sum));
}

/** A line for each reader, in the order given, and the sum. */
export function formatReaders(readers: readonly ReaderTally[]): readonly string[] {
  const rows = readers.map(({ name, colo, got }) => [name, `${colo} ${needColo(colo).city}`, ...countsOf(got)]);
  const head = ["reader", "colo", "got", "put there", "in its region", "its continent", "elsewhere"];
  return alignColumns([head, ...rows, ["all", "", ...countsOf(sumUp(readers))]], 2);
}

function countsOf(got: ReaderTally["got"]): string[] {
  return [countAll(got), ...NEARNESSES.map((nearness) => got[nearness])].map((count) => count.toLocaleString("en"));
}

function countAll(got: ReaderTally["got"]): number {
  return NEARNESSES.reduce((sum, nearness) => sum + got[nearness], 0);
}

/** The first columns to the left, all others to the right. */
function alignColumns(rows: readonly (readonly string[])[], left: number): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < left ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}

/** Why a message went to its reader, in a sentence. */
export function explainRoute({ offset, origin, reader, colo, nearness, route }: ExampleRoute): string {
  const { tier, reason, candidates, load } = route;
  const where = nearness === "colo" ? `to ${reader} there` : `to ${reader} in ${colo}, ${FARTHER[nearness]}`;
  const passed = tier === "colo" || tier === "key" ? "" : ", since nobody nearer took it in time";
  const choice = candidates === 1 ? "the only one free" : `of ${candidates} free ones: ${REASONS[reason]}`;
  return `message ${offset}, put in ${origin}, went ${where}${passed}; ${choice}; it held ${load}`;
}

/** A map with what was handled in each colo, so many characters wide. */
export function mapDeliveries(readers: readonly ReaderTally[], columns: number): readonly string[] {
  const byColo = new Map<string, number>();
  for (const { colo, got } of readers) byColo.set(colo, (byColo.get(colo) ?? 0) + countAll(got));
  const labels = [...byColo].map(([code, count]) => {
    const { latitude, longitude } = needColo(code);
    return { latitude, longitude, text: `${code} ${count.toLocaleString("en")}` };
  });
  return drawMap(labels, columns);
}
