// What the frames of streams ask for: subscribe, credit, unsubscribe.
import { accept, refuse, type Result } from "../base/result.ts";
import type { StreamOperation, StreamTarget } from "../channel/operation.ts";
import type { ClientFrame } from "../protocol/frames.ts";
import { invalidRequest, type InvalidRequest } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { GivenCredit, SubscribeFrame } from "../protocol/stream-frames.ts";

type StreamRequest = Extract<ClientFrame, { type: StreamOperation["type"] }>;

/** `isRelay`: a relay asks. */
export function readStreamOperation(frame: StreamRequest, isRelay = false): Result<StreamOperation, InvalidRequest> {
  if (frame.type === "watch" || frame.type === "presence") return accept({ type: frame.type });
  if (frame.type === "unsubscribe") return accept({ type: "unsubscribe", request: frame.id });
  if (frame.type === "credit") return accept({ type: "credit", request: frame.id, credit: readCredit(frame) });
  const target = readTarget(frame, isRelay);
  return target.ok ? accept({ type: "subscribe", credit: readCredit(frame.credit), target: target.value }) : target;
}

/** Without bytes the messages alone count. */
function readCredit({ messages, bytes = LIMITS.creditBytesMax }: GivenCredit): { messages: number; bytes: number } {
  return { messages, bytes };
}

/** A member names a group or nothing, a plain reader where it begins; what belongs to the other is a mistake. */
function readTarget(frame: SubscribeFrame, isRelay: boolean): Result<StreamTarget, InvalidRequest> {
  const { group, leaseMs = LIMITS.leaseMsDefault, reader, resume, held, from, tap, filter } = frame;
  if (from === undefined && tap === undefined) {
    if (filter !== undefined)
      return refuse(invalidRequest("/filter", "A member of a group gets what its turn brings: expected none"));
    const named = { ...(group !== undefined && { group }), ...(reader !== undefined && { reader }) };
    if (resume === undefined && held !== undefined)
      return refuse(invalidRequest("/held", "Expected none without `resume`: a new member holds nothing"));
    const session = { ...(resume !== undefined && { resume }), ...(held !== undefined && { held }) };
    return accept({ type: "member", leaseMs, ...named, ...session });
  }
  const ofMember = (["group", "leaseMs", "reader", "resume", "held"] as const).find((name) => frame[name] !== undefined);
  if (ofMember !== undefined) return refuse(invalidRequest(`/${ofMember}`, "Expected none: a plain reader belongs to no group"));
  const wanted = { ...(filter !== undefined && { filter }), ...(isRelay && { isRelay }) };
  if (from === undefined) return accept({ type: "tap", ...wanted });
  if (tap !== undefined && isRelay) return accept({ type: "tap", from, ...wanted });
  if (tap !== undefined) return refuse(invalidRequest("/from", "Expected none: a tap begins with what comes next"));
  return accept({ type: "reader", from, ...wanted });
}
