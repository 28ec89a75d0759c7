// The schemas of the routes as JSON Schema: the named ones of `components`, and references to them from everywhere else.
import { toJsonSchema, toJsonSchemaDefs, type ConversionConfig, type JsonSchema } from "@valibot/to-json-schema";
import type * as v from "valibot";
import { checkpointEntrySchema } from "../../protocol/checkpoint.ts";
import { channelDescriptionSchema, channelEntrySchema, pressureStateSchema } from "../../protocol/description.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { putMessageSchema } from "../../protocol/message.ts";
import { pullBodySchema, settleBodySchema } from "../../protocol/delivery-routes.ts";
import { messageSchema, takenEntries } from "../../protocol/route.ts";
import { batchBodySchema, REPLY_SCHEMAS } from "../../protocol/routes.ts";
import { channelPatchSchema, DEFAULT_SETTINGS, givenSettingsSchema } from "../../protocol/settings.ts";

const DEFINITIONS = {
  GivenSettings: givenSettingsSchema,
  ChannelPatch: channelPatchSchema,
  Settings: channelEntrySchema.entries.settings,
  ChannelEntry: channelEntrySchema,
  ChannelDescription: channelDescriptionSchema,
  PressureState: pressureStateSchema,
  PutMessage: putMessageSchema,
  Message: messageSchema,
  LeasedMessage: REPLY_SCHEMAS.pulled.entries.messages.item,
  DeadLetter: REPLY_SCHEMAS.deadLetters.entries.deadLetters.item,
  ControlRecord: takenEntries.controls.wrapped.item,
  PutBatch: batchBodySchema,
  PutReply: REPLY_SCHEMAS.put,
  PullRequest: pullBodySchema,
  PullReply: REPLY_SCHEMAS.pulled,
  SettleRequest: settleBodySchema,
  SettleReply: REPLY_SCHEMAS.settled,
  Group: REPLY_SCHEMAS.group,
  MessagePage: REPLY_SCHEMAS.page,
  ScheduledMessage: REPLY_SCHEMAS.scheduledPage.entries.scheduled.item,
  ScheduledPage: REPLY_SCHEMAS.scheduledPage,
  ChannelPage: REPLY_SCHEMAS.list,
  CheckpointEntry: checkpointEntrySchema,
  CheckpointPage: REPLY_SCHEMAS.checkpoints,
} as const;

type Definitions = typeof DEFINITIONS;

const KIB = 1024;
const MIB = 1024 * KIB;

const SETTINGS_NOTES = {
  maxMessages: "How many messages the channel holds before it is full.",
  maxBytes: "How many bytes of messages it holds: bodies, keys, ids, headers.",
  maxMessageBytes: "The largest message it takes.",
  growth: "A full channel multiplies its limits by `factor`, up to these; `null` for never.",
  marks:
    "Producers that watch the channel are told to slow down when messages or bytes reach their high mark, until both are at their low mark; `null`: 80 % and 50 % of what the channel can hold.",
  idempotencyWindowMs: "How long the channel remembers an idempotency key.",
  commitDelayMs:
    "How long a commit waits for more operations: fewer rows written at low rates, for so much more latency of every reply.",
  relays:
    "A channel with so many connections for plain reading at a colo (`from`; 1 for always) sends to a relay of it what all of them read; `null` for never.",
  expireAfterIdleMs: "Deletes the channel when it was empty and unchanged for so long; `null` for never.",
  delivery: `How leased messages are handed out: at most \`maxAttempts\` times each (-1 without limit), with the pauses \`retryDelaysMs\` between (\`null\`: growing from 1 s to 5 min, with jitter), at most \`maxInFlight\` at once; then to the dead letters, or kept in quarantine (\`onExhausted\`). Where members of a group are in several colos a message goes to one near its origin, or near the channel (\`locality\`): of those who are equally near as \`strategy\` says. It waits \`localityWaitMs\` for busy ones, unless more than \`localityDepth\` messages wait.`,
  retention:
    "`queue`: one group, a message goes when it is settled; `interest`: it goes when every group has done with it; `log`: messages stay up to `maxMessages`, `maxBytes` and `maxAgeMs`. For the whole life of the channel.",
  maxAgeMs: "A log gives up messages that are older; `null` for never.",
  messageTtlMs: "How long a message is worth handing out that has no `ttlMs`, counted from when it entered; `null` for ever.",
  onExpired:
    "What becomes of a message whose time is over: `drop` counts and removes it, `dead-letter` keeps it as a dead letter.",
  whenNoGroups: "With retention by interest and no group: `refuse` puts, or take and `drop` what is put.",
} as const;

