// A valid request for each route. A route that has none here fails the test.
import { randomBytes } from "node:crypto";
import {
  buildDeleteCheckpoint,
  buildListCheckpoints,
  buildReadCheckpoint,
  buildWriteCheckpoint,
  type CheckpointContext,
} from "./checkpoints.ts";
import {
  randomBatch,
  randomConditions,
  randomDelay,
  randomTtlMs,
  randomHeaders,
  randomKey,
  randomMessageId,
  randomSettings,
  randomTake,
  randomText,
} from "./content.ts";
import type { Conditions } from "./dedup-model.ts";
import { randomLeasedPull, randomQuarantined, randomSettle, randomWhich } from "./lease-requests.ts";
import type { ChannelModel } from "./model.ts";
import type { RequestSpec } from "./request.ts";
import type { SeededRandom } from "./seeded-random.ts";

export interface RequestContext {
  readonly random: SeededRandom;
  readonly channel: string;
  readonly model: ChannelModel;
}

type Builder = (context: RequestContext) => Omit<RequestSpec, "operationId">;

const JSON_TYPE: readonly [string, string] = ["Content-Type", "application/json"];

/** Percent-encodes what a header can not carry as it is. */
export function encodeHeaderText(text: string): string {
  return encodeURIComponent(text);
}

function plain(method: string, path: string, query: readonly [string, string][] = []): Omit<RequestSpec, "operationId"> {
  return { method, path, query, headers: [], framing: "none" };
}

function withJson(method: string, path: string, document: object, random: SeededRandom): Omit<RequestSpec, "operationId"> {
  const contentType = random.pick<readonly [string, string]>([
    JSON_TYPE,
    JSON_TYPE,
    ["content-type", "APPLICATION/JSON; charset=UTF-8"],
  ]);
  const body = Buffer.from(JSON.stringify(document));
  return { method, path, query: [], headers: [contentType], body, framing: random.chance(0.2) ? "chunked" : "length" };
}

function root({ channel }: RequestContext): string {
  return `/v1/channels/${channel}`;
}

function maybeQuery(random: SeededRandom, name: string, value: () => number | string): [string, string][] {
  return random.chance(0.5) ? [[name, String(value())]] : [];
}

function onCheckpoints(build: (context: CheckpointContext) => Omit<RequestSpec, "operationId">): Builder {
  return ({ random, channel, model }) => build({ random, channel, checkpoints: model.checkpoints });
}

/** The offset of a message that is there, or one that may never have been. */
function someOffset({ model, random }: RequestContext): number {
  const offsets = [...model.messages.keys()];
  return offsets.length > 0 && random.chance(0.9) ? random.pick(offsets) : random.int(1, 2 ** 48);
}

function someMessageId({ model, random }: RequestContext): string {
  const ids = [...model.messages.values()].flatMap(({ messageId }) => (messageId === undefined ? [] : [messageId]));
  return ids.length > 0 && random.chance(0.9) ? random.pick(ids) : randomMessageId(random);
}

function delayHeader(random: SeededRandom): readonly [string, string] {
  const delay = randomDelay(random);
  return "delayMs" in delay ? ["Channel-Delay-Ms", String(delay.delayMs)] : ["channel-deliver-at-ms", String(delay.deliverAtMs)];
}

/** The id of a message that is scheduled, or one that may never have been. */
function someScheduledId({ model, random }: RequestContext): string {
  const ids = [...model.scheduled.keys()];
  return ids.length > 0 && random.chance(0.9) ? random.pick(ids) : `${random.int(1, 2 ** 41)}-${random.int(1, 2 ** 41)}`;
}

