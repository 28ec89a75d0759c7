// Frames of streams: a connection subscribes, grants credit, and is sent messages as they come. SPEC section SB says what they do.
import * as v from "valibot";
import { isLongerThan } from "./bytes.ts";
import { leaseList } from "./lease-list.ts";
import type { LeaseEntry } from "./lease-run.ts";
import { LIMITS } from "./limits.ts";
import { headersSchema, keySchema } from "./message.ts";
import { groupNameSchema, OFFSET_MAX, readerNameSchema } from "./names.ts";
import { leaseMsSchema, wholeNumber } from "./settings.ts";
import type { Problem } from "./problems.ts";
import type { PressureState } from "./description.ts";
import { START_SCHEMAS } from "./start.ts";

const idSchema = wholeNumber(0, Number.MAX_SAFE_INTEGER);

/** More than a subscription may have counts as that. Without `bytes` the messages alone count. */
const creditSchema = v.strictObject({
  messages: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  bytes: v.optional(wholeNumber(0, Number.MAX_SAFE_INTEGER)),
});

export const filterSchema = v.pipe(
  v.strictObject({
    keys: v.optional(v.pipe(v.array(keySchema), v.minLength(1, "Expected at least one key"), v.maxLength(16))),
    headers: v.optional(headersSchema),
  }),
  v.check(
    (filter) => !isLongerThan(JSON.stringify(filter), LIMITS.filterBytesMax),
    `A filter has at most ${LIMITS.filterBytesMax} bytes of JSON`,
  ),
);

/** Which messages a plain reader wants; all of its members have to agree. */
export type MessageFilter = v.InferOutput<typeof filterSchema>;

/** Where a plain reader begins: an offset, the first record of a time, the first that is kept, what comes next, or where it was. */
const fromSchema = v.union(
  [...START_SCHEMAS, v.strictObject({ resume: v.pipe(v.string(), v.maxLength(LIMITS.resumeTokenCharsMax)) })],
  'Expected {"offset"}, {"timeMs"}, {"at":"first"}, {"at":"last"} or {"resume"}',
);

const subscribeSchema = v.strictObject({
  type: v.literal("subscribe"),
  id: idSchema,
  credit: creditSchema,
  /** A member of a group: */
  group: v.optional(groupNameSchema),
  leaseMs: v.optional(leaseMsSchema),
  reader: v.optional(readerNameSchema),
  /** Of one that comes back: what `subscribed` told. */
  resume: v.optional(v.pipe(v.string(), v.maxLength(LIMITS.resumeTokenCharsMax))),
  /** Of one that comes back: the leases that it knows of. */
  held: leaseList({}),
  /** A plain reader of a log: */
  from: v.optional(fromSchema),
  /** A plain reader of what passes through a channel that is no log. */
  tap: v.optional(v.literal(true)),
  filter: v.optional(filterSchema),
});

export const STREAM_FRAME_SCHEMAS = {
  subscribe: subscribeSchema,
  credit: v.strictObject({ type: v.literal("credit"), id: idSchema, ...creditSchema.entries }),
  unsubscribe: v.strictObject({ type: v.literal("unsubscribe"), id: idSchema }),
  /** Asks to be told when producers should slow down. */
  watch: v.strictObject({ type: v.literal("watch"), id: idSchema }),
  /** Asks to be told which readers there are, and who comes and goes. */
  presence: v.strictObject({ type: v.literal("presence"), id: idSchema }),
} as const;

export type SubscribeFrame = v.InferOutput<typeof subscribeSchema>;
export type GivenCredit = v.InferOutput<typeof creditSchema>;

/** What the server sends to subscribers. */
export type StreamFrame =
  /** `resume`: where a plain reader stands, or what names the leases of a member. */
  | { readonly type: "subscribed"; readonly id: number; readonly resume?: string }
  | {
      readonly type: "deliver";
      readonly id: number;
      readonly messages: readonly unknown[];
      /** Of all messages together, as credit counts them. */
      readonly bytes: number;
      readonly controls?: readonly unknown[];
      /** Of a member: until when it holds the messages. */
      readonly leaseUntilMs?: number;
      /** Records that a plain reader will never get, since retention gave them up before they were sent. */
      readonly gap?: StreamGap;
      readonly resume?: string;
      readonly state: PressureState;
    }
  /** To a member: leases that it is asked to release, as far as it has not begun with them. */
  | { readonly type: "revoke"; readonly id: number; readonly leases: readonly LeaseEntry[] }
  /** To who watches: the level, and the messages and bytes that still fit. */
  | {
      readonly type: "pressure";
      readonly id: number;
      readonly level: PressureLevel;
      readonly credit: { readonly messages: number; readonly bytes: number };
      readonly state: PressureState;
    }
  /** Nothing more is sent. Without a problem: as was asked for. */
  | { readonly type: "ended"; readonly id: number; readonly problem?: Problem };

/** What the server sends to who watches presence. */
export type PresenceFrame =
  /** How many readers there are: at once, and where changes cannot be told one by one. */
  | { readonly type: "present"; readonly id: number; readonly readers: number; readonly colos: readonly PresentColo[] }
  /** What a commit changed since the frame before. */
  | { readonly type: "presence"; readonly id: number; readonly changes: readonly PresenceChange[] };

/** Readers at a colo; null for those of which it is not known. */
export interface PresentColo {
  readonly colo: string | null;
  readonly readers: number;
}

/** `expiry`: the last that was left of it were leases, and their time was over. */
export interface PresenceChange {
  readonly change: "join" | "leave" | "expiry";
  readonly reader: string;
  readonly colo: string | null;
}

export type PressureLevel = "low" | "high";

export interface StreamGap {
  readonly fromOffset: number;
  readonly toOffset: number;
}

/** Names a place in one life of a channel, or the leases of a member. */
export function formatResume(life: string, place: number | string): string {
  return `${life}.${place}`;
}

/** The life and the session of a member that comes back. */
export function parseMemberResume(token: string): { readonly life: string; readonly session: string } | undefined {
  const { life, session } = /^(?<life>[^.]+)\.(?<session>[^.]+-[^.]+)$/u.exec(token)?.groups ?? {};
  return life === undefined || session === undefined ? undefined : { life, session };
}

export function parseResume(token: string): { readonly life: string; readonly offset: number } | undefined {
  const { life = "", offset = "" } = /^(?<life>[^.]+)\.(?<offset>[1-9]\d{0,14})$/u.exec(token)?.groups ?? {};
  return life === "" || Number(offset) > OFFSET_MAX ? undefined : { life, offset: Number(offset) };
}
