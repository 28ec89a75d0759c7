// What an accepted HTTP request did to its channel, by its reply: applied to the model, or a word about what is wrong with it.
import { isDeepStrictEqual } from "node:util";
import type { DeadJson, ExpectedMessage, Moved, PutReply, SettledJson, ShownMessage, Taking, Which } from "./delivery-forms.ts";
import { conditionsOf } from "./dedup-model.ts";
import type { ChannelModel } from "./model.ts";
import { findDifference } from "./model.ts";
import { arrivingBody, type RequestSpec } from "./request.ts";
import { parseObject } from "./verdict.ts";
import type { WireReply } from "./wire.ts";

const BROWSE_LIMIT_DEFAULT = 100;

export interface Effects {
  /** What a get or pull took is added here: other readers may have been served at the same moment. */
  readonly takings: Taking[];
  /** The messages of a put. */
  readonly expected: () => readonly ExpectedMessage[];
}

/** The mistake in the reply, or undefined. */
export function applyReply(model: ChannelModel, spec: RequestSpec, reply: WireReply, effects: Effects): string | undefined {
  const { operationId } = spec;
  if (operationId === "readMessage") return checkRead(model, spec, reply);
  if (operationId === "openSocket") return reply.status === 101 ? undefined : `answered ${reply.status}`;
  if (operationId === "getDocs" || operationId === "readEvents") return undefined;
  if (operationId.includes("Checkpoint")) return model.checkpoints.applyReply(spec, reply);
  const document = parseObject(String(reply.body));
  if (document === undefined) return `answered what is no JSON object: ${String(reply.body).slice(0, 100)}`;
  switch (operationId) {
    case "createChannel":
      return applyCreate(model, reply);
    case "deleteChannel":
      return applyDelete(model, reply, document);
    case "putMessage":
    case "putBatch":
      return model.append(effects.expected(), document as unknown as PutReply, conditionsOf(spec));
    case "pullMessages":
      effects.takings.push({ ...(document as unknown as Taking), isBound: false });
      return undefined;
    case "settleMessages":
      return model.settle(bodyOf(spec), document as unknown as SettledJson);
    case "listDeadLetters":
      return checkDeadLetters(model, spec, document as unknown as DeadPage);
    case "redriveDeadLetters":
      return model.redrive(bodyOf(spec), document as unknown as Moved);
    case "dropDeadLetters":
      return model.dropDead(bodyOf(spec), document as unknown as Moved);
    case "listQuarantine":
      return checkQuarantine(model, spec, document["messages"] as (ShownMessage & { attempts: number })[]);
    case "releaseQuarantine":
    case "dropQuarantine": {
      const which: Which = bodyOf(spec);
      const moved = model.delivery.endQuarantine(which, operationId === "dropQuarantine" ? "drop" : "release");
      if (moved === 0 && which.offset !== undefined) return `moved ${which.offset}, which is not quarantined`;
      return moved === document["moved"] ? undefined : `moved ${String(document["moved"])} instead of ${moved}`;
    }
    case "browseMessages":
      return checkPage(model, spec, document);
    case "purgeMessages":
      return model.purge() === document["removedMessages"] ? undefined : `answered ${JSON.stringify(document)}`;
    case "getMessageHistory":
      return checkHistory(model, spec, document);
    case "removeMessage":
      return applyRemove(model, lastSegment(spec), document);
    case "listScheduled":
      return checkScheduled(model, spec, document);
    case "cancelScheduled":
      return model.scheduled.delete(String(document["scheduledId"])) ? undefined : "cancelled what is not scheduled";
    case "removeMessageById":
      return applyRemove(model, firstWithId(model, decodeURIComponent(lastSegment(spec))), document);
    default:
      return undefined;
  }
}

/** Only what is there or died has a history. */
function checkHistory(model: ChannelModel, { path }: RequestSpec, document: Record<string, unknown>): string | undefined {
  const offset = Number(path.split("/").at(-2));
  const isKnown = model.messages.has(offset) || model.delivery.deadLetters.has(offset);
  return isKnown && document["offset"] === offset ? undefined : `answered the history ${JSON.stringify(document)} of ${offset}`;
}

interface DeadPage {
  readonly deadLetters: readonly DeadJson[];
  readonly next: number | null;
}

/** The body as the server read it; one that is not there is empty. */
function bodyOf(spec: RequestSpec): object {
  return parseObject(String(arrivingBody(spec))) ?? {};
}

function checkDeadLetters(model: ChannelModel, spec: RequestSpec, page: DeadPage): string | undefined {
  const query = new Map(spec.query.map(([name, value]) => [name, decodeURIComponent(value)]));
  const [from, limit, key, reason] = ["from", "limit", "key", "reason"].map((name) => query.get(name));
  const which = {
    ...(from !== undefined && { from: Number(from) }),
    ...(limit !== undefined && { limit: Number(limit) }),
    ...(key !== undefined && { key }),
    ...(reason !== undefined && { reason }),
  };
  return model.delivery.checkDeadPage(which, page) ?? firstDefined(page.deadLetters.map((letter) => model.compareDead(letter)));
}

function checkQuarantine(
  model: ChannelModel,
  spec: RequestSpec,
  messages: readonly (ShownMessage & { readonly attempts: number })[],
): string | undefined {
  const limit = new Map(spec.query).get("limit");
  const mistake = model.delivery.checkQuarantine(limit === undefined ? undefined : Number(limit), messages);
  return mistake ?? firstDefined(messages.map((message) => model.compare(message)));
}

