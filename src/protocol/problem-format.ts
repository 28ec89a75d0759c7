// A refusal as an RFC 9457 problem, with a sentence for people. `kind` strings are API; these sentences may change.
import { assertNever } from "../base/assert.ts";
import { PROBLEM_TYPES, type Problem, type Refusal, type RefusedPart, type SnapshotFault } from "./problems.ts";

const TYPE_PREFIX = "urn:edge-channel:problem:";

export function formatProblem(refusal: Refusal): Problem {
  const { status, title, retry } = PROBLEM_TYPES[refusal.kind];
  const parts = refusal.kind === "settle-refused" && { refused: refusal.refused.map(formatPart) };
  return { type: TYPE_PREFIX + refusal.kind, title, status, detail: formatDetail(refusal), retry, ...refusal, ...parts };
}

function formatPart({ pointer, problem }: RefusedPart): RefusedPart {
  return { pointer, problem: formatProblem(problem) };
}

function formatDetail(refusal: Refusal): string {
  switch (refusal.kind) {
    case "invalid-request":
      return refusal.errors.map((fault) => `${fault.pointer === "" ? "The body" : fault.pointer}: ${fault.detail}`).join("; ");
    case "unsupported-version":
      return `This server speaks the versions ${refusal.supported.join(", ")}`;
    case "unknown-frame":
      return `Cannot handle a frame of type "${refusal.frameType}": the types are ${refusal.frameTypes.join(", ")}`;
    case "request-in-use":
      return `Cannot begin request ${refusal.id}: a request with this id is still waiting on this connection`;
    case "promise-lost":
      return `Nothing was put for request ${refusal.id}: its body did not come while room was kept for it`;
    case "unauthorized":
      return "Send the header Authorization: Bearer TOKEN with the deployment's token";
    case "forbidden":
      return refusal.reason;
    case "not-configured":
      return refusal.remedy;
    case "upgrade-required":
      return `Open this address as a WebSocket with the subprotocol ${refusal.protocols.join(" or ")}`;
    case "unsupported-media-type":
      return refusal.acceptedEncodings === undefined
        ? `Send the body as ${refusal.accepted?.join(" or ") ?? "another type"}`
        : `Send the body as it is: the content encoding may only be ${refusal.acceptedEncodings.join(" or ")}`;
    case "method-not-allowed":
      return `Use ${refusal.allow.join(", ")}`;
    case "unknown-route":
      return `Nothing is served at ${refusal.path}: see /openapi.json`;
    case "unknown-snapshot":
    case "unknown-restore":
    case "channel-exists":
    case "snapshot-invalid":
    case "too-many-snapshots":
      return formatSnapshotDetail(refusal);
    case "producer-sequence-gap":
    case "stale-producer-epoch":
    case "producer-sequence-reused":
    case "offset-conflict":
    case "idempotency-key-reused":
    case "too-many-producers":
    case "too-many-idempotency-keys":
      return formatDedupDetail(refusal);
    case "unknown-subscription":
      return `No subscription ${refusal.id} is open on this connection`;
    case "too-many-subscriptions":
      return `At most ${refusal.limit} subscriptions can be open`;
    case "resume-lost":
      return `The channel does not know ${refusal.resume}: it was deleted and created anew, or the token is another channel's or group's`;
    case "taken-over":
      return "Another subscription has taken the leases of this one over, by its token";
    case "channel-moving":
      return "The channel is on its way to another place: nothing was done, and it will be there in a moment";
    case "already-there":
      return `The channel was asked to be in ${refusal.jurisdiction ?? refusal.locationHint ?? "this place"} before`;
    case "jurisdiction-unavailable":
      return `Cannot place a channel in the jurisdiction ${refusal.jurisdiction}: this runtime has none, as the one for development`;
    case "plain-reading-only":
      return `This connection reads plainly: send "${refusal.frameType}" on one that is opened without read=plain`;
    case "unknown-redrive":
      return "No redrive with a rate runs: it has come to its end, was stopped, or never was";
    case "redrive-running":
      return `A redrive of ${refusal.ratePerSecond} a second runs and has moved ${refusal.moved}: stop it first, or let it end`;
    default:
      return formatChannelDetail(refusal);
  }
}

type SnapshotRefusal = Extract<
  Refusal,
  { kind: "unknown-snapshot" | "unknown-restore" | "channel-exists" | "snapshot-invalid" | "too-many-snapshots" }
>;

