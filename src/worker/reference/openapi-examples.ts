// Values to show in the description: one little story about a channel of orders. Checked against the schemas by type and by test.
import type * as v from "valibot";
import type { CheckpointEntry } from "../../protocol/checkpoint.ts";
import type { ChannelDescription, GroupDescription, PressureState } from "../../protocol/description.ts";
import { DEFAULT_SETTINGS } from "../../protocol/settings.ts";
import type { REPLY_SCHEMAS } from "../../protocol/routes.ts";

const CHANNEL_EXAMPLE = "orders";
const DELIVER_AT_MS_EXAMPLE = 1_767_229_200_000;
const SCHEDULED_ID_EXAMPLE = `${DELIVER_AT_MS_EXAMPLE}-1767225600000`;

const SNAPSHOT_ID_EXAMPLE = "9f86d081884c7d65";

/** Of parameters that have none, the reference shows the address without them. */
export const PARAMETER_EXAMPLES: Readonly<Record<string, string | number>> = {
  channel: CHANNEL_EXAMPLE,
  offset: 17,
  messageId: "order-1001",
  group: "billing",
  checkpoint: "totals",
  scheduledId: SCHEDULED_ID_EXAMPLE,
  snapshotId: SNAPSHOT_ID_EXAMPLE,
  restoreId: SNAPSHOT_ID_EXAMPLE,
  page: 1,
  prefix: "ord",
  from: 17,
  graceMs: 10_000,
  waitMs: 5000,
  "Channel-Key": "customer-7",
  "Producer-Id": "billing-3",
  "Producer-Epoch": 1,
  "Producer-Seq": 1,
  "Idempotency-Key": "b3f6a1d2",
  "Channel-Message-Id": "order-1001",
};

export const LEASE_ID_EXAMPLE = "17-1-9f86d081884c7d65-3b1f0c2a9d4e5f60";

/** JSON bodies, by operation. */
export const BODY_EXAMPLES: Readonly<Record<string, object>> = {
  createChannel: { maxMessages: 10_000, growth: { factor: 2, maxMessages: 100_000, maxBytes: DEFAULT_SETTINGS.maxBytes } },
  changeChannel: { maxMessages: 20_000, state: "open" },
  putMessage: { total: 42 },
  putBatch: {
    messages: [{ key: "customer-7", json: { total: 42 } }, { text: "plain text", delayMs: 60_000 }, { base64: "AAEC" }],
  },
  pullMessages: { max: 100, waitMs: 30_000, leaseMs: 30_000 },
  settleMessages: { acks: [{ leaseId: LEASE_ID_EXAMPLE }], retries: [] },
  redriveDeadLetters: { key: "customer-7" },
  dropDeadLetters: { olderThanMs: 604_800_000 },
  createGroup: { start: { at: "first" } },
  changeGroup: { isPaused: true },
  seekGroup: { timeMs: 1_767_225_600_000 },
  releaseQuarantine: { key: "customer-7" },
  dropQuarantine: { offset: 17 },
  moveChannel: { locationHint: "weur" },
  writeCheckpoint: { upTo: 17, total: 1042 },
};

export const PRESSURE_EXAMPLE: PressureState = { depth: 1, bytes: 33, utilization: 0.0001, waiters: 0 };

const CONTENT_EXAMPLE = {
  putAtMs: 1_767_225_600_000,
  contentType: "application/json",
  key: "customer-7",
  messageId: "order-1001",
  json: { total: 42 },
};

export const SETTLED_EXAMPLE = {
  acked: 1,
  retried: 0,
  extended: 0,
  rejected: 0,
  released: 0,
  refused: [],
  state: PRESSURE_EXAMPLE,
};

export const MESSAGE_EXAMPLE = { offset: 17, ...CONTENT_EXAMPLE };

const SCHEDULED_EXAMPLE = {
  scheduledId: SCHEDULED_ID_EXAMPLE,
  deliverAtMs: DELIVER_AT_MS_EXAMPLE,
  ...CONTENT_EXAMPLE,
};

const SETTINGS_EXAMPLE = {
  ...DEFAULT_SETTINGS,
  maxMessages: 10_000,
  growth: { factor: 2, maxMessages: 100_000, maxBytes: DEFAULT_SETTINGS.maxBytes },
};

export const DESCRIPTION_EXAMPLE: ChannelDescription = {
  ...PRESSURE_EXAMPLE,
  channel: CHANNEL_EXAMPLE,
  life: "5b0c9a52-5f0e-4a55-9f0a-0d9a4b7f6c1e",
  state: "open",
  createdAtMs: 1_767_222_000_000,
  drainUntilMs: null,
  settings: SETTINGS_EXAMPLE,
  limits: { maxMessages: 10_000, maxBytes: DEFAULT_SETTINGS.maxBytes },
  segments: 1,
  isEmpty: false,
  isFull: false,
  firstOffset: 17,
  nextOffset: 18,
  waiting: { gets: 0, puts: 0 },
  subscriptions: { members: 0, readers: 0 },
  connections: 2,
  relays: [],
  delivery: { ready: 1, leased: 0, retrying: 0, quarantined: 0, isLookAheadExhausted: false },
  deadLetters: { messages: 0, bytes: 0 },
  redrive: null,
  groups: 1,
  counts: { put: 17, acked: 16, removed: 0, deadLettered: 0, dropped: 0, expired: 0 },
  scheduled: { messages: 1, bytes: 33, nextAtMs: DELIVER_AT_MS_EXAMPLE },
  place: { epoch: 1, generation: 1, locationHint: "weur", jurisdiction: null, colo: "AMS" },
  suggestedLocationHint: "enam",
  rows: { written: 9, read: 12, sinceMs: 1_767_225_000_000 },
};

