// Frames that several connections are sent of one commit: who stands at the same place, under the same id, is sent the same bytes.
import type { Delivered, Outcome } from "../channel/operation.ts";
import { selectionOf, type Selection } from "../channel/selection.ts";
import { formatBinaryReply } from "./binary-replies.ts";
import { formatReply } from "./reply-frames.ts";

type Frame = string | Uint8Array;

/** Of one commit, since what is said of the state is part of a frame. */
export class DeliveredFrames {
  readonly #frames = new Map<Selection, Map<string, Frame>>();

  /** The frame that answers request `id`; undefined where none is sent. `state` gives the JSON text of the state at the commit. */
  format(id: number, outcome: Outcome, isBinary: boolean, state: () => string): Frame | undefined {
    // What is leased is a reader's own.
    if (outcome.type !== "delivered" || outcome.granted !== undefined) return formatFrame(id, outcome, isBinary, state);
    return this.#formatShared(id, outcome, isBinary, state);
  }

  #formatShared(id: number, outcome: Delivered, isBinary: boolean, state: () => string): Frame | undefined {
    const selection = selectionOf(outcome);
    let ofSelection = this.#frames.get(selection);
    if (ofSelection === undefined) this.#frames.set(selection, (ofSelection = new Map()));
    const key = `${id} ${isBinary} ${outcome.resume ?? ""} ${outcome.gap?.fromOffset ?? ""}`;
    const known = ofSelection.get(key);
    if (known !== undefined) return known;
    const frame = formatFrame(id, outcome, isBinary, state);
    if (frame !== undefined) ofSelection.set(key, frame);
    return frame;
  }
}

function formatFrame(id: number, outcome: Outcome, isBinary: boolean, state: () => string): Frame | undefined {
  return (isBinary ? formatBinaryReply(id, outcome, state()) : undefined) ?? formatReply(id, outcome, state());
}
