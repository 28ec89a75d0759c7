// Drives a consumer by hand: what its server says, what it sent, and handlers that the test ends.
import { formatProblem } from "../../src/protocol/problem-format.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import {
  FIRST_ATTEMPT,
  firstSocket,
  greet,
  HeldCalls,
  lastSocket,
  openTimedChannel,
  SETTLED,
  settleDown,
  STATE,
  TEXT_FACTS,
} from "./client-doubles.ts";

export const LEASE_MS = 30_000;
export const RENEWAL_MS = LEASE_MS / 3;
export const FACTS = { ...TEXT_FACTS, ...FIRST_ATTEMPT };

export interface Sent {
  readonly type: string;
  readonly id: number;
  readonly [list: string]: unknown;
}

export function open() {
  return openTimedChannel({ retries: 1 });
}

/** Answers the subscription; what was sent before is forgotten. */
export async function begin(): Promise<void> {
  await greet(await firstSocket());
  lastSocket().receive({ type: "subscribed", id: 1 });
  await settleDown();
  lastSocket().sent.length = 0;
}

export async function deliver(texts: readonly string[], keys: readonly string[] = []): Promise<void> {
  const messages = texts.map((text, index) => {
    const key = keys[index];
    return { offset: Number(text), ...FACTS, leaseId: `l${text}`, text, ...(key !== undefined && { key }) };
  });
  lastSocket().receive({ type: "deliver", id: 1, messages, bytes: 10 * texts.length, leaseUntilMs: 9, state: STATE });
  await settleDown();
}

export function sent(): Sent[] {
  return lastSocket().sent as readonly object[] as Sent[];
}

/** Settle frames by verb and lease. */
export function settles(): string[][] {
  const verbs = ["acks", "retries", "extends", "rejects", "releases"];
  return sent()
    .filter(({ type }) => type === "settle")
    .map((frame) =>
      verbs.flatMap((verb) => ((frame[verb] ?? []) as { leaseId: string }[]).map(({ leaseId }) => `${verb} ${leaseId}`)),
    );
}

export async function answer(refused: Readonly<Record<string, Refusal>> = {}): Promise<void> {
  const { id } = sent().findLast(({ type }) => type === "settle") ?? {};
  const problems = Object.entries(refused).map(([pointer, refusal]) => ({ pointer, problem: formatProblem(refusal) }));
  lastSocket().receive({ type: "settled", id, ...SETTLED, refused: problems });
  await settleDown();
}

/** Handlers that the test ends, by the body of their message. */
export class Handlers extends HeldCalls {
  readonly handle = ({ body }: { readonly body: unknown }, { signal }: { readonly signal: AbortSignal }): Promise<void> =>
    this.hold(String(body), signal);
}
