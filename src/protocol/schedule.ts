// Delayed messages on the wire: when a message is to enter its channel, and the id by which it can be cancelled until then.
import * as v from "valibot";
import { accept, refuse, type Result } from "../base/result.ts";
import { invalidRequest, type InvalidRequest } from "./fault.ts";
import { LIMITS } from "./limits.ts";
import { wholeNumber } from "./settings.ts";

/** For so many milliseconds after it entered a message is worth handing out. */
export const ttlMsSchema = wholeNumber(LIMITS.ttlMsMin, LIMITS.ttlMsMax);
/** After so many milliseconds, counted from the decision on the put. 0 is at once. */
export const delayMsSchema = wholeNumber(0, LIMITS.delayMsMax);
/** At a point in time, in milliseconds since 1970. One that is over is at once; how far off it may be only the channel's clock tells. */
export const deliverAtMsSchema = wholeNumber(0, Number.MAX_SAFE_INTEGER);

/** Where in the order of becoming due a message stands; clients take it as it is. */
export const scheduledIdSchema = v.pipe(
  v.string("Expected a scheduledId"),
  v.regex(/^\d{1,15}-\d{1,15}$/, "Expected a scheduledId as the put answered it"),
);

/** That a message of a put enters later. */
export interface MessageDelay {
  /** The place of the message in its put, from 0. */
  readonly index: number;
  /** RFC 6901 pointer to what was given, for the refusal. */
  readonly pointer: string;
  readonly delay: { readonly afterMs: number } | { readonly atMs: number };
}

/** What a put answers about each of its messages that enters later. */
export interface ScheduledReceipt {
  readonly index: number;
  readonly scheduledId: string;
  readonly deliverAtMs: number;
}

export interface DelayJson {
  readonly delayMs?: number | undefined;
  readonly deliverAtMs?: number | undefined;
}

/** Takes the delay out of the JSON form of a message; undefined where there is none. `base` is the pointer of that form. */
export function parseDelay(form: DelayJson, index: number, base: string): Result<MessageDelay | undefined, InvalidRequest> {
  const { delayMs, deliverAtMs } = form;
  if (delayMs !== undefined && deliverAtMs !== undefined) {
    return refuse(invalidRequest(`${base}/deliverAtMs`, "Expected either delayMs or deliverAtMs"));
  }
  if (delayMs !== undefined) return accept({ index, pointer: `${base}/delayMs`, delay: { afterMs: delayMs } });
  if (deliverAtMs !== undefined) return accept({ index, pointer: `${base}/deliverAtMs`, delay: { atMs: deliverAtMs } });
  return accept(undefined);
}