function buildPut(context: RequestContext): Omit<RequestSpec, "operationId"> {
  const { random } = context;
  const userHeaders = Object.entries(randomHeaders(random)).map(
    ([name, value]) => [`Channel-Header-${name}`, encodeHeaderText(value)] as const,
  );
  const [contentType, body] = random.pick<() => [string | undefined, Buffer]>([
    () => ["text/plain", Buffer.from(randomText(random, 200))],
    () => ["application/json", Buffer.from(random.pick(['{"a":[1,2,{"b":null}]}', "1e400", '"\\ud800"', "[1,", "{}", " 7 "]))],
    () => ["application/octet-stream", randomBytes(random.int(0, 300))],
    () => ["text/html; charset=utf-8", randomBytes(random.int(0, 30))],
    () => [undefined, Buffer.from(randomText(random))],
  ])();
  const headers: (readonly [string, string])[] = [
    ...(contentType === undefined ? [] : [["Content-Type", contentType] as const]),
    ...(random.chance(0.3) ? [["Channel-Key", encodeHeaderText(randomKey(random))] as const] : []),
    ...(random.chance(0.5) ? [["channel-message-id", encodeHeaderText(randomMessageId(random))] as const] : []),
    ...(random.chance(0.2) ? [delayHeader(random)] : []),
    ...(random.chance(0.2) ? [["channel-ttl-ms", String(randomTtlMs(random))] as const] : []),
    ...userHeaders,
  ];
  const query = maybeQuery(random, "waitMs", () => random.int(0, 20));
  const framing = random.chance(0.2) ? "chunked" : "length";
  return { method: "POST", path: `${root(context)}/messages`, query, headers, body, framing };
}

function moveDeadLetters(context: RequestContext, verb: string): Omit<RequestSpec, "operationId"> {
  const { random, model } = context;
  const path = `${root(context)}/dead-letters/${verb}`;
  return random.chance(0.1) ? plain("POST", path) : withJson("POST", path, randomWhich(random, model.delivery), random);
}

function endQuarantine(context: RequestContext, verb: string): Omit<RequestSpec, "operationId"> {
  const { random, model } = context;
  const which = randomQuarantined(random, model.delivery, (offset) => model.messages.get(offset)?.key);
  return withJson("POST", `${root(context)}/quarantine/${verb}`, which, random);
}

/** The lanes' channels are queues, whose only group can be looked at and nothing else. */
function groupPath(context: RequestContext): string {
  return `${root(context)}/groups/${context.random.pick(["default", "billing"])}`;
}

