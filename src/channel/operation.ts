// What can be asked of a channel and what it answers, whoever asks: an HTTP request, a socket or another worker.
import type { Checkpoint, CheckpointEntry } from "../protocol/checkpoint.ts";
import type { ChannelDescription, GroupDescription, RedriveDescription } from "../protocol/description.ts";
import type { PutConditions } from "../protocol/dedup.ts";
import type { Size } from "./admission.ts";
import type { PutBatch } from "./put-batch.ts";
import type { ChannelRecord } from "./store.ts";
import type { DeadLetter } from "./dead-letter-store.ts";
import type { DeadLetterFilter } from "./dead-letters.ts";
import type { LeaseEntry } from "../protocol/lease-run.ts";
import type { MessageHistory } from "../protocol/history.ts";
import type { ControlRecord, Message, PutMessage, ScheduledMessage } from "../protocol/message.ts";
import type { Place } from "../protocol/place.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { MessageDelay, ScheduledReceipt } from "../protocol/schedule.ts";
import type { ColoCount, ReaderDescription } from "../protocol/reader-routes.ts";
import type { MessageFilter, PresenceChange, PresentColo, PressureLevel, StreamGap } from "../protocol/stream-frames.ts";
import type { ChannelPatch, GivenDelivery, GivenSettings } from "../protocol/settings.ts";

export type Operation =
  | { readonly type: "create"; readonly settings: GivenSettings }
  | { readonly type: "describe" }
  | { readonly type: "patch"; readonly patch: ChannelPatch }
  | { readonly type: "delete"; readonly graceMs: number }
  | PutOperation
  | { readonly type: "reserve"; readonly messages: number; readonly bytes: number; readonly waitMs?: number }
  | {
      readonly type: "get";
      readonly max?: number;
      readonly min?: number;
      readonly waitMs?: number;
      /** How the messages are leased; absent for a get that removes at once. */
      readonly lease?: LeaseTerms;
      /** The only one of a queue if absent. */
      readonly group?: string;
      /** Where it was made, of one without a connection. */
      readonly place?: Place;
    }
  | GroupOperation
  | {
      readonly type: "settle";
      readonly entries: readonly SettleEntry[];
      /** With riders the call is carried out as a whole or not at all. */
      readonly checkpoint?: CheckpointWrite;
      readonly puts?: readonly PutMessage[];
      /** Where it came from, for `puts`. */
      readonly source?: string;
    }
  | { readonly type: "dead-letters"; readonly fromOffset: number; readonly limit: number; readonly filter: DeadLetterFilter }
  | { readonly type: "quarantine"; readonly group?: string; readonly limit: number }
  | {
      readonly type: "release-quarantine" | "drop-quarantine";
      readonly group?: string;
      readonly offset?: number;
      readonly key?: string;
    }
  | {
      readonly type: "redrive";
      readonly fromOffset: number;
      readonly max: number;
      readonly filter: DeadLetterFilter;
      /** Begins a job that moves all, so many a second; `max` says nothing then. */
      readonly ratePerSecond?: number;
    }
  | { readonly type: "stop-redrive" }
  | { readonly type: "drop-dead-letters"; readonly fromOffset: number; readonly max: number; readonly filter: DeadLetterFilter }
  | ListReadersOperation
  | { readonly type: "browse"; readonly fromOffset: number; readonly limit: number }
  | { readonly type: "read"; readonly offset: number }
  | { readonly type: "history"; readonly offset: number }
  | { readonly type: "remove"; readonly offset: number }
  | { readonly type: "remove-by-id"; readonly messageId: string }
  | { readonly type: "purge" }
  | CheckpointOperation
  | SnapshotOperation
  | RestoreOperation
  | { readonly type: "list-scheduled"; readonly after?: string; readonly limit: number }
  | { readonly type: "cancel-scheduled"; readonly scheduledId: string }
  | { readonly type: "cancel"; readonly request: number }
  | StreamOperation;

/** Streams (SPEC SB); only a connection can ask for one. */
export type StreamOperation =
  | { readonly type: "subscribe"; readonly credit: Size; readonly target: StreamTarget }
  | { readonly type: "credit"; readonly request: number; readonly credit: Size }
  | { readonly type: "unsubscribe"; readonly request: number }
  /** Asks to be told when the level of pressure changes (SPEC BP). */
  | { readonly type: "watch" }
  /** Asks to be told which readers there are, and who comes and goes (SPEC RG7). */
  | { readonly type: "presence" };

