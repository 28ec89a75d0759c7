// What the tests of the HTTP surface ask for, and read in its replies.
import { expect } from "vitest";
import { call, type CallOptions, pathOf, readProblem } from "./service.ts";

export const MIB = 1024 * 1024;

/** A request: method, what follows the channel's address, and more. */
export type Sample = readonly [method: string, rest: string, options?: CallOptions];

export function putBytes(channel: string, body: BodyInit, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  return call("POST", pathOf(channel, "/messages"), {
    body,
    headers: { "Content-Type": "application/octet-stream", ...headers },
  });
}

export function pullReply(channel: string, take: object): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/pull"), { json: { ack: "auto", ...take } });
}

/** The pressure of the channel, as its headers say it. */
export function stateHeadersOf({ headers }: Response): object {
  const numberOf = (name: string): number => Number(headers.get(name) ?? "NaN");
  return {
    depth: numberOf("Channel-Depth"),
    bytes: numberOf("Channel-Bytes"),
    utilization: numberOf("Channel-Utilization"),
    waiters: numberOf("Channel-Waiters"),
  };
}

/** Where a request is at fault that is refused for that. */
export async function pointersOf(reply: Response | Promise<Response>): Promise<string[]> {
  const problem = await readProblem(reply);
  expect(problem.kind).toBe("invalid-request");
  return (problem["errors"] as { pointer: string }[]).map((fault) => fault.pointer);
}