const SNAPSHOT_FAULTS: { readonly [Reason in SnapshotFault]: string } = {
  "not-a-snapshot": "it is no page of a snapshot",
  version: "it was made by another version",
  cut: "it is cut, or was not sent",
  order: "it is not the page whose turn it is",
  hash: "its hash is not that of its bytes and of the pages before it",
  content: "its content is not that of a channel",
};

function formatSnapshotDetail(refusal: SnapshotRefusal): string {
  switch (refusal.kind) {
    case "unknown-snapshot":
      return `No snapshot ${refusal.snapshotId} is open: it was ended, or not read for too long`;
    case "unknown-restore":
      return `No restore ${refusal.restoreId} into "${refusal.channel}" is open: it is done, was aborted, or not fed for too long`;
    case "channel-exists":
      return `Channel "${refusal.channel}" exists: restore into another name, or delete it first`;
    case "snapshot-invalid":
      return `Page ${refusal.page}: ${SNAPSHOT_FAULTS[refusal.reason]}`;
    case "too-many-snapshots":
      return `At most ${refusal.limit} of the ${refusal.of} of a channel can be open: end the other one`;
    default:
      return assertNever(refusal);
  }
}

type DedupRefusal = Extract<
  Refusal,
  {
    kind:
      | "producer-sequence-gap"
      | "stale-producer-epoch"
      | "producer-sequence-reused"
      | "offset-conflict"
      | "idempotency-key-reused"
      | "too-many-producers"
      | "too-many-idempotency-keys";
  }
>;

function formatDedupDetail(refusal: DedupRefusal): string {
  switch (refusal.kind) {
    case "producer-sequence-gap":
      return `The next put of producer "${refusal.producerId}" in epoch ${refusal.epoch} has the number ${refusal.expectedSeq}`;
    case "stale-producer-epoch":
      return `Producer "${refusal.producerId}" is in epoch ${refusal.epoch}: a lower one may not put any more`;
    case "producer-sequence-reused":
      return `Number ${refusal.seq} of producer "${refusal.producerId}" was accepted with ${refusal.count} messages or other bytes`;
    case "offset-conflict":
      return `The next offset is ${refusal.nextOffset}, not ${refusal.expectedOffset}`;
    case "idempotency-key-reused":
      return `A put with the key "${refusal.idempotencyKey}" was accepted with other messages`;
    case "too-many-producers":
      return `About ${refusal.limit} producers are kept, and none of them is idle long enough to be forgotten`;
    case "too-many-idempotency-keys":
      return `At most ${refusal.limit} idempotency keys are kept, and none before its time is over is forgotten`;
    default:
      return assertNever(refusal);
  }
}

type ChannelRefusal = Extract<
  Refusal,
  {
    kind:
      | "unknown-channel"
      | "unknown-message"
      | "invalid-lease"
      | "lease-lost"
      | "out-of-order"
      | "unknown-checkpoint"
      | "settle-refused"
      | "unknown-group"
      | "wrong-retention"
      | "too-many-groups"
      | "no-readers"
      | "seek-out-of-range"
      | "unknown-scheduled"
      | "settings-conflict"
      | "too-many-checkpoints"
      | "channel-draining"
      | "channel-closed"
      | "channel-deleted"
      | "checkpoint-conflict"
      | "checkpoint-too-large"
      | "message-too-large"
      | "batch-too-large"
      | "request-too-large"
      | "channel-full"
      | "too-many-waiters"
      | "too-many-connections"
      | "storage-failed"
      | "unavailable"
      | "internal";
  }
>;