export interface MemberTarget {
  readonly type: "member";
  readonly group?: string;
  readonly leaseMs: number;
  readonly reader?: string;
  /** What an earlier subscription was told, whose leases it takes over. */
  readonly resume?: string;
  /** Those of them that it knows of; all of them where it does not say. */
  readonly held?: readonly LeaseEntry[];
}

/** A member of a group, a plain reader of a log, or one of what passes through another channel. */
export type StreamTarget =
  | MemberTarget
  | { readonly type: "reader"; readonly from: StreamStart; readonly filter?: MessageFilter; readonly isRelay?: true }
  /** `from`: of a relay alone; what comes next if absent. */
  | { readonly type: "tap"; readonly from?: StreamStart; readonly filter?: MessageFilter; readonly isRelay?: true };

/** `resume`: a place that an earlier subscription was told. */
export type StreamStart = GroupStart | { readonly resume: string };

/** Shows readers and producers (SPEC RG); `after`: the mark of a page before. */
export interface ListReadersOperation {
  readonly type: "list-readers";
  readonly after?: string;
  readonly limit: number;
  readonly colo?: string;
  readonly group?: string;
  readonly role?: ReaderDescription["role"];
}

export type GroupOperation =
  | { readonly type: "list-groups"; readonly after?: string; readonly limit: number }
  | { readonly type: "describe-group" | "delete-group"; readonly group: string }
  | {
      readonly type: "create-group";
      readonly group: string;
      readonly settings: GivenDelivery;
      /** After how long without a reader it ends by itself; never if absent. */
      readonly expireAfterIdleMs?: number;
      readonly start?: GroupStart;
    }
  | { readonly type: "change-group"; readonly group: string; readonly settings?: GivenDelivery; readonly isPaused?: boolean }
  | { readonly type: "seek-group"; readonly group: string; readonly to: GroupStart };

/** An offset, the first record that was put at a time or later, the first that is kept, or what comes next. */
export type GroupStart = { readonly offset: number } | { readonly timeMs: number } | { readonly at: "first" | "last" };

/** `isDetached`: the leases outlive the connection that asks. */
export interface LeaseTerms {
  readonly leaseMs: number;
  readonly isDetached: boolean;
  /** What the reader calls itself, for the history of what it is given. */
  readonly reader?: string;
}

interface SettleEntryBase {
  readonly leaseId: string;
  /** With more than 1 also the leases of the next offsets, so many in all (rule LS14). Default: 1. */
  readonly count?: number | undefined;
  /** Where the id stands in the request, for a refusal. */
  readonly pointer: string;
}

/** What a reader says of a message that it holds, or of several in a row. */
export type SettleEntry = SettleEntryBase &
  (
    | { readonly verb: "ack" | "release" }
    | { readonly verb: "retry"; readonly delayMs?: number | undefined; readonly reason?: string | undefined }
    | { readonly verb: "extend"; readonly leaseMs: number }
    | { readonly verb: "reject"; readonly reason?: string | undefined }
  );

export interface RefusedEntry {
  readonly pointer: string;
  readonly refusal: Refusal;
}

export type SettleVerb = SettleEntry["verb"];
export type CheckpointOperation =
  | { readonly type: "list-checkpoints"; readonly after?: string; readonly prefix?: string; readonly limit: number }
  | { readonly type: "read-checkpoint"; readonly name: string }
  | { readonly type: "write-checkpoint"; readonly write: CheckpointWrite }
  | { readonly type: "delete-checkpoint"; readonly name: string; readonly ifMatch?: CheckpointCondition };

export type SnapshotOperation =
  | { readonly type: "begin-snapshot" }
  /** Pages count from 1. The one that was read last may be read again. `bytesMax`: what it may have, or one row (`snapshotPageBytes`). */
  | { readonly type: "read-snapshot"; readonly snapshotId: string; readonly page: number; readonly bytesMax?: number }
  | { readonly type: "end-snapshot"; readonly snapshotId: string };

