// The members that requests and replies have in common over HTTP and in frames.
import type { ControlRecord } from "../protocol/message.ts";
import type { PressureState } from "../protocol/description.ts";
import type { ScheduledReceipt } from "../protocol/schedule.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { formatBody, formatPuts, parseMessage, type MessageJson, type ReceivedMessage } from "./message-json.ts";
import type { SettleEntry } from "./settle-queue.ts";
import type { CheckpointRider, GetResult, Leased, PullResult, PutReceipt, SettleRequest } from "./transport.ts";

/** The members of a settle request. Entries may be whole messages: only what the protocol knows of them is sent. */
export function formatSettle(request: SettleRequest): object {
  try {
    const { acks, retries, extends: longer, rejects, releases, checkpoint, puts } = request;
    return {
      acks: acks?.map(formatEntry),
      retries: retries?.map(formatEntry),
      extends: longer?.map(formatEntry),
      rejects: rejects?.map(formatEntry),
      releases: releases?.map(formatEntry),
      checkpoint: checkpoint && formatCheckpoint(checkpoint),
      puts: puts && formatPuts(puts),
    };
  } catch (error) {
    if (error instanceof EdgeChannelError) throw error;
    // What is read of nothing, or of what is no list.
    throw EdgeChannelError.refused("Cannot settle: expected lists of leases");
  }
}

function formatEntry({ leaseId, count, delayMs, reason, leaseMs }: SettleEntry): SettleEntry {
  return { leaseId, count, delayMs, reason, leaseMs };
}

function formatCheckpoint({ name, value, contentType, ifMatch, ifNoneMatch }: CheckpointRider): object {
  return { name, contentType, ifMatch, ifNoneMatch, ...formatBody(value) };
}

interface PutReply {
  readonly offset: number | null;
  readonly count: number;
  readonly scheduled?: readonly ScheduledReceipt[];
  readonly duplicate?: true;
  readonly state: PressureState;
}

export function parsePutReceipt({ offset, count, scheduled, duplicate, state }: PutReply): PutReceipt {
  return { offset, count, ...(scheduled !== undefined && { scheduled }), isDuplicate: duplicate === true, state };
}

interface TakenReply {
  /** As JSON shows leased messages, or read already; without a lease they lack the members of one. */
  readonly messages: readonly unknown[];
  readonly controls?: readonly unknown[];
  readonly leaseUntilMs?: number;
  readonly state: PressureState;
}

export function parseGetResult({ messages, controls, state }: TakenReply): GetResult {
  return {
    messages: messages.map((form) => parseMessage(form as MessageJson<ReceivedMessage>)),
    controls: (controls ?? []) as readonly ControlRecord[],
    state,
  };
}

export function parsePullResult(reply: TakenReply): PullResult {
  const messages = reply.messages.map((form) => parseMessage(form as MessageJson<Leased>));
  return { ...parseGetResult({ ...reply, messages: [] }), messages, leaseUntilMs: reply.leaseUntilMs };
}

/** Without the members of a frame that are not the reply's. */
export function parseReply<Reply>({
  type: _type,
  id: _id,
  ...reply
}: Reply & { readonly type?: string; readonly id?: number }): Reply {
  return reply as Reply;
}
