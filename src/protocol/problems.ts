// The refusals and their table: status, title and what may be tried. A problem is made of one in problem-format.ts.
// `kind` strings are API and never change.

/** What may be tried after a refusal: nothing, the same again after a pause, or the same after reading the current state. */
export type Retry = "never" | "after" | "refetch";

export interface Fault {
  /** RFC 6901 JSON pointer into the body, or `/query/NAME`, `/header/NAME`, `/path/NAME`. */
  readonly pointer: string;
  readonly detail: string;
}

/** A refusal with the facts that are needed to recover from it (G11). */
export type Refusal =
  | { readonly kind: "invalid-request"; readonly errors: readonly Fault[] }
  | { readonly kind: "unsupported-version"; readonly supported: readonly number[] }
  | { readonly kind: "unknown-frame"; readonly frameType: string; readonly frameTypes: readonly string[] }
  | { readonly kind: "request-in-use"; readonly id: number }
  | { readonly kind: "promise-lost"; readonly id: number }
  | { readonly kind: "unauthorized" }
  | { readonly kind: "forbidden"; readonly reason: string }
  | { readonly kind: "not-configured"; readonly setting: string; readonly remedy: string }
  | { readonly kind: "unknown-channel"; readonly channel: string }
  /** `isKept`: the message is there, and only not in the state that was asked for: quarantined. */
  | { readonly kind: "unknown-message"; readonly offset?: number; readonly messageId?: string; readonly isKept?: true }
  | { readonly kind: "unknown-checkpoint"; readonly checkpoint: string }
  | { readonly kind: "unknown-scheduled"; readonly scheduledId: string }
  | { readonly kind: "unknown-subscription"; readonly id: number }
  | { readonly kind: "resume-lost"; readonly resume: string }
  | { readonly kind: "taken-over" }
  | { readonly kind: "plain-reading-only"; readonly frameType: string }
  | { readonly kind: "unknown-redrive" }
  | { readonly kind: "redrive-running"; readonly ratePerSecond: number; readonly moved: number }
  | { readonly kind: "unknown-snapshot"; readonly snapshotId: string }
  | { readonly kind: "unknown-restore"; readonly channel: string; readonly restoreId: string }
  | { readonly kind: "unknown-route"; readonly path: string }
  | { readonly kind: "method-not-allowed"; readonly allow: readonly string[] }
  | { readonly kind: "invalid-lease"; readonly pointer: string }
  | { readonly kind: "lease-lost"; readonly offset: number; readonly cause: LeaseLossCause }
  | { readonly kind: "out-of-order"; readonly offset: number; readonly openOffset: number }
  | { readonly kind: "settle-refused"; readonly refused: readonly RefusedPart[] }
  | { readonly kind: "unknown-group"; readonly group: string }
  | { readonly kind: "wrong-retention"; readonly retention: string; readonly needed: readonly string[] }
  | { readonly kind: "too-many-groups"; readonly limit: number }
  | { readonly kind: "no-readers"; readonly retryAfterMs: number }
  | { readonly kind: "seek-out-of-range"; readonly firstOffset: number; readonly nextOffset: number }
  | { readonly kind: "settings-conflict"; readonly conflicts: readonly string[]; readonly current: object }
  | {
      readonly kind: "too-many-checkpoints";
      readonly checkpoint: string;
      readonly size: number;
      readonly limit: number;
      readonly unit: "checkpoints" | "bytes";
    }
  | { readonly kind: "producer-sequence-gap"; readonly producerId: string; readonly epoch: number; readonly expectedSeq: number }
  | { readonly kind: "stale-producer-epoch"; readonly producerId: string; readonly epoch: number }
  | {
      readonly kind: "producer-sequence-reused";
      readonly producerId: string;
      readonly epoch: number;
      readonly seq: number;
      readonly offset: number | null;
      readonly count: number;
    }
  | { readonly kind: "offset-conflict"; readonly expectedOffset: number; readonly nextOffset: number }
  | { readonly kind: "channel-exists"; readonly channel: string }
  /** The page that is wrong or missing, and why. */
  | { readonly kind: "snapshot-invalid"; readonly reason: SnapshotFault; readonly page: number }
  | {
      readonly kind: "too-many-snapshots";
      readonly of: "snapshots" | "restores";
      readonly limit: number;
      readonly retryAfterMs: number;
    }
  | { readonly kind: "channel-moving"; readonly outcome: "not-applied"; readonly retryAfterMs: number }
  | { readonly kind: "already-there"; readonly locationHint?: string; readonly jurisdiction?: string }
  | { readonly kind: "jurisdiction-unavailable"; readonly jurisdiction: string }
  | { readonly kind: "channel-draining"; readonly drainUntilMs: number | null }
  | { readonly kind: "channel-closed" }
  | { readonly kind: "channel-deleted"; readonly deletedAtMs: number; readonly droppedMessages: number }
  /** `current` is the version that is there, or null where there is none. */
  | { readonly kind: "checkpoint-conflict"; readonly checkpoint: string; readonly current: number | null }
  | { readonly kind: "checkpoint-too-large"; readonly checkpoint: string; readonly bytes: number; readonly limit: number }
  | { readonly kind: "message-too-large"; readonly bytes: number; readonly limit: number }
  | { readonly kind: "batch-too-large"; readonly size: number; readonly limit: number; readonly unit: "messages" | "bytes" }
  | { readonly kind: "request-too-large"; readonly limit: number }
  /** One of them is there: the content types or the content encodings. */
  | {
      readonly kind: "unsupported-media-type";
      readonly accepted?: readonly string[];
      readonly acceptedEncodings?: readonly string[];
    }
  | { readonly kind: "idempotency-key-reused"; readonly idempotencyKey: string }
  | { readonly kind: "upgrade-required"; readonly protocols: readonly string[] }
  | {
      readonly kind: "channel-full";
      readonly retryAfterMs: number;
      readonly depth: number;
      readonly maxMessages: number;
      readonly bytes: number;
      readonly maxBytes: number;
      /** What is promised to puts that wait for their bodies, and of how many bytes; absent where nothing is. */
      readonly promisedMessages?: number;
      readonly promisedBytes?: number;
      /** Delayed messages, which count as well; absent where there is none. */
      readonly scheduled?: { readonly messages: number; readonly bytes: number };
    }
  | { readonly kind: "too-many-waiters"; readonly limit: number; readonly retryAfterMs: number }
  | { readonly kind: "too-many-connections"; readonly limit: number; readonly retryAfterMs: number }
  | { readonly kind: "too-many-subscriptions"; readonly limit: number; readonly retryAfterMs: number }
  | { readonly kind: "too-many-producers"; readonly limit: number; readonly retryAfterMs: number }
  | { readonly kind: "too-many-idempotency-keys"; readonly limit: number; readonly retryAfterMs: number }
  | { readonly kind: "storage-failed"; readonly outcome: "not-applied"; readonly retryAfterMs: number }
  | { readonly kind: "unavailable"; readonly outcome: "unknown" | "not-applied"; readonly retryAfterMs: number }
  | { readonly kind: "internal"; readonly outcome: "unknown" | "not-applied" };

