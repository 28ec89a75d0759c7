// How the load reaches the service: one interface over WebSocket and HTTP, and what both read from replies.
import type { Answer, Leased, RefusedLease, Seen, SettleLists } from "./history.ts";
import { keyOf, readName, textOf } from "./payload.ts";
import type { Reply } from "./recorder.ts";

/** How long an extended lease lasts from then on. */
export const EXTEND_MS = 4000;

export interface Wait {
  /** How long to wait for room or for messages, in milliseconds; 0 tries once. */
  readonly waitMs: number;
}

export interface Port {
  readonly channel: string;
  /** Names the connection whose puts keep their order; a new one for each HTTP request. */
  connection(): string;
  /** One name is a single put, several are a batch. */
  put(names: readonly string[], wait: Wait): Promise<Reply<Answer<"put">>>;
  pull(
    want: { readonly max: number; readonly leaseMs: number; readonly isDetached: boolean } & Wait,
  ): Promise<Reply<Answer<"pull">>>;
  get(want: { readonly max: number } & Wait): Promise<Reply<Answer<"get">>>;
  settle(lists: SettleLists): Promise<Reply<Answer<"settle">>>;
  readonly isOpen: boolean;
  /** Whether leases never belong to the connection. */
  readonly isDetaching: boolean;
  /** Ends the connection: cleanly, or by cutting it off. Requests in flight become unknown. */
  close(how: "clean" | "cut"): Promise<void>;
}

export interface MessageJson {
  readonly offset: number;
  readonly text?: string;
  readonly key?: string;
  readonly leaseId?: string;
  readonly attempt?: number;
  readonly redelivered?: boolean;
}

/** The members of all replies; which are there follows from the request. */
export interface ReplyJson {
  readonly offset?: number;
  readonly messages?: readonly MessageJson[];
  readonly leaseUntilMs?: number;
  readonly acked?: number;
  readonly refused?: readonly { readonly pointer: string; readonly problem: { readonly kind: string } }[];
  readonly state: { readonly depth: number };
}

/** What is put under a name. */
export function putText(name: string): { readonly text: string; readonly key?: string } {
  const key = keyOf(name);
  return { text: textOf(name), ...(key !== undefined && { key }) };
}

export function readSeen(message: MessageJson): Seen {
  return { name: readName(message), offset: message.offset };
}

export function readPulled({ messages = [], leaseUntilMs = 0, state }: ReplyJson): Answer<"pull"> {
  const leased = messages.map((message): Leased => {
    const { leaseId = "", attempt = 0, redelivered = false } = message;
    return { ...readSeen(message), leaseId, attempt, redelivered };
  });
  return { f: "pull", messages: leased, leaseUntilMs, depth: state.depth };
}

export function readGot({ messages = [], state }: ReplyJson): Answer<"get"> {
  return { f: "get", messages: messages.map(readSeen), depth: state.depth };
}

export function readPut({ offset = 0, state }: ReplyJson): Answer<"put"> {
  return { f: "put", offset, depth: state.depth };
}

export function readSettled({ acked = 0, refused = [], state }: ReplyJson, lists: SettleLists): Answer<"settle"> {
  const leases = refused.map(({ pointer, problem }): RefusedLease => {
    const [, list = "", index = ""] = pointer.split("/");
    const leaseId = lists[list as keyof SettleLists]?.[Number(index)];
    if (leaseId === undefined) throw new Error(`The reply to a settle call refuses ${pointer}, which was not in it`);
    return { leaseId, kind: problem.kind };
  });
  return { f: "settle", acked, refused: leases, depth: state.depth };
}

/** The body of a settle call. Retries come soon, with a pause; extensions are short. */
export function formatSettle({ acks, rejects, retries, extends: extended, releases }: SettleLists): object {
  return {
    acks: acks.map((leaseId) => ({ leaseId })),
    rejects: rejects.map((leaseId) => ({ leaseId, reason: "poison" })),
    retries: retries.map((leaseId, index) => ({ leaseId, delayMs: index % 2 === 0 ? 0 : 100 })),
    extends: extended.map((leaseId) => ({ leaseId, leaseMs: EXTEND_MS })),
    releases: releases.map((leaseId) => ({ leaseId })),
  };
}

/** Whether a refused request certainly changed nothing. */
export function isNotApplied(problem: { readonly outcome?: string }): boolean {
  return problem.outcome !== "unknown";
}