function firstDefined(mistakes: readonly (string | undefined)[]): string | undefined {
  return mistakes.find((mistake) => mistake !== undefined);
}

function applyCreate(model: ChannelModel, { status }: WireReply): string | undefined {
  const isThere = model.state !== "absent" && model.state !== "deleted";
  // A channel that drains may be deleted at any time.
  if (status === 201 && isThere && model.description?.drainUntilMs === null) return "created what existed";
  if (status === 200 && !isThere) return "confirmed what did not exist";
  if (status === 201) model.begin();
  return undefined;
}

function applyDelete(
  model: ChannelModel,
  { status }: WireReply,
  document: Readonly<Record<string, unknown>>,
): string | undefined {
  if (status === 202) return undefined;
  if (document["droppedMessages"] !== model.held) return `dropped ${String(document["droppedMessages"])} of ${model.held}`;
  model.end();
  return undefined;
}

function applyRemove(
  model: ChannelModel,
  offset: string | undefined,
  document: Readonly<Record<string, unknown>>,
): string | undefined {
  if (String(document["offset"]) !== offset) return `removed ${String(document["offset"])} instead of ${offset ?? "nothing"}`;
  return model.remove(Number(offset));
}

function lastSegment({ path }: RequestSpec): string {
  return path.split("/").at(-1) ?? "";
}

function firstWithId(model: ChannelModel, messageId: string): string | undefined {
  for (const [offset, message] of model.messages) if (message.messageId === messageId) return String(offset);
  return undefined;
}

function checkPage(model: ChannelModel, spec: RequestSpec, document: Readonly<Record<string, unknown>>): string | undefined {
  const query = new Map(spec.query);
  const from = Number(query.get("from") ?? 1);
  const limit = Number(query.get("limit") ?? BROWSE_LIMIT_DEFAULT);
  const messages = document["messages"] as ShownMessage[];
  const offsets = [...model.messages.keys()].filter((offset) => offset >= from).slice(0, limit);
  const shown = messages.map((message) => message.offset);
  if (!isDeepStrictEqual(shown, offsets)) return `shows ${shown.join()} instead of ${offsets.join()}`;
  for (const message of messages) {
    const mistake = model.compare(message);
    if (mistake !== undefined) return mistake;
  }
  return undefined;
}

/** By the time in them, then by the rest. */
function compareScheduledIds(a: string, b: string): number {
  const [timeOfA = 0, restOfA = 0] = a.split("-").map(Number);
  const [timeOfB = 0, restOfB = 0] = b.split("-").map(Number);
  return timeOfA - timeOfB || restOfA - restOfB;
}

function checkScheduled(model: ChannelModel, spec: RequestSpec, document: Readonly<Record<string, unknown>>): string | undefined {
  const query = new Map(spec.query);
  const after = query.get("after");
  const rest = [...model.scheduled.keys()]
    .filter((id) => after === undefined || compareScheduledIds(id, after) > 0)
    .sort(compareScheduledIds);
  const expected = rest.slice(0, Number(query.get("limit") ?? BROWSE_LIMIT_DEFAULT));
  const messages = document["scheduled"] as (ShownMessage & { scheduledId: string })[];
  const shown = messages.map(({ scheduledId }) => scheduledId);
  if (!isDeepStrictEqual(shown, expected)) return `lists ${shown.join()} instead of ${expected.join()}`;
  for (const message of messages) {
    const known = model.scheduled.get(message.scheduledId);
    const difference = known === undefined ? "nothing is scheduled" : findDifference(known, message);
    if (difference !== undefined) return `as ${message.scheduledId}: ${difference}`;
  }
  return undefined;
}

/** The reply's body is the message: compared as bytes, and its headers with what was given. */
export function checkRead(model: ChannelModel, spec: RequestSpec, { headers, body }: WireReply): string | undefined {
  const offset = Number(lastSegment(spec));
  const expected = model.messages.get(offset);
  if (expected === undefined) return `read ${offset}, which is not there`;
  if (headers.has("x-evil")) return "a header was injected";
  const decoded = (name: string): string | undefined => {
    const value = headers.get(name);
    return value === undefined ? undefined : decodeURIComponent(value);
  };
  const prefix = "channel-header-";
  const names = [...headers.keys()].filter((name) => name.startsWith(prefix));
  const [key, messageId] = [decoded("channel-key"), decoded("channel-message-id")];
  const shown: ShownMessage = {
    offset: Number(headers.get("channel-offset")),
    contentType: headers.get("content-type") ?? "",
    ...(key !== undefined && { key }),
    ...(messageId !== undefined && { messageId }),
    ...(headers.has("channel-ttl-ms") && { ttlMs: Number(headers.get("channel-ttl-ms")) }),
    ...(headers.has("channel-redriven-from") && { redrivenFrom: Number(headers.get("channel-redriven-from")) }),
    headers: Object.fromEntries(names.map((name) => [name.slice(prefix.length), decoded(name) ?? ""])),
    ...(expected.value === undefined ? { base64: body.toString("base64") } : { json: JSON.parse(String(body)) as unknown }),
  };
  const difference = findDifference(expected, shown);
  return difference === undefined && shown.offset === offset
    ? undefined
    : `read at ${offset}: ${difference ?? `offset ${shown.offset}`}`;
}