const PRESSURE_NOTES = {
  depth: "Messages that wait to be taken.",
  bytes: "Their bytes.",
  utilization: "The larger of messages and bytes over their limits: 0 empty, 1 full, more after a channel was shrunk.",
  waiters: "Puts and gets that wait.",
} as const;

const MESSAGE_NOTES = {
  key: "What the message belongs to, such as an order or a user; kept with it.",
  messageId: "The producer's own name for the message: it can be removed by it.",
  headers: `Names and values of the producer; ${LIMITS.headersBytesMax / KIB} KiB together.`,
  ttlMs: "How long the message is worth handing out, counted from when it enters; the channel's `messageTtlMs` if absent.",
  json: "The body, any JSON value.",
  text: "The body as text.",
  base64: "The body as bytes, in padded base64 (RFC 4648).",
} as const;

const KEPT_MESSAGE_NOTES = {
  ...MESSAGE_NOTES,
  offset: "Its place in the channel: whole numbers from 1, with gaps where records were removed.",
  redrivenFrom: "The offset that it had as a dead letter before it was put again.",
} as const;

/** What the names of members do not say. */
const MEMBER_NOTES: {
  readonly [Name in keyof Definitions]: { readonly [Member in keyof v.InferInput<Definitions[Name]>]?: string };
} = {
  GivenSettings: SETTINGS_NOTES,
  ChannelPatch: {
    ...SETTINGS_NOTES,
    state: "The state to go to: `draining` takes no more puts, and is `closed` once it is empty.",
  },
  Settings: SETTINGS_NOTES,
  ChannelEntry: {},
  ChannelDescription: {
    ...PRESSURE_NOTES,
    life: "A random id of this existence of the name: another one after the channel was deleted and created anew.",
    drainUntilMs: "When a deletion stops waiting for readers; `null` where none is asked for.",
    limits: "The limits in force: the settings, or what the channel has grown to.",
    segments: "Stored rows that hold the messages.",
    firstOffset: "The offset of the next record that a get looks at.",
    nextOffset: "The offset that the next put receives.",
    connections: "Open WebSockets.",
    relays: "Relays by which others read: the colo of each, and which one of that colo it is.",
    delivery: "What the depth of a queue consists of; null elsewhere, where each group has its own.",
    groups: "How many groups there are.",
    deadLetters: "Dead letters that are kept.",
    redrive: "The redrive with a rate that runs; `null` without one.",
    counts: "Of this life of the name: `put = depth + acked + removed + deadLettered + dropped + expired`.",
    scheduled: "Messages with a delay, not in `depth`; `nextAtMs` is when the first of them enters.",
    rows: "Rows written and read since the channel's object woke.",
  },
  PressureState: PRESSURE_NOTES,
  PutMessage: {
    ...MESSAGE_NOTES,
    contentType:
      "Where absent: `application/json`, `text/plain; charset=utf-8` or `application/octet-stream`, as the body is given.",
    delayMs: "The message enters the channel after so many milliseconds.",
    deliverAtMs: "The message enters at this time, at once if it is over. Not together with `delayMs`.",
  },
  Message: KEPT_MESSAGE_NOTES,
  LeasedMessage: {
    ...KEPT_MESSAGE_NOTES,
    leaseId: "What settles the message.",
    attempt: "How often it was handed out and not released, this time included.",
    redelivered: "Whether it may have been handed out before.",
  },
  DeadLetter: {
    ...KEPT_MESSAGE_NOTES,
    attempts: "How often it was handed out and not released.",
    reason: "How its last lease ended, or what the reader said.",
  },
  ControlRecord: { control: "What happened to the channel at this offset: `resize` with the new limits, or `close`." },
  PutBatch: { messages: `At most ${LIMITS.batchBytesMax / MIB} MiB together.` },
  PutReply: {
    offset:
      "The offset of the first message that entered at once; the others follow. `null` when all have a delay, and for a duplicate whose first outcome is not kept any more.",
    count: "How many entered at once.",
    duplicate: "The put was accepted before, and this is what came of it then, without `scheduled`.",
    scheduledId: "Where one message was put, with a delay: the id by which it can be cancelled.",
    scheduled: "The messages with a delay, by their places in the batch; absent where there are none.",
  },
  PullRequest: {
    ack: "`auto`: the messages are removed as they are taken, at-most-once delivery. Absent: they are leased.",
    reader: "What the reader calls itself, for the history of the messages. Only with leases.",
    group: "The group that the reader belongs to; the only one of a queue if absent.",
    leaseMs: `How long they are leased; ${LIMITS.leaseMsDefault / 1000} s if absent.`,
    max: "`min` if absent, or 1.",
    min: "1 if absent. As large as `max`, exactly so many come, or none.",
    waitMs: `How long to wait for \`min\` messages; not at all if absent, ${LIMITS.waitMsMax / 60_000} minutes at most: a longer wait is cut to that.`,
  },
  PullReply: {
    messages: "In the order of their offsets.",
    controls: "Records of the channel itself that were passed; absent where there are none.",
    leaseUntilMs: "When the leases end; absent where the messages were removed.",
  },
  SettleRequest: {
    acks: "The messages are done. With the same key, every earlier one has to be done before, or in the same call.",
    retries: "They are handed out again, after `delayMs` or the channel's own pause.",
    extends: "Their leases end so long from now.",
    rejects: "They go to the dead letters.",
    releases: "They are handed out again at once, and the attempt is not counted.",
    checkpoint: "A checkpoint to write in the same commit. With it, the call is carried out as a whole or not at all.",
    puts: "Messages to put in the same commit, likewise. Room that acks free counts.",
  },
  SettleReply: {
    refused: "Entries that were not accepted, by their place in the request.",
    checkpointVersion: "The version of the checkpoint that rode along.",
    putOffset: "The offset of the first message that was put along.",
  },
  Group: {
    depth: "Messages that the group has not done with.",
    headOffset: "The first record that it has not done with.",
    counts: "Since its start: `put = depth + acked + deadLettered + removed + dropped + expired + skipped`.",
  },
  MessagePage: {
    messages: "In the order of their offsets.",
    controls: "Records of the channel itself among them; absent where there are none.",
    next: "Where the following page begins; `null` on the last.",
  },
  CheckpointEntry: {
    version: "Rises with each write of the name and never goes back while the channel lives.",
    bytes: "The length of the value.",
  },
  CheckpointPage: {
    checkpoints: "In the order of their names.",
    next: "What the following page begins after; `null` on the last.",
  },
  ScheduledMessage: {
    ...MESSAGE_NOTES,
    scheduledId: "By this it can be cancelled.",
    deliverAtMs: "When it enters.",
    putAtMs: "When it was put.",
  },
  ScheduledPage: {
    scheduled: "In the order in which they will enter.",
    next: "What the following page begins after; `null` on the last.",
  },
  ChannelPage: { channels: "In the order of their names.", next: "What the following page begins after; `null` on the last." },
};

