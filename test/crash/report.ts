// The closing table of a run.
import type { RoundsSummary } from "./rounds.ts";
import type { Kind, Outcomes } from "./tally.ts";
import { FAULT_KINDS, type FaultKind, type Verdict } from "./verdict.ts";

const OPERATIONS_MIN = 1000;
const UNKNOWN_SHARE_MIN = 0.3;

/** What is wrong with a run, a line each; empty when it is clean. */
export function listFailures({ tally, verdict }: Pick<RoundsSummary, "tally" | "verdict">): string[] {
  const failures = (Object.entries(verdict.faults) as [FaultKind, number][])
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${formatCount(count)} ${FAULT_KINDS[kind]}`);
  if (failures.length > 0) return failures;
  if (verdict.unsettled > 0) failures.push(`${formatCount(verdict.unsettled)} acknowledged messages left at the end`);
  if (tally.rounds > 0 && tally.okOfRoundMin < OPERATIONS_MIN) {
    failures.push(`a round had only ${tally.okOfRoundMin} acknowledged operations, not ${OPERATIONS_MIN}`);
  }
  if (tally.kills > 0 && tally.unknownShare < UNKNOWN_SHARE_MIN) {
    failures.push(`only ${formatShare(tally.unknownShare)} of the kills left operations with unknown outcome`);
  }
  return failures;
}

export function formatSummary(summary: Pick<RoundsSummary, "tally" | "verdict">): string {
  const { tally, verdict } = summary;
  const { put, acked, endedUnseen, taken, deadLettered } = verdict.messages;
  const failures = listFailures(summary);
  const rows: [string, string][] = [
    ["rounds", `${tally.rounds}, each with at least ${formatCount(tally.okOfRoundMin)} acknowledged operations`],
    ["kills", `${tally.kills}, ${formatShare(tally.unknownShare)} of them left operations with unknown outcome`],
    ...(Object.entries(tally.operations) as [Kind, Outcomes][]).map(([kind, outcomes]): [string, string] => [
      `${kind} operations`,
      formatOutcomes(outcomes),
    ]),
    ["messages put", formatCount(put)],
    ["messages acked", `${formatCount(acked)}, and ${formatCount(endedUnseen)} by calls whose reply was lost`],
    ["messages taken at once", formatCount(taken)],
    ["dead letters", formatCount(deadLettered)],
    ["lost", formatCount(verdict.faults.lost)],
    ["acknowledged twice", formatCount(verdict.faults.ackedTwice)],
    ["out of order", formatCount(verdict.faults.outOfOrder)],
    ["depth above the limit", formatCount(verdict.faults.overLimit)],
    ["other faults", formatCount(countOthers(verdict))],
    ["verdict", failures.length === 0 ? "clean" : failures.join("; ")],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`);
  return [...lines, ...verdict.examples.map((example) => `  ${example}`)].join("\n");
}

function countOthers({ faults }: Verdict): number {
  const { lost, ackedTwice, outOfOrder, overLimit, ...others } = faults;
  void [lost, ackedTwice, outOfOrder, overLimit];
  return Object.values(others).reduce((sum, count) => sum + count, 0);
}

function formatOutcomes({ ok, fail, unknown }: Outcomes): string {
  return `${formatCount(ok)} ok, ${formatCount(fail)} refused, ${formatCount(unknown)} unknown`;
}

function formatShare(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function formatCount(count: number): string {
  return count.toLocaleString("en");
}
