// What a route is, and what several of them share.
import * as v from "valibot";
import { count } from "./description.ts";
import type { RefusalKind } from "./problems.ts";
import { wholeNumber } from "./settings.ts";

/** A whole number in an address. */
export function numberText(min: number, max: number): v.GenericSchema<string, number> {
  return v.pipe(
    v.string(),
    v.regex(/^\d+$/, `Expected a whole number of at least ${min}`),
    // Hundreds of digits are a number too, though none that JavaScript has.
    v.transform((digits) => Math.min(Number(digits), Number.MAX_VALUE)),
    wholeNumber(min, max),
  );
}

export interface Reply {
  readonly description: string;
  /** Absent for bytes and for the upgrade. */
  readonly schema?: v.GenericSchema;
}

export interface Route {
  readonly method: "get" | "put" | "post" | "patch" | "delete";
  /** OpenAPI form: parameters in braces. */
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly query?: v.GenericSchema;
  /** A JSON body; `isBodyOptional` where an absent one means an empty object. */
  readonly body?: v.GenericSchema;
  readonly isBodyOptional?: boolean;
  /** The body may be a binary frame in place of JSON. */
  readonly mayBeFramed?: boolean;
  /** The reply is a binary frame in place of JSON where the request accepts that. */
  readonly hasFramedReply?: boolean;
  /** The body is the message itself. */
  readonly isMessageBody?: boolean;
  /** The body is the value of a checkpoint. */
  readonly isValueBody?: boolean;
  /** The body is a page of a snapshot. */
  readonly isPageBody?: boolean;
  /** Takes the headers `CONDITION_HEADERS` that make a put safe to send again. */
  readonly hasConditionHeaders?: boolean;
  readonly isPublic?: boolean;
  readonly hasStateHeaders?: boolean;
  readonly replies: Readonly<Record<string, Reply>>;
  /** Refusals besides those that every route can give. */
  readonly refusals: readonly RefusalKind[];
}

export const CHANNEL = "/v1/channels/{channel}";
export const GONE: readonly RefusalKind[] = ["unknown-channel", "channel-deleted"];
/** The members of every message, whether it has an offset or not. */
export const messageEntries = {
  putAtMs: count,
  contentType: v.string(),
  key: v.optional(v.string()),
  messageId: v.optional(v.string()),
  headers: v.optional(v.record(v.string(), v.string())),
  ttlMs: v.optional(count),
  json: v.optional(v.unknown()),
  text: v.optional(v.string()),
  base64: v.optional(v.string()),
};
export const messageSchema = v.object({ offset: count, ...messageEntries, redrivenFrom: v.optional(count) });
const controlSchema = v.object({
  offset: count,
  putAtMs: count,
  control: v.variant("type", [
    v.object({ type: v.literal("resize"), maxMessages: count, maxBytes: count }),
    v.object({ type: v.literal("close") }),
  ]),
});
export const takenEntries = { messages: v.array(messageSchema), controls: v.optional(v.array(controlSchema)) };
