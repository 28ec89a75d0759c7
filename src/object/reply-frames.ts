// Outcomes as frames of channel.v1.json. Texts are put together by hand: bodies are spliced in and the state is encoded once a commit.
import type { ControlRecord, Message } from "../protocol/message.ts";
import { formatMessage } from "../protocol/message.ts";
import { formatProblem, type Refusal } from "../protocol/problems.ts";
import type { GrantedLeases, Outcome } from "../channel/operation.ts";

/** The frame that answers request `id`, or undefined where none is sent. `state` is the JSON text of the state at the commit. */
export function formatReply(id: number, outcome: Outcome, state: string): string | undefined {
  switch (outcome.type) {
    case "put":
      return `{"type":"put-ok","id":${id},"offset":${outcome.offset},"count":${outcome.count},"state":${state}}`;
    case "got":
      return `{"type":"got","id":${id},${formatTaken(outcome)},"state":${state}}`;
    case "settled":
      return `{"type":"settled","id":${id},${formatSettled(outcome)},"state":${state}}`;
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

/** The members `messages` and, where there are any, `controls` and `leaseUntilMs` of a JSON reply. */
export function formatTaken({ messages, controls, granted }: TakenParts): string {
  const texts = messages.map((message, index) => formatMessage(message, granted && formatLease(granted, index)));
  let taken = `"messages":[${texts.join(",")}]`;
  if (controls.length > 0) taken += `,"controls":${JSON.stringify(controls)}`;
  return granted === undefined ? taken : `${taken},"leaseUntilMs":${granted.leaseUntilMs}`;
}

interface TakenParts {
  readonly messages: readonly Message[];
  readonly controls: readonly ControlRecord[];
  readonly granted?: GrantedLeases;
}

function formatLease({ leaseIds, attempts, redelivered }: GrantedLeases, index: number): string {
  return `"leaseId":"${leaseIds[index] ?? ""}","attempt":${attempts[index] ?? 1},"redelivered":${redelivered[index] ?? false}`;
}

/** The members of a reply to a settle call. `refused` names entries by their place among all of the call. */
export function formatSettled({ counts, refused, checkpoint, put }: Extract<Outcome, { type: "settled" }>): string {
  const { ack, retry, extend, reject, release } = counts;
  const accepted = { acked: ack, retried: retry, extended: extend, rejected: reject, released: release };
  const problems = refused.map(({ pointer, refusal }) => ({ pointer, problem: formatProblem(refusal) }));
  const riders = {
    ...(checkpoint !== undefined && { checkpointVersion: checkpoint.version }),
    ...(put !== undefined && { putOffset: put.offset }),
  };
  return JSON.stringify({ ...accepted, refused: problems, ...riders }).slice(1, -1);
}
