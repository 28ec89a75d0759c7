// Outcomes as frames of channel.v1.json. Texts are put together by hand: bodies are spliced in and the state is encoded once a commit.
import type { ControlRecord, Message } from "../protocol/message.ts";
import { formatMessage } from "../protocol/message.ts";
import { formatProblem, type Refusal } from "../protocol/problems.ts";
import type { Outcome } from "../channel/operation.ts";

/** The frame that answers request `id`, or undefined where none is sent. `state` is the JSON text of the state at the commit. */
export function formatReply(id: number, outcome: Outcome, state: string): string | undefined {
  switch (outcome.type) {
    case "put": {
      const { offset, count, isDuplicate } = outcome;
      const duplicate = isDuplicate === true ? ',"duplicate":true' : "";
      return `{"type":"put-ok","id":${id},"offset":${offset},"count":${count}${duplicate},"state":${state}}`;
    }
    case "got":
      return `{"type":"got","id":${id},${formatTaken(outcome.messages, outcome.controls)},"state":${state}}`;
    case "waiting":
      return `{"type":"wait","id":${id}}`;
    case "room":
      return `{"type":"room","id":${id},"reservedMs":${outcome.reservedMs}}`;
    case "refused":
      return formatProblemFrame(outcome.refusal, id);
    default:
      return undefined;
  }
}

export function formatProblemFrame(refusal: Refusal, inReplyTo: number | undefined): string {
  return JSON.stringify({ type: "problem", ...(inReplyTo !== undefined && { inReplyTo }), problem: formatProblem(refusal) });
}

/** The members `messages` and, where there are any, `controls` of a JSON reply. */
export function formatTaken(messages: readonly Message[], controls: readonly ControlRecord[]): string {
  const taken = `"messages":[${messages.map(formatMessage).join(",")}]`;
  return controls.length === 0 ? taken : `${taken},"controls":${JSON.stringify(controls)}`;
}
