// What the accepted operations make of a channel: offsets, contents and totals, kept apart from the code under test.
import { isDeepStrictEqual } from "node:util";
import type { ChannelDescription } from "../../../src/protocol/description.ts";
import { CheckpointModel } from "./checkpoints.ts";
import { DedupModel, type Conditions } from "./dedup-model.ts";
import type {
  CheckpointRider,
  ExpectedMessage,
  MessageForm,
  Moved,
  PutReply,
  RefusedPartJson,
  SettledJson,
  SettleJson,
  ShownMessage,
  Taking,
  Which,
} from "./delivery-forms.ts";
import { DeliveryModel, type Totals } from "./delivery-model.ts";
import type { RequestSpec } from "./request.ts";
import { arrivingBody } from "./request.ts";

const DEFAULT_CONTENT_TYPES = {
  json: "application/json",
  text: "text/plain; charset=utf-8",
  base64: "application/octet-stream",
} as const;

/** Why messages are not put along with a settle call. */
const PUT_REFUSALS = new Set(["channel-full", "channel-draining", "channel-closed", "message-too-large", "batch-too-large"]);
const DEAD_LETTERS_DEFAULT = 100;
const NO_TOTALS: Totals = { put: 0, acked: 0, removed: 0, deadLettered: 0, dropped: 0, expired: 0 };

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
    ...(form.ttlMs !== undefined && { ttlMs: form.ttlMs }),
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
    ...(headers.has("channel-ttl-ms") && { ttlMs: Number(headers.get("channel-ttl-ms")) }),
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
  for (const member of ["contentType", "key", "messageId", "ttlMs", "redrivenFrom"] as const) {
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

/** The length of the body of a message that is shown as JSON. */
export function jsonBytesOf(expected: ExpectedMessage | undefined): number {
  return expected?.body?.byteLength ?? Buffer.byteLength(JSON.stringify(expected?.value?.json ?? null));
}

export class ChannelModel {
  readonly messages = new Map<number, ExpectedMessage>();
  readonly checkpoints = new CheckpointModel();
  readonly dedup = new DedupModel();
  /** Delayed messages by their `scheduledId`. */
  readonly scheduled = new Map<string, ExpectedMessage>();
  life: string | undefined;
  state: "absent" | "open" | "draining" | "closed" | "deleted" = "absent";
  description: ChannelDescription | undefined;
  nextOffset = 1;
  readonly #totals: Totals = { ...NO_TOTALS };
  readonly delivery = new DeliveryModel(this.messages, this.#totals);

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
    this.dedup.clear();
    this.life = undefined;
    this.description = undefined;
    this.state = "open";
    this.nextOffset = 1;
    Object.assign(this.#totals, NO_TOTALS);
    this.delivery.reset();
  }

  /** The life is over. */
  end(): void {
    this.messages.clear();
    this.checkpoints.clear();
    this.delivery.reset();
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
  append(put: readonly ExpectedMessage[], reply: PutReply, conditions: Conditions): string | undefined {
    const misjudged = this.dedup.judge(conditions, put, reply);
    if (misjudged !== undefined || reply.duplicate === true) return misjudged;
    const messages = put.filter((message) => !message.isDelayed);
    const mistake = this.#schedule(put, reply);
    if (mistake !== undefined) return mistake;
    if (reply.count !== messages.length) return `put of ${messages.length} messages answered count ${reply.count}`;
    if (reply.offset === null) return put.length > 0 && messages.length === 0 ? undefined : "put answered no offset";
    // A channel that grew for this put has a control record before it, and may have one that followed the put before.
    if (reply.offset < this.nextOffset || reply.offset > this.nextOffset + 2) {
      return `put answered offset ${reply.offset} where ${this.nextOffset} is next`;
    }
    if (messages.length === 0) return undefined;
    for (const [index, message] of messages.entries()) this.messages.set(reply.offset + index, message);
    this.nextOffset = reply.offset + messages.length;
    this.#totals.put += messages.length;
    return undefined;
  }

  /** Applies an accepted settle call and what rode on it. */
  settle(call: SettleJson, reply: SettledJson): string | undefined {
    const { checkpoint, puts } = call;
    const hasRiders = checkpoint !== undefined || puts !== undefined;
    if (hasRiders && reply.refused.length > 0) return "settled in part, with riders";
    const mistake = this.delivery.settle(call, reply) ?? this.#rideCheckpoint(call, reply);
    if (mistake !== undefined) return mistake;
    if (puts === undefined) return reply.putOffset === undefined ? undefined : "put what was not there";
    return this.append(puts.map(expectJsonForm), { offset: reply.putOffset ?? null, count: puts.length }, {});
  }

  #rideCheckpoint({ checkpoint }: SettleJson, { checkpointVersion }: SettledJson): string | undefined {
    if (checkpoint === undefined) return checkpointVersion === undefined ? undefined : "wrote a checkpoint that was not there";
    const { body, value, contentType } = expectJsonForm(checkpoint);
    const bytes = body ?? Buffer.from(JSON.stringify(value?.json));
    return this.checkpoints.ride(checkpoint, bytes, contentType, checkpointVersion);
  }

  /** The mistake in the answer to a frame of a checkpoint, or undefined. */
  applyCheckpointFrame(sent: Readonly<Record<string, unknown>>, frame: Readonly<Record<string, unknown>>): string | undefined {
    if (frame["type"] !== "checkpoint-written") return this.checkpoints.applyFrame(sent, frame);
    const rider = sent as unknown as CheckpointRider;
    const { body, value, contentType } = expectJsonForm(rider);
    const isCreated = this.checkpoints.versionOf(rider.name) === undefined;
    if (frame["created"] !== isCreated) return `says of ${rider.name} that it was created: ${String(frame["created"])}`;
    const bytes = body ?? Buffer.from(JSON.stringify(value?.json));
    return this.checkpoints.ride(rider, bytes, contentType, Number(frame["version"]));
  }

  /** Judges the refusal of a settle call because of one of its parts. */
  checkSettleRefused(call: SettleJson, parts: readonly RefusedPartJson[]): string | undefined {
    const { checkpoint, puts } = call;
    const [ofCheckpoint, ofPuts] = ["/checkpoint", "/puts"].map((wanted) => parts.find(({ pointer }) => pointer === wanted));
    if (checkpoint === undefined && puts === undefined) return "refused a settle call without riders";
    if (parts.length === 0) return "refused a settle call without a reason";
    if (ofPuts !== undefined && (puts === undefined || !PUT_REFUSALS.has(ofPuts.problem.kind))) {
      return `refused to put along: ${JSON.stringify(ofPuts)}`;
    }
    const leases = parts.filter((part) => part !== ofCheckpoint && part !== ofPuts);
    const mistake = this.delivery.checkSettleRefused(call, leases);
    if (mistake !== undefined || checkpoint === undefined) return mistake;
    return this.checkpoints.checkRide(checkpoint, ofCheckpoint);
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

  /** Applies what readers got in one step; says what they should not have got. */
  take(takings: readonly Taking[]): string | undefined {
    for (const { messages } of takings) {
      for (const shown of messages) {
        const difference = this.compare(shown);
        if (difference !== undefined) return difference;
      }
    }
    return this.delivery.take(takings);
  }

  /** Applies a redrive of `moved` of the dead letters that were meant. */
  redrive(which: Which, reply: Moved): string | undefined {
    const meant = this.#dead(which, reply);
    if (typeof meant === "string") return meant;
    for (const [offset, message] of meant) {
      this.messages.set(this.nextOffset, { ...message, redrivenFrom: offset });
      this.nextOffset += 1;
      this.#totals.put += 1;
      this.delivery.deadLetters.delete(offset);
    }
    return undefined;
  }

  dropDead(which: Which, reply: Moved): string | undefined {
    const meant = this.#dead(which, reply);
    if (typeof meant === "string") return meant;
    const { max = DEAD_LETTERS_DEFAULT } = which;
    if (meant.length !== Math.min(max, this.delivery.findDead(which).length)) return `dropped ${meant.length} only`;
    for (const [offset] of meant) this.delivery.deadLetters.delete(offset);
    return undefined;
  }

  /** The first `moved` of the dead letters that were meant. */
  #dead(which: Which, { moved, isMore, next }: Moved): [number, ExpectedMessage][] | string {
    const { max = DEAD_LETTERS_DEFAULT } = which;
    const found = this.delivery.findDead(which);
    if (moved > Math.min(max, found.length)) return `moved ${moved} of ${found.length}, at most ${max}`;
    const isCut = moved < Math.min(max, found.length);
    const expected = (isCut ? found[moved] : this.delivery.nextDead(found, which, max)) ?? undefined;
    if (next !== expected || isMore !== (next !== undefined)) return `goes on at ${next} instead of ${expected}`;
    return found.slice(0, moved).flatMap((offset) => {
      const dead = this.delivery.deadLetters.get(offset);
      return dead === undefined ? [] : [[offset, dead.message] satisfies [number, ExpectedMessage]];
    });
  }

  remove(offset: number): string | undefined {
    if (!this.messages.delete(offset)) return `removed ${offset}, which is not there`;
    this.delivery.forget(offset);
    this.#totals.removed += 1;
    return undefined;
  }

  purge(): number {
    const count = this.messages.size;
    this.messages.clear();
    this.delivery.forgetAll();
    this.#totals.removed += count;
    return count;
  }

  compare(shown: ShownMessage): string | undefined {
    return this.#compareWith(this.messages.get(shown.offset), shown);
  }

  compareDead(shown: ShownMessage): string | undefined {
    return this.#compareWith(this.delivery.deadLetters.get(shown.offset)?.message, shown);
  }

  #compareWith(expected: ExpectedMessage | undefined, shown: ShownMessage): string | undefined {
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
    const expected = { depth: this.messages.size, ...this.#totals, nextOffset };
    if (!isDeepStrictEqual(totals, expected)) return `describes ${JSON.stringify(totals)} instead of ${JSON.stringify(expected)}`;
    if (counts.put !== depth + counts.acked + counts.removed + counts.deadLettered + counts.dropped + counts.expired) {
      return "put is not depth + acked + removed + deadLettered + dropped + expired";
    }
    const mistake = this.delivery.checkDescription(description);
    if (mistake !== undefined) return mistake;
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
