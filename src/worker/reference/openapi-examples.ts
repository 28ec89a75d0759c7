// Values to show in the description: one little story about a channel of orders. Checked against the schemas by type and by test.
import type * as v from "valibot";
import type { ChannelDescription, PressureState } from "../../protocol/description.ts";
import { DEFAULT_SETTINGS } from "../../protocol/settings.ts";
import type { REPLY_SCHEMAS } from "../../protocol/routes.ts";

const CHANNEL_EXAMPLE = "orders";

/** Of parameters that have none, the reference shows the address without them. */
export const PARAMETER_EXAMPLES: Readonly<Record<string, string | number>> = {
  channel: CHANNEL_EXAMPLE,
  offset: 17,
  messageId: "order-1001",
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

/** JSON bodies, by operation. */
export const BODY_EXAMPLES: Readonly<Record<string, object>> = {
  createChannel: { maxMessages: 10_000, growth: { factor: 2, maxMessages: 100_000, maxBytes: DEFAULT_SETTINGS.maxBytes } },
  changeChannel: { maxMessages: 20_000, state: "open" },
  putMessage: { total: 42 },
  putBatch: { messages: [{ key: "customer-7", json: { total: 42 } }, { text: "plain text" }, { base64: "AAEC" }] },
  pullMessages: { ack: "auto", max: 100, waitMs: 30_000 },
};

export const PRESSURE_EXAMPLE: PressureState = { depth: 1, bytes: 33, utilization: 0.0001, waiters: 0 };

export const MESSAGE_EXAMPLE = {
  offset: 17,
  putAtMs: 1_767_225_600_000,
  contentType: "application/json",
  key: "customer-7",
  messageId: "order-1001",
  json: { total: 42 },
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
  connections: 2,
  counts: { put: 17, acked: 16, removed: 0 },
  rows: { written: 9, read: 12, sinceMs: 1_767_225_000_000 },
};

export const REPLY_EXAMPLES: { readonly [Name in keyof typeof REPLY_SCHEMAS]: v.InferInput<(typeof REPLY_SCHEMAS)[Name]> } = {
  health: { status: "ok" },
  list: { channels: [{ channel: CHANNEL_EXAMPLE, createdAtMs: 1_767_222_000_000, settings: SETTINGS_EXAMPLE }], next: null },
  description: DESCRIPTION_EXAMPLE,
  deleted: { state: "deleted", droppedMessages: 0 },
  put: { offset: 17, count: 1, state: PRESSURE_EXAMPLE },
  pulled: { messages: [MESSAGE_EXAMPLE], state: { depth: 0, bytes: 0, utilization: 0, waiters: 0 } },
  page: { messages: [MESSAGE_EXAMPLE], next: null },
  removed: { offset: 17 },
  purged: { removedMessages: 1 },
};