export type RestoreOperation =
  | { readonly type: "begin-restore" }
  | { readonly type: "stage-page"; readonly restoreId: string; readonly page: number; readonly bytes: Uint8Array }
  /** `record`: of a channel that moves, whose life goes on. */
  | { readonly type: "commit-restore"; readonly restoreId: string; readonly record?: ChannelRecord }
  | { readonly type: "abort-restore"; readonly restoreId: string };

/** A write of a checkpoint, alone or beside others. */
export interface CheckpointWrite {
  readonly name: string;
  readonly value: Uint8Array;
  readonly contentType: string;
  /** What has to be there before; anything if absent. */
  readonly ifMatch?: CheckpointCondition;
}

/** The version that a checkpoint has to have, or whether it has to exist. */
export type CheckpointCondition = number | "present" | "absent";

interface PutOperation extends PutConditions {
  readonly type: "put";
  readonly messages: PutBatch;
  /** Where it came from (protocol/source.ts), without the producer. */
  readonly source?: string;
  /** Those of its messages that enter later; of messages one by one. */
  readonly delays?: readonly MessageDelay[];
  readonly waitMs?: number;
  readonly isPromised?: boolean;
}

export type OperationOf<Type extends Operation["type"]> = Extract<Operation, { type: Type }>;

/** Who asks, for requests that can wait: only a connection can be told later. */
export interface Origin {
  readonly connection: number;
  readonly request: number;
}

/** Outcomes that describe the channel. */
type Described = {
  [Type in "created" | "confirmed" | "described" | "patched" | "deleting"]: { readonly type: Type; readonly facts: ChannelFacts };
};

export type Outcome =
  | Described[keyof Described]
  | { readonly type: "deleted"; readonly droppedMessages: number }
  | {
      readonly type: "put";
      /** Of the first message that entered at once; null when none did, or for a duplicate whose first outcome is not kept any more. */
      readonly offset: number | null;
      /** Messages that entered at once. */
      readonly count: number;
      /** Those that enter later, where there are any; not kept for duplicates. */
      readonly scheduled?: readonly ScheduledReceipt[];
      /** It was accepted before, and this is what came of it then. */
      readonly isDuplicate?: true;
    }
  | {
      readonly type: "got";
      readonly messages: readonly Message[];
      readonly controls: readonly ControlRecord[];
      /** The leases of the messages; absent for a get that removed them. */
      readonly granted?: GrantedLeases;
    }
  | {
      readonly type: "settled";
      readonly counts: Readonly<Record<SettleVerb, number>>;
      /** Entries that were not accepted, by their pointer in the request. */
      readonly refused: readonly RefusedEntry[];
      readonly checkpoint?: CheckpointEntry;
      readonly put?: { readonly offset: number; readonly count: number };
    }
  | {
      readonly type: "readers";
      readonly readers: readonly ReaderDescription[];
      readonly colos: readonly ColoCount[];
      readonly next: string | null;
    }
  | { readonly type: "group"; readonly description: GroupDescription }
  | { readonly type: "group-created"; readonly description: GroupDescription }
  | { readonly type: "groups"; readonly groups: readonly GroupDescription[]; readonly next: string | null }
  | { readonly type: "group-deleted"; readonly group: string }
  | { readonly type: "quarantine"; readonly messages: readonly QuarantinedMessage[] }
  | { readonly type: "dead-letter-page"; readonly letters: readonly DeadLetter[]; readonly nextOffset: number | null }
  /** `nextOffset`: where the search for more goes on. */
  | { readonly type: "moved"; readonly moved: number; readonly isMore: boolean; readonly nextOffset?: number }
  /** A job that began or was stopped. */
  | { readonly type: "redrive-job"; readonly job: RedriveDescription }
  | { readonly type: "waiting" }
  | { readonly type: "room"; readonly reservedMs: number }
  | {
      readonly type: "page";
      readonly messages: readonly Message[];
      readonly controls: readonly ControlRecord[];
      readonly nextOffset: number | null;
    }
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "history"; readonly history: MessageHistory }
  | { readonly type: "removed"; readonly offset: number }
  | { readonly type: "purged"; readonly removedMessages: number }
  | { readonly type: "checkpoints"; readonly checkpoints: readonly CheckpointEntry[]; readonly next: string | null }
  | { readonly type: "checkpoint"; readonly checkpoint: Checkpoint }
  | { readonly type: "checkpoint-written"; readonly checkpoint: CheckpointEntry; readonly isCreated: boolean }
  /** With the version that it had. */
  | { readonly type: "checkpoint-deleted"; readonly name: string; readonly version: number }
  | { readonly type: "scheduled-page"; readonly messages: readonly ScheduledMessage[]; readonly next: string | null }
  | { readonly type: "unscheduled"; readonly scheduledId: string }
  | { readonly type: "snapshot-begun"; readonly snapshotId: string }
  /** `sha256` is over this page and all before it, in hex. */
  | {
      readonly type: "snapshot-page";
      readonly page: number;
      readonly bytes: Uint8Array;
      readonly isLast: boolean;
      readonly sha256: string;
    }
  | { readonly type: "snapshot-ended"; readonly snapshotId: string }
  | { readonly type: "restore-begun"; readonly restoreId: string }
  | { readonly type: "restored"; readonly restoreId: string }
  | { readonly type: "restore-aborted"; readonly restoreId: string }
  | { readonly type: "page-staged"; readonly page: number; readonly isLast: boolean }
  | { readonly type: "cancelled" }
  /** `resume`: where a plain reader stands, or what names the leases of a member. */
  | { readonly type: "subscribed"; readonly resume?: string }
  | { readonly type: "credited" }
  | Delivered
  /** To a member: leases that it is asked to release. */
  | { readonly type: "revoke"; readonly leases: readonly LeaseEntry[] }
  /** `credit`: what still fits. */
  | { readonly type: "pressure"; readonly level: PressureLevel; readonly credit: Size }
  /** Who is there: how many readers in all, and at each colo; null for those of which it is not known. */
  | { readonly type: "present"; readonly readers: number; readonly colos: readonly PresentColo[] }
  | { readonly type: "presence"; readonly changes: readonly PresenceChange[] }
  /** A stream that was ended, by its reader or with the refusal as the reason. */
  | { readonly type: "ended"; readonly refusal?: Refusal }
  | { readonly type: "refused"; readonly refusal: Refusal };