const DEFINITION_NOTES: { readonly [Name in keyof Definitions]: string } = {
  GivenSettings: "Settings to create a channel with: what is absent gets its default.",
  ChannelPatch: "Settings to change, and the state to go to: what is absent stays.",
  Settings: "The settings of a channel.",
  ChannelEntry: "A channel in the list.",
  ChannelDescription: "A channel: settings, state, depth and counts.",
  PressureState: "Back-pressure at the commit that a reply reports; the same numbers are in the reply's headers.",
  PutMessage: "A message that is put: exactly one of `json`, `text` and `base64` holds the body.",
  Message: "A message as a reader gets it: exactly one of `json`, `text` and `base64` holds the body, as the producer gave it.",
  ControlRecord: "A record of the channel itself, in its place among the messages.",
  PutBatch: "Messages that are put together, all or none.",
  PutReply: "Messages were stored.",
  PullRequest: "How many messages to take.",
  PullReply: "What was taken.",
  LeasedMessage: "A message that is leased to a reader, with what settles it.",
  DeadLetter: "A message that was handed out too often, or rejected.",
  SettleRequest: "What becomes of leased messages: each lease once in a call.",
  SettleReply: "What was accepted and what was not.",
  Group: "A group of readers.",
  MessagePage: "A page of messages.",
  ScheduledMessage: "A message that has not entered its channel yet: exactly one of `json`, `text` and `base64` holds the body.",
  ScheduledPage: "A page of delayed messages.",
  ChannelPage: "A page of the list of channels.",
  CheckpointEntry: "A checkpoint without its value.",
  CheckpointPage: "A page of the list of checkpoints.",
};

