// Outcomes as frames of channel.v1.json. Texts are put together by hand: bodies are spliced in and the state is encoded once a commit.
import { formatMessage, type ControlRecord, type Message } from "../protocol/message.ts";
import { formatProblem } from "../protocol/problem-format.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { PresenceChange } from "../protocol/stream-frames.ts";
import { formatCheckpointReply } from "./checkpoint-requests.ts";
import type { Delivered, GrantedLeases, Outcome } from "../channel/operation.ts";

/** The frame that answers request `id`, or undefined where none is sent. `state` is the JSON text of the state at the commit. */
export function formatReply(id: number, outcome: Outcome, state: string): string | undefined {
  switch (outcome.type) {
    case "put":
      return `{"type":"put-ok","id":${id},${formatStored(outcome)},"state":${state}}`;
    case "got":
      return `{"type":"got","id":${id},${formatTaken(outcome)},"state":${state}}`;
    case "settled":
      return `{"type":"settled","id":${id},${formatSettled(outcome)},"state":${state}}`;
    case "waiting":
      return `{"type":"wait","id":${id}}`;
    case "room":
      return `{"type":"room","id":${id},"reservedMs":${outcome.reservedMs}}`;
    case "subscribed":
      return JSON.stringify({ type: "subscribed", id, resume: outcome.resume });
    case "delivered":
      return `{"type":"deliver","id":${id},${formatDelivered(outcome)},"state":${state}}`;
    case "revoke":
      return JSON.stringify({ type: "revoke", id, leases: outcome.leases });
    case "pressure": {
      const { level, credit } = outcome;
      return `{"type":"pressure","id":${id},"level":"${level}","credit":${JSON.stringify(credit)},"state":${state}}`;
    }
    case "present":
      return JSON.stringify({ type: "present", id, readers: outcome.readers, colos: outcome.colos });
    case "presence":
      return `{"type":"presence","id":${id},"changes":${formatChanges(outcome.changes)}}`;
    case "checkpoint":
    case "checkpoint-written":
    case "checkpoint-deleted":
    case "checkpoints":
      return formatCheckpointReply(id, outcome);
    case "ended": {
      const problem = outcome.refusal && formatProblem(outcome.refusal);
      return JSON.stringify({ type: "ended", id, problem });
    }
    case "refused":
      return formatProblemFrame(outcome.refusal, id);
    default:
      return undefined;
  }
}

export function formatProblemFrame(refusal: Refusal, inReplyTo: number | undefined): string {
  return JSON.stringify({ type: "problem", ...(inReplyTo !== undefined && { inReplyTo }), problem: formatProblem(refusal) });
}

/** The members of a reply to a put: `offset` and `count`, whether it is a duplicate, and what tells of delayed messages. */
export function formatStored({ offset, count, scheduled, isDuplicate }: Extract<Outcome, { type: "put" }>): string {
  const stored = `"offset":${offset},"count":${count}${isDuplicate === true ? ',"duplicate":true' : ""}`;
  if (scheduled === undefined) return stored;
  const [first] = scheduled;
  const isSingle = first !== undefined && count + scheduled.length === 1;
  return `${stored}${isSingle ? `,"scheduledId":"${first.scheduledId}"` : ""},"scheduled":${JSON.stringify(scheduled)}`;
}

/** The members `messages` and, where there are any, `controls` and `leaseUntilMs` of a JSON reply. */
export function formatTaken({ messages, controls, granted }: TakenParts): string {
  const texts = messages.map((message, index) => formatMessage(message, granted && formatLease(granted, index)));
  let taken = `"messages":[${texts.join(",")}]`;
  if (controls.length > 0) taken += `,"controls":${JSON.stringify(controls)}`;
  return granted === undefined ? taken : `${taken},"leaseUntilMs":${granted.leaseUntilMs}`;
}

/** Texts of pages that several readers are sent, made once. */
const pageTexts = new WeakMap<readonly Message[], string>();

function formatDelivered(delivered: Delivered): string {
  const { messages, granted, gap, resume } = delivered;
  let text = granted === undefined ? pageTexts.get(messages) : undefined;
  if (text === undefined) {
    text = formatTaken(delivered);
    if (granted === undefined) pageTexts.set(messages, text);
  }
  text += `,"bytes":${delivered.bytes}`;
  if (gap !== undefined) text += `,"gap":${JSON.stringify(gap)}`;
  return resume === undefined ? text : `${text},"resume":"${resume}"`;
}

/** Texts of changes that several watches are told, made once. */
const changeTexts = new WeakMap<readonly PresenceChange[], string>();

function formatChanges(changes: readonly PresenceChange[]): string {
  let text = changeTexts.get(changes);
  if (text === undefined) changeTexts.set(changes, (text = JSON.stringify(changes)));
  return text;
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
