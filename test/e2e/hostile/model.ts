// What the accepted operations make of a channel: offsets, contents and totals, kept apart from the code under test.
import { isDeepStrictEqual } from "node:util";
import type { ChannelDescription } from "../../../src/protocol/description.ts";
import { CheckpointModel } from "./checkpoints.ts";
import type { RequestSpec } from "./request.ts";
import { arrivingBody } from "./request.ts";

/** A message as its producer gave it: `value` where it came as a JSON member, else `body`. */
export interface ExpectedMessage {
  readonly value?: { readonly json: unknown };
  readonly body?: Buffer;
  readonly contentType: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Whether it enters later: then long after the test. */
  readonly isDelayed: boolean;
}

/** What a put answers. */
export interface PutReply {
  readonly offset: number | null;
  readonly count: number;
  readonly duplicate?: boolean;
  readonly scheduledId?: string;
  readonly scheduled?: readonly { readonly index: number; readonly scheduledId: string; readonly deliverAtMs: number }[];
}

/** A message as replies show it. */
export interface ShownMessage {
  readonly offset: number;
  readonly contentType: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly text?: string;
  readonly base64?: string;
}

const DEFAULT_CONTENT_TYPES = {
  json: "application/json",
  text: "text/plain; charset=utf-8",
  base64: "application/octet-stream",
} as const;

/** A message in the JSON form in which it is put. */
export type MessageForm = Partial<Omit<ShownMessage, "offset">> & { readonly delayMs?: number; readonly deliverAtMs?: number };

/** What a message in JSON form says. Assumes that the server accepted it. */
export function expectJsonForm(form: MessageForm): ExpectedMessage {
  const kind = "json" in form ? "json" : "text" in form ? "text" : "base64";
  const content =
    kind === "json"
      ? { value: { json: roundTrip(form.json) } }
      : { body: kind === "text" ? Buffer.from(form.text ?? "") : Buffer.from(form.base64 ?? "", "base64") };
  return {
    ...content,
    ...metadataOf(form),
    contentType: form.contentType ?? DEFAULT_CONTENT_TYPES[kind],
    headers: form.headers ?? {},
    isDelayed: isDelayed(form.delayMs, form.deliverAtMs),
  };
}

/** What a request whose body is the message says. */
export function expectRequest(spec: RequestSpec): ExpectedMessage {
  const headers = new Map<string, string>();
  for (const [name, value] of spec.headers) {
    const earlier = headers.get(name.toLowerCase());
    headers.set(name.toLowerCase(), earlier === undefined ? value.trim() : `${earlier}, ${value.trim()}`);
  }
  const decoded = (name: string): string | undefined => {
    const value = headers.get(name);
    return value === undefined ? undefined : decodeURIComponent(value);
  };
  const prefix = "channel-header-";
  const names = [...headers.keys()].filter((name) => name.startsWith(prefix));
  return {
    body: arrivingBody(spec),
    // An empty header does not arrive.
    contentType: headers.get("content-type") || "application/octet-stream",
    ...metadataOf({ key: decoded("channel-key"), messageId: decoded("channel-message-id") }),
    // From entries, and not by assignment: a header may be called __proto__.
    headers: Object.fromEntries(names.map((name) => [name.slice(prefix.length), decoded(name) ?? ""])),
    isDelayed: isDelayed(Number(headers.get("channel-delay-ms") ?? 0), Number(headers.get("channel-deliver-at-ms") ?? 0)),
  };
}

function isDelayed(delayMs = 0, deliverAtMs = 0): boolean {
  return delayMs > 0 || deliverAtMs > Date.now();
}

function metadataOf({ key, messageId }: { key?: string | undefined; messageId?: string | undefined }): {
  key?: string;
  messageId?: string;
} {
  return { ...(key !== undefined && { key }), ...(messageId !== undefined && { messageId }) };
}

/** What JSON can carry of a value that was parsed from JSON: 1e999 becomes null. */
function roundTrip(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}

