// What carries messages to a binary connection: the members of the JSON frame in a head, and blocks of the messages behind it.
import type { GrantedLeases, Outcome } from "../channel/operation.ts";
import { selectionOf } from "../channel/selection.ts";
import { joinBinaryFrame } from "../protocol/binary-frame.ts";

/** The frame that answers request `id`, none over HTTP; undefined where it has no messages, and goes as text. `state` is the JSON text of the state. */
export function formatBinaryReply(id: number | undefined, outcome: Outcome, state: string): Uint8Array | undefined {
  if (outcome.type !== "got" && outcome.type !== "delivered") return undefined;
  const selection = selectionOf(outcome);
  if (selection.count === 0) return undefined;
  const { controls, granted } = outcome;
  let head = id === undefined ? "{" : `{"id":${id},`;
  if (granted !== undefined) head += `"leaseUntilMs":${granted.leaseUntilMs},"leases":${formatLeases(granted)},`;
  if (controls.length > 0) head += `"controls":${JSON.stringify(controls)},`;
  if (outcome.type === "delivered") {
    const { bytes, gap, resume } = outcome;
    head += `"bytes":${bytes},`;
    if (gap !== undefined) head += `"gap":${JSON.stringify(gap)},`;
    if (resume !== undefined) head += `"resume":"${resume}",`;
  }
  return joinBinaryFrame(outcome.type === "got" ? "got" : "deliver", `${head}"state":${state}}`, selection.blocks);
}

/**
 * All leases of a frame have one holder, so their ids differ in offset and attempt alone, of which each message has its offset, and nearly
 * all have the attempt 1.
 */
function formatLeases({ session = "", attempts, redelivered }: GrantedLeases): string {
  const [group, ...holder] = session.split("-");
  const again: (readonly [place: number, attempt: number, redelivered: boolean])[] = [];
  for (const [place, attempt] of attempts.entries()) {
    const isRedelivered = redelivered[place] ?? false;
    if (attempt !== 1 || isRedelivered) again.push([place, attempt, isRedelivered]);
  }
  return JSON.stringify({ group: Number(group), holder: holder.join("-"), ...(again.length > 0 && { again }) });
}
