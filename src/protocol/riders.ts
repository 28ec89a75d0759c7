// What rides on a settle call, taken out of its JSON form; a checkpoint is written alone in the same form.
import type * as v from "valibot";
import { accept, refuse, type Result } from "../base/result.ts";
import type { GivenCheckpointWrite } from "./checkpoint-frames.ts";
import { invalidRequest, type InvalidRequest } from "./fault.ts";
import type { riderEntries } from "./frames.ts";
import { parsePutMessage, type PutMessage } from "./message.ts";

type Given<Name extends keyof typeof riderEntries> = v.InferOutput<(typeof riderEntries)[Name]>;

/** A checkpoint to write, and what has to be there before: a version, anything or nothing. */
interface ParsedWrite {
  readonly name: string;
  readonly value: Uint8Array;
  readonly contentType: string;
  readonly ifMatch?: number | "present" | "absent";
}

interface Riders {
  readonly checkpoint?: ParsedWrite;
  readonly puts?: readonly PutMessage[];
}

export function parseRiders(
  { checkpoint, puts }: { readonly checkpoint?: Given<"checkpoint">; readonly puts?: Given<"puts"> },
  encode?: (text: string) => Uint8Array,
): Result<Riders, InvalidRequest> {
  const riders: { checkpoint?: ParsedWrite; puts?: PutMessage[] } = {};
  if (checkpoint !== undefined) {
    const parsed = parseCheckpointWrite(checkpoint, "/checkpoint");
    if (!parsed.ok) return parsed;
    riders.checkpoint = parsed.value;
  }
  if (puts !== undefined) {
    riders.puts = [];
    for (const [index, form] of puts.entries()) {
      const message = parsePutMessage(form, `/puts/${index}`, encode);
      if (!message.ok) return message;
      if (form.delayMs !== undefined || form.deliverAtMs !== undefined) {
        const member = form.delayMs === undefined ? "deliverAtMs" : "delayMs";
        return refuse(invalidRequest(`/puts/${index}/${member}`, "What rides on a settle call enters at once"));
      }
      riders.puts.push(message.value);
    }
  }
  return accept(riders);
}

/** `base` is the pointer of the form. */
export function parseCheckpointWrite(given: GivenCheckpointWrite, base: string): Result<ParsedWrite, InvalidRequest> {
  const { name, ifMatch, ifNoneMatch, ...form } = given;
  if (ifMatch !== undefined && ifNoneMatch !== undefined) {
    return refuse(invalidRequest(`${base}/ifNoneMatch`, "Expected either ifMatch or ifNoneMatch"));
  }
  // The value has the forms that the body of a message has.
  const parsed = parsePutMessage(form, base);
  if (!parsed.ok) return parsed;
  const { body, contentType } = parsed.value;
  const condition = ifNoneMatch === "*" ? "absent" : ifMatch === "*" ? "present" : ifMatch;
  return accept({ name, value: body, contentType, ...(condition !== undefined && { ifMatch: condition }) });
}