const GROUP_EXAMPLE: GroupDescription = {
  group: "billing",
  createdAtMs: 1_767_222_000_000,
  isPaused: false,
  expireAfterIdleMs: null,
  settings: DEFAULT_SETTINGS.delivery,
  headOffset: 17,
  depth: 1,
  ready: 1,
  leased: 0,
  retrying: 0,
  quarantined: 0,
  isLookAheadExhausted: false,
  counts: { put: 17, acked: 16, deadLettered: 0, removed: 0, dropped: 0, expired: 0, skipped: 0 },
};

export const CHECKPOINT_EXAMPLE: CheckpointEntry = {
  name: "totals",
  version: 8,
  contentType: "application/json",
  bytes: 24,
  updatedAtMs: 1_767_225_600_000,
};

export const REPLY_EXAMPLES: { readonly [Name in keyof typeof REPLY_SCHEMAS]: v.InferOutput<(typeof REPLY_SCHEMAS)[Name]> } = {
  health: { status: "ok" },
  list: { channels: [{ channel: CHANNEL_EXAMPLE, createdAtMs: 1_767_222_000_000, settings: SETTINGS_EXAMPLE }], next: null },
  description: DESCRIPTION_EXAMPLE,
  deleted: { state: "deleted", droppedMessages: 0 },
  put: { offset: 17, count: 1, state: PRESSURE_EXAMPLE },
  pulled: {
    messages: [{ ...MESSAGE_EXAMPLE, leaseId: LEASE_ID_EXAMPLE, attempt: 1, redelivered: false }],
    leaseUntilMs: 1_767_225_630_000,
    state: PRESSURE_EXAMPLE,
  },
  page: { messages: [MESSAGE_EXAMPLE], next: null },
  history: {
    offset: 17,
    put: { atMs: 1_767_225_600_000, via: "http", colo: "SIN", producer: "shop-1" },
    groups: [
      {
        group: "default",
        state: "leased",
        attempts: 2,
        events: [
          {
            attempt: 1,
            reader: "billing-1",
            leasedAtMs: 1_767_225_600_100,
            endedAtMs: 1_767_225_601_000,
            verdict: "retried",
            reason: "the bank does not answer",
          },
          { attempt: 2, reader: "billing-2", leasedAtMs: 1_767_225_603_000 },
        ],
        omitted: 0,
      },
    ],
  },
  removed: { offset: 17 },
  settled: SETTLED_EXAMPLE,
  deadLetters: {
    deadLetters: [{ ...MESSAGE_EXAMPLE, group: "default", attempts: 10, reason: "expired", diedAtMs: 1_767_225_000_000 }],
    next: null,
  },
  moved: { moved: 1, isMore: false },
  redriveJob: { redrive: { ratePerSecond: 50, startedAtMs: 1_767_225_600_000, moved: 150, nextOffset: 12 } },
  group: GROUP_EXAMPLE,
  groups: { groups: [GROUP_EXAMPLE], next: null },
  readers: {
    readers: [
      {
        id: "billing-1",
        role: "reader",
        kind: "member",
        group: "default",
        colo: "FRA",
        region: "weur",
        continent: "EU",
        country: "DE",
        connections: 1,
        sinceMs: 1_767_225_600_000,
        lastSeenMs: 1_767_225_601_000,
        credit: 100,
        inFlight: 3,
        ratePerSecond: 12.5,
      },
    ],
    colos: [{ colo: "FRA", readers: 1, producers: 0 }],
    next: null,
  },
  relays: {
    relays: [
      {
        relay: "FRA/0",
        readers: 500,
        connections: 500,
        isLinked: true,
        framesIn: 20,
        bytesIn: 24_000,
        framesOut: 10_000,
        bytesOut: 12_000_000,
        sinceMs: 1_767_225_600_000,
      },
    ],
    next: null,
  },
  groupDeleted: { group: "billing" },
  quarantined: { messages: [{ ...MESSAGE_EXAMPLE, attempts: 10 }] },
  purged: { removedMessages: 1 },
  checkpoints: { checkpoints: [CHECKPOINT_EXAMPLE], next: null },
  checkpointWritten: CHECKPOINT_EXAMPLE,
  checkpointDeleted: { name: "totals", version: 8 },
  scheduledPage: { scheduled: [SCHEDULED_EXAMPLE], next: null },
  unscheduled: { scheduledId: SCHEDULED_ID_EXAMPLE },
  snapshotBegun: { snapshotId: SNAPSHOT_ID_EXAMPLE },
  snapshotEnded: { snapshotId: SNAPSHOT_ID_EXAMPLE },
  restoreBegun: { restoreId: SNAPSHOT_ID_EXAMPLE },
  pageStaged: { page: 1, isLast: true },
  restored: { channel: CHANNEL_EXAMPLE },
  restoreAborted: { restoreId: SNAPSHOT_ID_EXAMPLE },
};
