// What can be asked of a channel and what it answers, whoever asks: an HTTP request, a socket or another worker.
import type { ChannelDescription } from "../protocol/description.ts";
import type { PutConditions } from "../protocol/dedup.ts";
import type { ControlRecord, Message, PutMessage } from "../protocol/message.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { ChannelPatch, GivenSettings } from "../protocol/settings.ts";

export type Operation =
  | { readonly type: "create"; readonly settings: GivenSettings }
  | { readonly type: "describe" }
  | { readonly type: "patch"; readonly patch: ChannelPatch }
  | { readonly type: "delete"; readonly graceMs: number }
  | PutOperation
  | { readonly type: "reserve"; readonly messages: number; readonly bytes: number; readonly waitMs?: number }
  | { readonly type: "get"; readonly max?: number; readonly min?: number; readonly waitMs?: number }
  | { readonly type: "browse"; readonly fromOffset: number; readonly limit: number }
  | { readonly type: "read"; readonly offset: number }
  | { readonly type: "remove"; readonly offset: number }
  | { readonly type: "remove-by-id"; readonly messageId: string }
  | { readonly type: "purge" }
  | { readonly type: "cancel"; readonly request: number };

interface PutOperation extends PutConditions {
  readonly type: "put";
  readonly messages: readonly PutMessage[];
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
  /** `offset` is null for a duplicate whose first outcome is not kept any more. */
  | { readonly type: "put"; readonly offset: number | null; readonly count: number; readonly isDuplicate?: true }
  | { readonly type: "got"; readonly messages: readonly Message[]; readonly controls: readonly ControlRecord[] }
  | { readonly type: "waiting" }
  | { readonly type: "room"; readonly reservedMs: number }
  | {
      readonly type: "page";
      readonly messages: readonly Message[];
      readonly controls: readonly ControlRecord[];
      readonly nextOffset: number | null;
    }
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "removed"; readonly offset: number }
  | { readonly type: "purged"; readonly removedMessages: number }
  | { readonly type: "cancelled" }
  | { readonly type: "refused"; readonly refusal: Refusal };

/** What the core knows of a channel; the object adds its name, connections and row counts. */
export type ChannelFacts = Omit<ChannelDescription, "channel" | "connections" | "rows">;

/** What cannot be computed: the time, and randomness. One for all operations of a drain. */
export interface Moment {
  readonly nowMs: number;
  /** A fresh random id, used if a channel is created. */
  readonly freshLife: string;
  /** Whether first use creates a channel. */
  readonly mayCreate: boolean;
}

/** An answer to a request that waited. */
export interface Effect extends Origin {
  readonly outcome: Outcome;
}