/** What differs, or undefined when the message is as it was given. */
export function findDifference(expected: ExpectedMessage, shown: ShownMessage): string | undefined {
  for (const member of ["contentType", "key", "messageId"] as const) {
    if (expected[member] !== shown[member]) return `${member} ${quote(shown[member])} instead of ${quote(expected[member])}`;
  }
  // As lists: an object that was made from JSON may have members that an assignment can not make.
  const [given, got] = [expected.headers, shown.headers ?? {}].map((headers) => Object.entries(headers).sort(compareNames));
  if (!isDeepStrictEqual(given, got)) return `headers ${quote(got)} instead of ${quote(given)}`;
  const body = bodyOf(shown);
  if (expected.value !== undefined) {
    return isSameJson(shown.json, expected.value.json) ? undefined : `json ${quote(shown.json)}`;
  }
  if (expected.body === undefined) return "no expectation";
  if (body !== undefined)
    return body.equals(expected.body) ? undefined : `body ${quote(body)} instead of ${quote(expected.body)}`;
  const isSame = isSameJson(shown.json, JSON.parse(String(expected.body)));
  return isSame ? undefined : `json ${quote(shown.json)} instead of ${quote(String(expected.body))}`;
}

/** Compares as text: members keep their order on the way, and values nested thousands deep would exhaust the stack. */
function isSameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function compareNames([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

function quote(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 200);
}

/** The bytes of a body that is not shown as JSON. */
function bodyOf(shown: ShownMessage): Buffer | undefined {
  if (shown.text !== undefined) return Buffer.from(shown.text);
  return shown.base64 === undefined ? undefined : Buffer.from(shown.base64, "base64");
}

/** The size of a message (PT6), from what is shown of it. `jsonBytes` is the length of a body that is JSON. */
export function sizeOf(shown: ShownMessage, jsonBytes: number): number {
  const kind = shown.text !== undefined ? "text" : shown.base64 !== undefined ? "base64" : "json";
  const texts = [shown.key ?? "", shown.messageId ?? "", ...Object.entries(shown.headers ?? {}).flat()];
  if (shown.contentType !== DEFAULT_CONTENT_TYPES[kind]) texts.push(shown.contentType);
  return texts.reduce((bytes, text) => bytes + Buffer.byteLength(text), bodyOf(shown)?.byteLength ?? jsonBytes);
}

export class ChannelModel {
  /** The counts of all accepted puts of this life, by their offsets: what a duplicate may answer. */
  readonly #outcomes = new Set<string>();
  readonly messages = new Map<number, ExpectedMessage>();
  readonly checkpoints = new CheckpointModel();
  /** Delayed messages by their `scheduledId`. */
  readonly scheduled = new Map<string, ExpectedMessage>();
  life: string | undefined;
  state: "absent" | "open" | "draining" | "closed" | "deleted" = "absent";
  description: ChannelDescription | undefined;
  nextOffset = 1;
  put = 0;
  acked = 0;
  removed = 0;

  get firstOffset(): number | undefined {
    return this.messages.keys().next().value;
  }

  /** Messages that a deletion drops. */
  get held(): number {
    return this.messages.size + this.scheduled.size;
  }

  /** A new life: everything of the one before is gone. */
  begin(): void {
    this.messages.clear();
    this.checkpoints.clear();
    this.scheduled.clear();
    this.#outcomes.clear();
    this.life = undefined;
    this.description = undefined;
    this.state = "open";
    this.nextOffset = 1;
    this.put = this.acked = this.removed = 0;
  }

  /** The life is over. */
  end(): void {
    this.messages.clear();
    this.checkpoints.clear();
    this.scheduled.clear();
    this.state = "deleted";
    this.description = undefined;
  }

  /** Judges a refusal because there is no channel. */
  checkGone(kind: string, problem: Readonly<Record<string, unknown>>): string | undefined {
    if (kind === "unknown-channel" && this.state === "absent") return undefined;
    if (kind !== "channel-deleted") return `is ${kind} instead of ${this.state}`;
    if (this.state === "deleted") return undefined;
    // The grace of a deletion may be over at any time.
    const isEnding = this.state === "draining" && this.description?.drainUntilMs !== null;
    if (!isEnding) return `is deleted instead of ${this.state}`;
    if (problem["droppedMessages"] !== this.held) return `dropped ${String(problem["droppedMessages"])} of ${this.held}`;
    this.end();
    return undefined;
  }

  /** Applies an accepted put; says what is wrong with its offset. */
  append(put: readonly ExpectedMessage[], reply: PutReply): string | undefined {
    const outcome = `${reply.count} at ${reply.offset}`;
    if (reply.duplicate === true) {
      const isKnown = reply.scheduled === undefined && this.#outcomes.has(outcome);
      return isKnown ? undefined : `duplicate answered ${outcome}, which no put was`;
    }
    const messages = put.filter((message) => !message.isDelayed);
    const mistake = this.#schedule(put, reply);
    if (mistake !== undefined) return mistake;
    if (reply.count !== messages.length) return `put of ${messages.length} messages answered count ${reply.count}`;
    this.#outcomes.add(outcome);
    if (reply.offset === null) return put.length > 0 && messages.length === 0 ? undefined : "put answered no offset";
    // A channel that grew for this put has a control record before it, and may have one that followed the put before.
    if (reply.offset < this.nextOffset || reply.offset > this.nextOffset + 2) {
      return `put answered offset ${reply.offset} where ${this.nextOffset} is next`;
    }
    if (messages.length === 0) return undefined;
    for (const [index, message] of messages.entries()) this.messages.set(reply.offset + index, message);
    this.nextOffset = reply.offset + messages.length;
    this.put += messages.length;
    return undefined;
  }

  #schedule(put: readonly ExpectedMessage[], { count, scheduled = [], scheduledId }: PutReply): string | undefined {
    const delayed = [...put.entries()].flatMap(([index, message]) => (message.isDelayed ? [index] : []));
    const places = scheduled.map(({ index }) => index);
    if (places.join() !== delayed.join()) return `put scheduled ${places.join()} instead of ${delayed.join()}`;
    const single = count + scheduled.length === 1 ? scheduled[0]?.scheduledId : undefined;
    if (scheduledId !== single) return `put answered scheduledId ${scheduledId ?? "none"} instead of ${single ?? "none"}`;
    for (const receipt of scheduled) {
      const message = put[receipt.index];
      if (message === undefined || this.scheduled.has(receipt.scheduledId)) return `put answered ${receipt.scheduledId} again`;
      this.scheduled.set(receipt.scheduledId, message);
    }
    return undefined;
  }

  /** Applies what gets took, in the order of offsets; says where that is not what is first here. */
  take(taken: readonly ShownMessage[]): string | undefined {
    for (const shown of [...taken].sort((a, b) => a.offset - b.offset)) {
      const { firstOffset } = this;
      if (firstOffset !== shown.offset) return `took ${shown.offset} where ${firstOffset ?? "nothing"} is first`;
      const difference = this.compare(shown);
      if (difference !== undefined) return difference;
      this.messages.delete(shown.offset);
      this.acked += 1;
    }
    return undefined;
  }

  remove(offset: number): string | undefined {
    if (!this.messages.delete(offset)) return `removed ${offset}, which is not there`;
    this.removed += 1;
    return undefined;
  }

  purge(): number {
    const count = this.messages.size;
    this.messages.clear();
    this.removed += count;
    return count;
  }

  compare(shown: ShownMessage): string | undefined {
    const expected = this.messages.get(shown.offset);
    if (expected === undefined) return `shows ${shown.offset}, which is not there`;
    const difference = findDifference(expected, shown);
    return difference === undefined ? undefined : `at ${shown.offset}: ${difference}`;
  }

  /** Compares and adopts a description: totals are the model's, the rest is the channel's own business. */
  checkDescription(description: ChannelDescription): string | undefined {
    const { counts, depth, life, state, nextOffset, firstOffset, scheduled } = description;
    if (scheduled.messages !== this.scheduled.size)
      return `describes ${scheduled.messages} scheduled instead of ${this.scheduled.size}`;
    const totals = { depth, ...counts, nextOffset: Math.max(nextOffset, this.nextOffset) };
    const expected = { depth: this.messages.size, put: this.put, acked: this.acked, removed: this.removed, nextOffset };
    if (!isDeepStrictEqual(totals, expected)) return `describes ${JSON.stringify(totals)} instead of ${JSON.stringify(expected)}`;
    if (counts.put !== depth + counts.acked + counts.removed) return "put is not depth + acked + removed";
    if (firstOffset > (this.firstOffset ?? nextOffset))
      return `describes firstOffset ${firstOffset}, before it there is a message`;
    if (this.life !== undefined && this.life !== life) return "describes another life";
    this.life = life;
    this.state = state === "deleted" ? "deleted" : state;
    this.nextOffset = nextOffset;
    this.description = description;
    return undefined;
  }
}