/** The conditions of a put as headers and parameters. */
function withConditions(
  spec: Omit<RequestSpec, "operationId">,
  { producer, idempotencyKey, expectedOffset }: Conditions,
  random: SeededRandom,
): Omit<RequestSpec, "operationId"> {
  const numbers =
    producer === undefined ? {} : { "Producer-Id": producer.id, "Producer-Epoch": producer.epoch, "producer-seq": producer.seq };
  const texts = [idempotencyKey ?? "", `"${idempotencyKey}"`, '"a \\" b"', "%zz"].filter((text) => /^"?[%ak]/.test(text));
  const key = idempotencyKey === undefined ? {} : { "Idempotency-Key": random.pick(texts) };
  const headers = Object.entries({ ...numbers, ...key }).map(([name, value]) => [name, String(value)] as const);
  const query = expectedOffset === undefined ? [] : [["expectedOffset", String(expectedOffset)] as const];
  return { ...spec, headers: [...spec.headers, ...headers], query: [...spec.query, ...query] };
}

/** One that nobody gave: a restore of a lane would end its model. */
function someSnapshotId(random: SeededRandom): string {
  return random.pick(["0123456789abcdef", "ffffffffffffffff"]);
}

const UPGRADE_HEADERS: readonly (readonly [string, string])[] = [
  ["Connection", "Upgrade"],
  ["Upgrade", "websocket"],
  ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
  ["Sec-WebSocket-Version", "13"],
  ["Sec-WebSocket-Protocol", "channel.v1.json"],
];

const BUILDERS: Readonly<Record<string, Builder>> = {
  getHealth: () => plain("GET", "/healthz"),
  getOpenApi: () => plain("GET", "/openapi.json"),
  getDocs: () => plain("GET", "/docs"),
  listChannels: ({ random }) =>
    plain("GET", "/v1/channels", [
      ...maybeQuery(random, "limit", () => random.int(1, 1000)),
      ...maybeQuery(random, "prefix", () => random.pick(["lane", "x", "l"])),
      ...maybeQuery(random, "after", () => random.pick(["lane", "a"])),
    ]),
  createChannel: (context) => {
    const { random, model } = context;
    const isConfirmation = model.description !== undefined && random.chance(0.5);
    const settings = isConfirmation ? (model.description?.settings ?? {}) : randomSettings(random);
    return random.chance(0.1) ? plain("PUT", root(context)) : withJson("PUT", root(context), settings, random);
  },
  describeChannel: (context) => plain("GET", root(context)),
  changeChannel: (context) => {
    const { random } = context;
    const state = random.chance(0.3) ? { state: random.pick(["open", "draining", "closed"]) } : {};
    return withJson("PATCH", root(context), { ...randomSettings(random), ...state }, random);
  },
  deleteChannel: (context) => {
    const { random } = context;
    const query: [string, string][] = random.pick([
      [],
      [["graceMs", "60000"]],
      [["graceMs", "0"]],
      [["force", "true"]],
      [["force", "false"]],
    ]);
    return plain("DELETE", root(context), query);
  },
  putMessage: (context) => withConditions(buildPut(context), randomConditions(context.random, context.model), context.random),
  putBatch: (context) => {
    const { random } = context;
    const query = maybeQuery(random, "waitMs", () => random.int(0, 20));
    const conditions = randomConditions(random, context.model);
    const messages = randomBatch(random, conditions);
    const spec = withJson("POST", `${root(context)}/messages/batch`, { messages }, random);
    return withConditions({ ...spec, query }, conditions, random);
  },
  pullMessages: (context) => {
    const { random } = context;
    const wait = random.chance(0.1) ? { waitMs: random.int(0, 20) } : {};
    const terms = random.chance(0.2) ? { ack: "auto", ...randomTake(random) } : randomLeasedPull(random);
    return withJson("POST", `${root(context)}/messages/pull`, { ...terms, ...wait }, random);
  },
  settleMessages: (context) => {
    const { random, model } = context;
    return withJson("POST", `${root(context)}/messages/settle`, randomSettle(random, model), random);
  },
  listDeadLetters: (context) => {
    const { random, model } = context;
    const { offset, key, reason } = randomWhich(random, model.delivery);
    return plain("GET", `${root(context)}/dead-letters`, [
      ...(offset === undefined ? [] : [["from", String(offset)] satisfies [string, string]]),
      ...maybeQuery(random, "limit", () => random.int(1, 3)),
      ...(key === undefined ? [] : [["key", encodeURIComponent(key)] satisfies [string, string]]),
      ...(reason === undefined ? [] : [["reason", encodeURIComponent(reason)] satisfies [string, string]]),
    ]);
  },
  redriveDeadLetters: (context) => moveDeadLetters(context, "redrive"),
  dropDeadLetters: (context) => moveDeadLetters(context, "drop"),
  stopRedrive: (context) => plain("DELETE", `${root(context)}/dead-letters/redrive`),
  listQuarantine: (context) =>
    plain(
      "GET",
      `${root(context)}/quarantine`,
      maybeQuery(context.random, "limit", () => context.random.int(1, 3)),
    ),
  releaseQuarantine: (context) => endQuarantine(context, "release"),
  dropQuarantine: (context) => endQuarantine(context, "drop"),
  browseMessages: (context) => {
    const { random } = context;
    const from = maybeQuery(random, "from", () => someOffset(context));
    return plain("GET", `${root(context)}/messages`, [...from, ...maybeQuery(random, "limit", () => random.int(1, 1000))]);
  },
  purgeMessages: (context) => plain("DELETE", `${root(context)}/messages`),
  readMessage: (context) => plain("GET", `${root(context)}/messages/${someOffset(context)}`),
  getMessageHistory: (context) => plain("GET", `${root(context)}/messages/${someOffset(context)}/history`),
  removeMessage: (context) => plain("DELETE", `${root(context)}/messages/${someOffset(context)}`),
  removeMessageById: (context) =>
    plain("DELETE", `${root(context)}/messages/by-id/${encodeURIComponent(someMessageId(context))}`),
  listGroups: (context) =>
    plain(
      "GET",
      `${root(context)}/groups`,
      maybeQuery(context.random, "limit", () => context.random.int(1, 1000)),
    ),
  createGroup: (context) => {
    const start = context.random.pick([{ at: "first" }, { at: "last" }, { offset: 1 }, { timeMs: 5 }]);
    return withJson(
      "PUT",
      groupPath(context),
      context.random.pick([{}, { start }, { settings: { maxAttempts: 3 } }]),
      context.random,
    );
  },
  describeGroup: (context) => plain("GET", groupPath(context)),
  changeGroup: (context) =>
    withJson("PATCH", groupPath(context), context.random.pick([{}, { isPaused: true }, { settings: {} }]), context.random),
  deleteGroup: (context) => plain("DELETE", groupPath(context)),
  seekGroup: (context) =>
    withJson(
      "POST",
      `${groupPath(context)}/seek`,
      context.random.pick([{ offset: 3 }, { at: "first" }, { timeMs: 9 }]),
      context.random,
    ),
  listCheckpoints: onCheckpoints(buildListCheckpoints),
  writeCheckpoint: onCheckpoints(buildWriteCheckpoint),
  readCheckpoint: onCheckpoints(buildReadCheckpoint),
  deleteCheckpoint: onCheckpoints(buildDeleteCheckpoint),
  listScheduled: (context) => {
    const { random } = context;
    const after = maybeQuery(random, "after", () => someScheduledId(context));
    return plain("GET", `${root(context)}/scheduled`, [...maybeQuery(random, "limit", () => random.int(1, 1000)), ...after]);
  },
  cancelScheduled: (context) => plain("DELETE", `${root(context)}/scheduled/${someScheduledId(context)}`),
  beginSnapshot: (context) => plain("POST", `${root(context)}/snapshots`),
  readSnapshot: (context) => {
    const { random } = context;
    const page = maybeQuery(random, "page", () => random.int(1, 3));
    return plain("GET", `${root(context)}/snapshots/${someSnapshotId(random)}`, page);
  },
  endSnapshot: (context) => plain("DELETE", `${root(context)}/snapshots/${someSnapshotId(context.random)}`),
  beginRestore: (context) => plain("POST", `${root(context)}/restores`),
  stagePage: (context) => {
    const { random } = context;
    const body = random.pick([Buffer.alloc(0), Buffer.from("ECSN"), randomBytes(random.int(0, 300))]);
    const path = `${root(context)}/restores/${someSnapshotId(random)}/pages/${random.int(1, 9)}`;
    return { method: "PUT", path, query: [], headers: [], body, framing: random.chance(0.2) ? "chunked" : "length" };
  },
  commitRestore: (context) => plain("POST", `${root(context)}/restores/${someSnapshotId(context.random)}/commit`),
  abortRestore: (context) => plain("DELETE", `${root(context)}/restores/${someSnapshotId(context.random)}`),
  readEvents: (context) => {
    const { random } = context;
    const start = maybeQuery(random, "start", () => random.pick(["first", "last", String(someOffset(context))]));
    const filter = maybeQuery(random, "filter", () => encodeURIComponent(JSON.stringify({ keys: [randomKey(random)] })));
    return plain("GET", `${root(context)}/events`, [...start, ...filter]);
  },
  listReaders: (context) => {
    const { random } = context;
    const limit = maybeQuery(random, "limit", () => random.int(1, 100));
    return plain("GET", `${root(context)}/readers`, [...limit, ...maybeQuery(random, "colo", () => "FRA")]);
  },
  listRelays: (context) => {
    const { random } = context;
    const limit = maybeQuery(random, "limit", () => random.int(1, 100));
    return plain("GET", `${root(context)}/relays`, [...limit, ...maybeQuery(random, "after", () => "FRA/0")]);
  },
  // The runtime for development has no jurisdictions: a move would end the connections and leases of its lane.
  moveChannel: (context) =>
    withJson("POST", `${root(context)}/move`, { jurisdiction: context.random.pick(["eu", "fedramp"]) }, context.random),
  openSocket: (context) => ({ ...plain("GET", `${root(context)}/socket`), headers: UPGRADE_HEADERS }),
};

/** Routes that a valid request is known for. */
export const BUILT_OPERATIONS: ReadonlySet<string> = new Set(Object.keys(BUILDERS));

export function buildRequest(operationId: string, context: RequestContext): RequestSpec {
  const build = BUILDERS[operationId];
  if (build === undefined) throw new Error(`Cannot build a request for ${operationId}: add one to http-requests.ts`);
  return { operationId, ...build(context) };
}
