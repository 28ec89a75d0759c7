// The frames of channel.v1.json in short, each by an example, and what channel.v1.bin has beside them. PROTOCOL.md is the full account.
import { BINARY_FRAME_TYPES } from "../../protocol/binary-frame.ts";
import { CLOSE_CODES, type ClientFrame, type ServerFrame } from "../../protocol/frames.ts";
import { SUBPROTOCOL_BIN, SUBPROTOCOL_JSON } from "../../protocol/version.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type { SocketNotes } from "./openapi-document.ts";
import {
  CHECKPOINT_EXAMPLE,
  DESCRIPTION_EXAMPLE,
  LEASE_ID_EXAMPLE,
  MESSAGE_EXAMPLE,
  PRESSURE_EXAMPLE,
  SETTLED_EXAMPLE,
} from "./openapi-examples.ts";
import { PROBLEM_EXAMPLE } from "./openapi-problems.ts";

type Notes<Frame extends { readonly type: string }> = {
  readonly [Type in Frame["type"]]: { readonly description: string; readonly example: Extract<Frame, { type: Type }> };
};

export const CLIENT_FRAMES: Notes<ClientFrame> = {
  hello: { description: "The first frame: the versions that the client speaks", example: { type: "hello", versions: [1] } },
  put: {
    description: "Puts one message; with `waitMs`, waits for room; with `producer` or `idempotencyKey` it can be sent again",
    example: { type: "put", id: 1, key: "customer-7", json: { total: 42 }, producer: { id: "billing-3", epoch: 1, seq: 1 } },
  },
  "put-batch": {
    description: "Puts many messages, all or none",
    example: { type: "put-batch", id: 2, messages: [{ text: "first" }, { text: "second" }] },
  },
  reserve: {
    description: "Waits for room without sending the bodies: the put with the same `id` follows on `room`",
    example: { type: "reserve", id: 3, messages: 2, bytes: 2048, waitMs: 30_000 },
  },
  get: {
    description: "Takes `min` to `max` messages, and removes them: at-most-once delivery",
    example: { type: "get", id: 4, max: 100, waitMs: 30_000 },
  },
  pull: {
    description: "Takes `min` to `max` messages by lease, until they are settled or the connection closes",
    example: { type: "pull", id: 6, max: 100, waitMs: 30_000, leaseMs: 30_000 },
  },
  settle: {
    description: "Says what becomes of leased messages",
    example: { type: "settle", id: 7, acks: [{ leaseId: LEASE_ID_EXAMPLE }] },
  },
  cancel: {
    description: "Ends the waiting request `id`: it is answered with what it can have now",
    example: { type: "cancel", id: 4 },
  },
  subscribe: {
    description: "Asks to be sent messages as they come: as a member of a group, or `from` a place of a log",
    example: { type: "subscribe", id: 8, group: "billing", credit: { messages: 100, bytes: 1_048_576 } },
  },
  credit: {
    description: "Lets so much more be sent to subscription `id`",
    example: { type: "credit", id: 8, messages: 50, bytes: 524_288 },
  },
  unsubscribe: { description: "Ends subscription `id`; what it holds is released", example: { type: "unsubscribe", id: 8 } },
  watch: {
    description: "Asks to be told when producers should slow down; `unsubscribe` ends it",
    example: { type: "watch", id: 9 },
  },
  presence: {
    description: "Asks to be told which readers there are, and who comes and goes; `unsubscribe` ends it",
    example: { type: "presence", id: 14 },
  },
  "read-checkpoint": {
    description: "Reads a checkpoint",
    example: { type: "read-checkpoint", id: 10, name: "totals" },
  },
  "write-checkpoint": {
    description: "Writes a checkpoint; with `ifMatch` or `ifNoneMatch`, only where that version, any, or none is there",
    example: { type: "write-checkpoint", id: 11, name: "totals", json: { line: 42 }, ifMatch: 6 },
  },
  "delete-checkpoint": {
    description: "Deletes a checkpoint",
    example: { type: "delete-checkpoint", id: 12, name: "totals", ifMatch: "*" },
  },
  "list-checkpoints": {
    description: "Lists checkpoints in the order of their names, without values",
    example: { type: "list-checkpoints", id: 13, prefix: "to", limit: 10 },
  },
  echo: {
    description: "Shows that all before the `echo` of the server was read",
    example: { type: "echo", echo: 3_735_928_559 },
  },
  stats: { description: "Asks for the description of the channel", example: { type: "stats", id: 5 } },
};

