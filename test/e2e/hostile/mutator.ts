// What a mutation of a request is, and how one changes its headers.
import type { Route } from "../../../src/protocol/route.ts";
import type { RequestSpec } from "./request.ts";
import type { SeededRandom } from "./seeded-random.ts";

export interface RequestMutation {
  readonly name: string;
  readonly spec: RequestSpec;
  /** A reply of 2xx would be a mistake. */
  readonly mustRefuse: boolean;
  /** HTTP itself is broken: the runtime may answer in its own words, or end the connection. */
  readonly isTransport?: boolean;
  /** The kind that the refusal has to have, where only one is right and the channel is there. */
  readonly kind?: string;
}

export type Change = Omit<RequestMutation, "name">;

export type Mutator = (spec: RequestSpec, route: Route, random: SeededRandom) => Change | undefined;

export type Header = readonly [name: string, value: string];

export function withHeaders(spec: RequestSpec, ...headers: readonly Header[]): RequestSpec {
  return { ...spec, headers: [...spec.headers, ...headers] };
}

export function withoutHeader(spec: RequestSpec, name: string): RequestSpec {
  return { ...spec, headers: spec.headers.filter(([given]) => given.toLowerCase() !== name) };
}