/**
 * What is wrong with a page: it is none, or of another release; it is cut, or pages are missing at the end; it is not the one whose turn
 * it is; its hash is not that of its bytes and of the pages before it; its rows are none that a channel has.
 */
export type SnapshotFault = "not-a-snapshot" | "version" | "cut" | "order" | "hash" | "content";

/** A part of a call that was refused as a whole. On the wire `problem` is a whole problem. */
export interface RefusedPart {
  readonly pointer: string;
  readonly problem: Refusal;
}

/** Why a reader holds a lease no more. `settled`: the message ended, perhaps by this reader's earlier call. */
export type LeaseLossCause = "settled" | "expired" | "retried" | "released" | "predecessor" | "disconnected" | "superseded";

export type RefusalKind = Refusal["kind"];

interface ProblemType {
  readonly status: number;
  readonly title: string;
  readonly retry: Retry;
}

export const PROBLEM_TYPES: { readonly [Kind in RefusalKind]: ProblemType } = {
  "invalid-request": { status: 400, title: "The request is not valid", retry: "never" },
  "unsupported-version": { status: 400, title: "No common protocol version", retry: "never" },
  "unknown-frame": { status: 400, title: "Unknown frame type", retry: "never" },
  "request-in-use": { status: 409, title: "The request id is in use", retry: "never" },
  "promise-lost": { status: 409, title: "The promised room was given up", retry: "refetch" },
  unauthorized: { status: 401, title: "A valid bearer token is needed", retry: "never" },
  forbidden: { status: 403, title: "Not allowed", retry: "never" },
  "not-configured": { status: 503, title: "The deployment is not configured", retry: "never" },
  "unknown-channel": { status: 404, title: "No such channel", retry: "never" },
  "unknown-message": { status: 404, title: "No such message", retry: "never" },
  "unknown-checkpoint": { status: 404, title: "No such checkpoint", retry: "never" },
  "unknown-scheduled": { status: 404, title: "No such scheduled message", retry: "never" },
  "unknown-subscription": { status: 404, title: "No such subscription", retry: "never" },
  "resume-lost": { status: 409, title: "The place to resume from is another life's", retry: "never" },
  "taken-over": { status: 409, title: "Another subscription has taken the leases over", retry: "never" },
  "plain-reading-only": { status: 409, title: "The connection is for plain reading alone", retry: "never" },
  "unknown-redrive": { status: 404, title: "No redrive runs", retry: "never" },
  "redrive-running": { status: 409, title: "A redrive runs already", retry: "refetch" },
  "unknown-route": { status: 404, title: "No such route", retry: "never" },
  "method-not-allowed": { status: 405, title: "The method is not allowed here", retry: "never" },
  "invalid-lease": { status: 400, title: "Not a lease of this channel", retry: "never" },
  "lease-lost": { status: 409, title: "The lease is over", retry: "never" },
  "out-of-order": { status: 409, title: "An earlier message of the key is not settled", retry: "refetch" },
  "settle-refused": { status: 409, title: "Nothing was settled", retry: "refetch" },
  "unknown-group": { status: 404, title: "No such group", retry: "never" },
  "wrong-retention": { status: 409, title: "The channel's retention does not allow this", retry: "never" },
  "too-many-groups": { status: 409, title: "Too many groups", retry: "never" },
  "no-readers": { status: 409, title: "Nobody reads the channel", retry: "after" },
  "seek-out-of-range": { status: 416, title: "The offset is not in the channel", retry: "refetch" },
  "unknown-snapshot": { status: 404, title: "No such snapshot", retry: "never" },
  "unknown-restore": { status: 404, title: "No such restore", retry: "never" },
  "channel-exists": { status: 409, title: "The channel exists", retry: "never" },
  "settings-conflict": { status: 409, title: "The channel exists with other settings", retry: "refetch" },
  "too-many-checkpoints": { status: 409, title: "The channel has no room for the checkpoint", retry: "never" },
  "producer-sequence-gap": { status: 409, title: "A put of the producer is missing", retry: "refetch" },
  "stale-producer-epoch": { status: 409, title: "A newer epoch of the producer took over", retry: "never" },
  "producer-sequence-reused": { status: 409, title: "The number stands for another put", retry: "never" },
  "offset-conflict": { status: 409, title: "The channel is at another offset", retry: "refetch" },
  "already-there": { status: 409, title: "The channel is there already", retry: "never" },
  "channel-draining": { status: 410, title: "The channel is draining", retry: "never" },
  "channel-closed": { status: 410, title: "The channel is closed", retry: "never" },
  "channel-deleted": { status: 410, title: "The channel was deleted", retry: "never" },
  "checkpoint-conflict": { status: 412, title: "The checkpoint has another version", retry: "refetch" },
  "checkpoint-too-large": { status: 413, title: "The checkpoint is too large", retry: "never" },
  "message-too-large": { status: 413, title: "The message is too large", retry: "never" },
  "batch-too-large": { status: 413, title: "The batch is too large", retry: "never" },
  "request-too-large": { status: 413, title: "The request is too large", retry: "never" },
  "unsupported-media-type": { status: 415, title: "The content type or encoding is not accepted", retry: "never" },
  "idempotency-key-reused": { status: 422, title: "The idempotency key stands for another put", retry: "never" },
  "snapshot-invalid": { status: 422, title: "The snapshot cannot be restored", retry: "never" },
  "upgrade-required": { status: 426, title: "A WebSocket upgrade is needed", retry: "never" },
  "channel-full": { status: 429, title: "The channel is full", retry: "after" },
  "too-many-waiters": { status: 429, title: "Too many requests are waiting", retry: "after" },
  "too-many-connections": { status: 429, title: "Too many connections", retry: "after" },
  "too-many-subscriptions": { status: 429, title: "Too many subscriptions", retry: "after" },
  "too-many-producers": { status: 429, title: "Too many producers", retry: "after" },
  "too-many-idempotency-keys": { status: 429, title: "Too many idempotency keys", retry: "after" },
  "too-many-snapshots": { status: 429, title: "Another snapshot or restore is open", retry: "after" },
  "storage-failed": { status: 503, title: "The storage refused the write", retry: "after" },
  "channel-moving": { status: 503, title: "The channel is moving", retry: "after" },
  "jurisdiction-unavailable": { status: 422, title: "The runtime has no such jurisdiction", retry: "never" },
  unavailable: { status: 503, title: "The channel cannot be reached", retry: "after" },
  internal: { status: 500, title: "Internal error", retry: "refetch" },
};

/** An RFC 9457 problem: `type` ends in the kind, and the refusal's facts are extension members. */
export type Problem = Refusal & {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly retry: Retry;
};