/** What a subscriber is sent. */
export interface Delivered extends StreamPage {
  readonly type: "delivered";
  /** Of all messages, as taken off the credit. */
  readonly bytes: number;
  /** Of a member. */
  readonly granted?: GrantedLeases;
  /** Of a plain reader: where it stands now, and what it will never get. */
  readonly resume?: string;
  readonly gap?: StreamGap;
}

/** Readers at the same place share one. */
interface StreamPage {
  readonly messages: readonly Message[];
  readonly controls: readonly ControlRecord[];
}

export interface QuarantinedMessage {
  readonly message: Message;
  readonly attempts: number;
}

/** One entry for each message, in their order. */
export interface GrantedLeases {
  /** Made when they are first asked for: where all leases are named together nobody does. */
  readonly leaseIds: readonly string[];
  /** Names the holder of them all, as `LeaseSealer.formatSession` does; undefined where there are none. */
  readonly session: string | undefined;
  readonly attempts: readonly number[];
  /** Whether the message may have been handed out before. */
  readonly redelivered: readonly boolean[];
  readonly leaseUntilMs: number;
}

/** What the core knows of a channel; the object adds its name, connections and row counts. */
export type ChannelFacts = Omit<ChannelDescription, "channel" | "connections" | "place" | "relays" | "rows">;

/** What cannot be computed: the time, and randomness. One for all operations of a drain. */
export interface Moment {
  readonly nowMs: number;
  /** Draws the id of a new life, which no other has had. Most commits need none. */
  readonly drawLife: () => string;
  /** Whether first use creates a channel. */
  readonly mayCreate: boolean;
  /** Draws 32 random bits that nobody can guess, as a whole number from 0. */
  readonly draw32: () => number;
  /** Set where a commit failed and its operations are applied one by one: nothing is done that was not asked for (rule SD6). */
  readonly isRecovering?: boolean;
}

/** An answer to a request that waited. */
export interface Effect extends Origin {
  readonly outcome: Outcome;
}
