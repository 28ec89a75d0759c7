// Calls of the client as tests make them and look at what comes of them.
import { assert } from "vitest";
import type { EdgeChannelOptions } from "../src/client/edge-channel.ts";
import { EdgeChannelError } from "../src/client/edge-channel-error.ts";

/** Both ways to the service. */
export const TRANSPORTS = ["http", "socket"] as const satisfies readonly EdgeChannelOptions["transport"][];

export type TransportName = (typeof TRANSPORTS)[number];

/** What a call is rejected with. */
export async function errorOf(promise: Promise<unknown>): Promise<EdgeChannelError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof EdgeChannelError, `Expected an EdgeChannelError but got ${String(error)}`);
  return error;
}

/** All of a list that ends. */
export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}