function formatChannelDetail(refusal: ChannelRefusal): string {
  switch (refusal.kind) {
    case "unknown-channel":
      return `Channel "${refusal.channel}" does not exist: create it with PUT /v1/channels/${refusal.channel}`;
    case "unknown-message":
      return formatUnknownMessage(refusal);
    case "invalid-lease":
      return `${refusal.pointer}: the lease id was not made by this channel, or it was changed`;
    case "lease-lost":
      return `The message at offset ${refusal.offset} is not held by this lease any more: ${refusal.cause}`;
    case "out-of-order":
      return `Settle the message at offset ${refusal.openOffset}, which has the same key, before or together with ${refusal.offset}`;
    case "unknown-checkpoint":
      return `The channel has no checkpoint "${refusal.checkpoint}"`;
    case "too-many-checkpoints":
      return `Cannot keep "${refusal.checkpoint}": that would be ${refusal.size} ${refusal.unit} of the ${refusal.limit} that a channel keeps as checkpoints`;
    case "checkpoint-conflict":
      return refusal.current === null
        ? `The checkpoint "${refusal.checkpoint}" does not exist`
        : `The checkpoint "${refusal.checkpoint}" has version ${refusal.current}`;
    case "checkpoint-too-large":
      return `The checkpoint "${refusal.checkpoint}" has ${refusal.bytes} bytes, the limit is ${refusal.limit}`;
    case "settle-refused":
      return `A call with a checkpoint or puts is carried out as a whole: ${refusal.refused.map(({ pointer }) => pointer).join(", ")}`;
    case "unknown-group":
      return `Group "${refusal.group}" does not exist: create it with PUT …/groups/${refusal.group}`;
    case "wrong-retention":
      return `The channel's retention is ${refusal.retention}: this needs ${refusal.needed.join(" or ")}`;
    case "too-many-groups":
      return `A channel has at most ${refusal.limit} groups: delete one that is not needed`;
    case "no-readers":
      return "No group is registered, so nobody would get the message: create a group, or set whenNoGroups to drop";
    case "seek-out-of-range":
      return `Choose an offset from ${refusal.firstOffset} to ${refusal.nextOffset}`;
    case "unknown-scheduled":
      return `No message is scheduled as ${refusal.scheduledId}: it has entered the channel, was cancelled, or never was`;
    case "settings-conflict":
      return formatConflict(refusal.conflicts);
    case "channel-draining":
      return "The channel takes no more messages: it is being drained";
    case "channel-closed":
      return 'The channel is closed: open it again with PATCH {"state":"open"}';
    case "channel-deleted":
      return "The channel was deleted: create it anew with PUT";
    case "message-too-large":
      return `The message has ${refusal.bytes} bytes, the limit is ${refusal.limit}`;
    case "batch-too-large":
      return `The batch has ${refusal.size} ${refusal.unit}, at most ${refusal.limit} can be handled at once`;
    case "request-too-large":
      return `A request may have at most ${refusal.limit} bytes`;
    case "channel-full":
      return formatFull(refusal);
    case "too-many-waiters":
      return `At most ${refusal.limit} requests can wait`;
    case "too-many-connections":
      return `At most ${refusal.limit} connections can be open`;
    case "storage-failed":
      return "The write failed and nothing was changed: try again";
    case "unavailable":
      return "The channel did not answer: try again";
    case "internal":
      return "Something went wrong on our side";
    default:
      return assertNever(refusal);
  }
}

function formatUnknownMessage({ offset, messageId, isKept }: Extract<Refusal, { kind: "unknown-message" }>): string {
  if (messageId !== undefined) return `No message with the id "${messageId}" is kept`;
  return isKept === true ? `The message at offset ${offset} is not quarantined` : `No message is kept at offset ${offset ?? "?"}`;
}

const PLACES: ReadonlySet<string> = new Set(["locationHint", "jurisdiction"]);

/** One setting never changes, and a place is none; whoever is told to change them would try in vain. */
function formatConflict(conflicts: readonly string[]): string {
  const places = conflicts.filter((name) => PLACES.has(name));
  const others = conflicts.filter((name) => name !== "retention" && !PLACES.has(name));
  const remedies = [
    ...(conflicts.includes("retention") ? ["retention is fixed at creation"] : []),
    ...(places.length > 0 ? [`change ${places.join(", ")} with POST …/move`] : []),
    ...(others.length > 0 ? [`change ${others.join(", ")} with PATCH`] : []),
  ];
  return `The channel exists with other values of ${conflicts.join(", ")}: ${remedies.join(", ")}`;
}

function formatFull(refusal: Extract<Refusal, { kind: "channel-full" }>): string {
  const { depth, maxMessages, bytes, maxBytes, scheduled, promisedMessages, promisedBytes = 0 } = refusal;
  const held = { messages: depth + (scheduled?.messages ?? 0), bytes: bytes + (scheduled?.bytes ?? 0) };
  const delayed = scheduled === undefined ? "" : `, of which ${scheduled.messages} are scheduled`;
  const text = `The channel holds ${held.messages} of ${maxMessages} messages and ${held.bytes} of ${maxBytes} bytes${delayed}`;
  if (promisedMessages === undefined) return text;
  return `${text}, and keeps room that is promised to others (messages: ${promisedMessages}, bytes: ${promisedBytes})`;
}