const SERVER_FRAMES: Notes<ServerFrame> = {
  welcome: {
    description: "Answers `hello`",
    example: { type: "welcome", version: 1, versions: [1], channel: "orders", connection: 3 },
  },
  joined: {
    description: "What one commit has to say to a connection whose `hello` asked for it, in its order",
    example: { type: "joined", frames: [{ type: "wait", id: 4 }] },
  },
  "put-ok": {
    description: "The messages are stored, from `offset` on; `scheduled` lists those with a delay",
    example: { type: "put-ok", id: 1, offset: 17, count: 1, state: PRESSURE_EXAMPLE },
  },
  got: {
    description: "The messages that were taken; none if fewer than `min` came in time",
    example: { type: "got", id: 4, messages: [MESSAGE_EXAMPLE], state: PRESSURE_EXAMPLE },
  },
  settled: {
    description: "How many entries were accepted, and which were refused and why",
    example: { type: "settled", id: 7, ...SETTLED_EXAMPLE },
  },
  rebalance: {
    description: "This connection for plain reading is closed: another one is served from nearer",
    example: { type: "rebalance" },
  },
  subscribed: { description: "The subscription is open", example: { type: "subscribed", id: 8, resume: "4f0c….0-9f…-5b…" } },
  deliver: {
    description: "Messages of subscription `id`, within its credit",
    example: { type: "deliver", id: 8, messages: [MESSAGE_EXAMPLE], bytes: 40, resume: "4f0c….18", state: PRESSURE_EXAMPLE },
  },
  revoke: {
    description: "Others wait for these leases: what is not begun with should be released",
    example: { type: "revoke", id: 8, leases: [{ leaseId: LEASE_ID_EXAMPLE, count: 3 }] },
  },
  pressure: {
    description: "The level of pressure, at once and when it changes, and what still fits",
    example: { type: "pressure", id: 9, level: "high", credit: { messages: 200, bytes: 1_048_576 }, state: PRESSURE_EXAMPLE },
  },
  present: {
    description: "How many readers there are, in all and at each colo: at once, and where changes cannot be told one by one",
    example: {
      type: "present",
      id: 14,
      readers: 3,
      colos: [
        { colo: "FRA", readers: 2 },
        { colo: null, readers: 1 },
      ],
    },
  },
  presence: {
    description: "Readers that joined, left, or whose leases were over, by one commit",
    example: { type: "presence", id: 14, changes: [{ change: "join", reader: "worker-7", colo: "FRA" }] },
  },
  checkpoint: {
    description: "A checkpoint, with its value as a message shows its body",
    example: { type: "checkpoint", id: 10, ...CHECKPOINT_EXAMPLE, json: { line: 42 } },
  },
  "checkpoint-written": {
    description: "The checkpoint has the value, and this version; `created` where there was none",
    example: { type: "checkpoint-written", id: 11, ...CHECKPOINT_EXAMPLE, created: false },
  },
  "checkpoint-deleted": {
    description: "The checkpoint is deleted; it had this version",
    example: { type: "checkpoint-deleted", id: 12, name: CHECKPOINT_EXAMPLE.name, version: CHECKPOINT_EXAMPLE.version },
  },
  checkpoints: {
    description: "A page; `next` is the `after` of the following one",
    example: { type: "checkpoints", id: 13, checkpoints: [CHECKPOINT_EXAMPLE], next: null },
  },
  echo: { description: "To be sent back as it is", example: { type: "echo", echo: 3_735_928_559 } },
  ended: { description: "Nothing more comes of subscription `id`", example: { type: "ended", id: 8 } },
  pong: { description: 'Answers the frame `{"type":"ping"}`, which may be sent at any time', example: { type: "pong" } },
  wait: { description: "The request waits; its answer follows", example: { type: "wait", id: 4 } },
  room: {
    description: "There is room for what was reserved, for so long",
    example: { type: "room", id: 3, reservedMs: LIMITS.reservationMs },
  },
  stats: {
    description: "The channel as `GET /v1/channels/{channel}` describes it",
    example: { type: "stats", id: 5, stats: DESCRIPTION_EXAMPLE },
  },
  problem: {
    description: "A refusal; without `inReplyTo`, of a frame whose id could not be read",
    example: { type: "problem", inReplyTo: 1, problem: PROBLEM_EXAMPLE },
  },
};

const CLOSE_NOTES: { readonly [Name in keyof typeof CLOSE_CODES]?: string } = {
  frameTooLarge: `A frame of more than ${LIMITS.frameBytesMax} bytes`,
  framesUnread: "The client does not read what it is sent, or does not send the `echo` back",
  silent: "A client that said in its `hello` that it pings was not heard for minutes",
  moved: "The channel moves, or serves this connection from nearer: come back, with what `resume` was told",
  unsupportedVersion: "No common protocol version",
};

export function buildSocketNotes(): SocketNotes {
  const closeCodes = Object.entries(CLOSE_NOTES).map(([name, description]) => ({
    code: CLOSE_CODES[name as keyof typeof CLOSE_CODES],
    description,
  }));
  return {
    subprotocol: SUBPROTOCOL_JSON,
    binary: {
      subprotocol: SUBPROTOCOL_BIN,
      description:
        "The same, and messages go in binary frames: a `put` of the client carries a batch, a `deliver` or `got` of the server what it sends, in blocks of an index and the bodies as they are. All else is JSON here too.",
      types: BINARY_FRAME_TYPES,
    },
    specification: "src/protocol/PROTOCOL.md",
    client: listFrames(CLIENT_FRAMES),
    server: listFrames(SERVER_FRAMES),
    closeCodes: closeCodes.sort((a, b) => a.code - b.code),
  };
}

function listFrames(
  notes: Readonly<Record<string, { readonly description: string; readonly example: object }>>,
): SocketNotes["client"] {
  return Object.entries(notes).map(([type, { description, example }]) => ({ type, description, example }));
}