const HAS_BODY: ReadonlySet<keyof Definitions> = new Set([
  "PutMessage",
  "Message",
  "LeasedMessage",
  "DeadLetter",
  "ScheduledMessage",
]);

const EXACTLY_ONE_BODY: JsonSchema["oneOf"] = ["json", "text", "base64"].map((member) => ({ required: [member] }));

const NAMES: ReadonlyMap<unknown, string> = new Map(Object.entries(DEFINITIONS).map(([name, schema]) => [schema, name]));

/**
 * Unsupported actions fail the conversion, and with it the unit test, rather than be left out unseen. Two are known to have no
 * counterpart: a `check` is dropped, since prose says what it checks; a limit in bytes bounds the characters as well.
 */
const CONFIG: ConversionConfig = {
  target: "draft-2020-12",
  errorMode: "throw",
  ignoreActions: ["check", "readonly"],
  overrideAction: ({ valibotAction, jsonSchema }) => {
    if (valibotAction.type !== "max_bytes" || !("requirement" in valibotAction)) return undefined;
    return { ...jsonSchema, maxLength: Number(valibotAction.requirement) };
  },
};

function findReference(schema: unknown): JsonSchema | undefined {
  const name = NAMES.get(schema);
  return name === undefined ? undefined : { $ref: referenceTo(name) };
}

export function referenceTo(name: string): string {
  return `#/components/schemas/${name}`;
}

/** The named schemas that the routes share. */
export function buildSchemas(): Record<string, JsonSchema> {
  const schemas = toJsonSchemaDefs(DEFINITIONS, {
    ...CONFIG,
    typeMode: "input",
    overrideRef: ({ referenceId }) => referenceTo(referenceId),
  });
  const described = Object.entries(schemas).map(
    ([name, schema]) => [name, describeSchema(name as keyof Definitions, schema)] as const,
  );
  return Object.fromEntries(described);
}

/** A body's schema: what is sent, before defaults and transforms. */
export function convertBody(schema: v.GenericSchema): JsonSchema {
  return convert(schema, "input");
}

/** A parameter's schema. In an address everything is text: what a number has to be is said by the value after its transform. */
export function convertParameter(schema: v.GenericSchema): JsonSchema {
  return convert(schema, "output");
}

function convert(schema: v.GenericSchema, typeMode: "input" | "output"): JsonSchema {
  const reference = findReference(schema);
  if (reference !== undefined) return reference;
  // The option `definitions` would do the same, but convert all of them again for each schema.
  const overrideSchema: ConversionConfig["overrideSchema"] = ({ valibotSchema }) => findReference(valibotSchema);
  const converted = toJsonSchema(schema, { ...CONFIG, typeMode, overrideSchema });
  delete converted.$schema;
  return converted;
}

const DEFAULTS: Readonly<Record<string, JsonSchema["default"]>> = {
  ...DEFAULT_SETTINGS,
  growth: DEFAULT_SETTINGS.growth === null ? null : { ...DEFAULT_SETTINGS.growth },
  marks: { ...DEFAULT_SETTINGS.marks },
  delivery: { ...DEFAULT_SETTINGS.delivery, retryDelaysMs: null },
};

function describeSchema(name: keyof Definitions, schema: JsonSchema): JsonSchema {
  const notes: Readonly<Record<string, string | undefined>> = MEMBER_NOTES[name];
  const defaults = name === "GivenSettings" ? DEFAULTS : {};
  const members = Object.entries(schema.properties ?? {}).map(([member, value]) => {
    const description = notes[member];
    const note = { ...(description !== undefined && { description }), ...(member in defaults && { default: defaults[member] }) };
    return [member, typeof value === "boolean" ? value : { ...value, ...note }] as const;
  });
  const described: JsonSchema = { description: DEFINITION_NOTES[name], ...schema, properties: Object.fromEntries(members) };
  return HAS_BODY.has(name) ? { ...described, oneOf: EXACTLY_ONE_BODY } : described;
}
