// What the tests of delivery over HTTP share: what they post, and the list of dead letters.
import { call, type MessageJson, pathOf, read } from "./service.ts";

interface DeadJson extends MessageJson {
  readonly attempts: number;
  readonly reason: string;
  readonly diedAtMs: number;
}

interface DeadPageJson {
  readonly deadLetters: readonly DeadJson[];
  readonly next: number | null;
}

/** Puts texts that all have the same key. */
export function putKeyed(channel: string, key: string, texts: readonly string[]): Promise<unknown> {
  const messages = texts.map((text) => ({ text, key }));
  return read(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }), 201);
}

export function tryPost(channel: string, rest: string, json?: unknown): Promise<Response> {
  return call("POST", pathOf(channel, rest), json === undefined ? {} : { json });
}

export function post<Body>(channel: string, rest: string, json?: unknown): Promise<Body> {
  return read<Body>(tryPost(channel, rest, json));
}

export function listDead(channel: string, query = ""): Promise<DeadPageJson> {
  return read<DeadPageJson>(call("GET", pathOf(channel, `/dead-letters${query}`)));
}
