// Readers of a log as a load client plays them: each knows where it stands, which tells how many messages a frame brings it.
import type { WebSocket } from "ws";
import { BINARY_FRAME_TYPES } from "../../src/protocol/binary-frame.ts";
import { readAnswer, TEXT_1_KB } from "./product.ts";
import { ask, formatFrame } from "./ws-load.ts";

/** The most that a subscription can have, and when a reader grants what it used of it. */
const CREDIT = 10_000;
const CREDIT_INTERVAL = 2_000;
const SUBSCRIPTION = 1;
/** Of a frame, which hold what it says of itself beside its messages: at its end as JSON, at its start as a binary one. */
const EDGE_BYTES = 400;

/** Subscribes all of them from the first message on. `creditBytes`: of each; what the server takes for it by default. */
export async function subscribeAll(readers: readonly WebSocket[], creditBytes?: number): Promise<readonly ReaderPlace[]> {
  const credit = { messages: CREDIT, ...(creditBytes !== undefined && { bytes: creditBytes }) };
  const subscribe = JSON.stringify({ type: "subscribe", id: SUBSCRIPTION, from: { at: "first" }, credit });
  const answers = await Promise.all(readers.map((reader) => ask(reader, subscribe)));
  for (const answer of answers) readAnswer(answer, "subscribed");
  return readers.map((reader) => new ReaderPlace(reader));
}

/** Grants as many messages as it got, many at a time. */
export class ReaderPlace {
  readonly #socket: WebSocket;
  #nextOffset = 1;
  #granted = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** How many messages the frame brings. Parsing it all would take more of the bench's time than anything else it does. */
  advance(frame: Buffer): number {
    const isBinary = frame[0] === BINARY_FRAME_TYPES.deliver;
    const edge = isBinary ? frame.subarray(0, EDGE_BYTES) : frame.subarray(-EDGE_BYTES);
    const [, next] = /"resume":"[^".]+\.(\d+)"/u.exec(edge.toString("latin1")) ?? [];
    const count = Number(next) - this.#nextOffset;
    const isDelivery = isBinary || frame.toString("latin1", 0, 17) === '{"type":"deliver"';
    if (!(isDelivery && count > 0 && frame.length > count * TEXT_1_KB.length))
      throw new Error(`Expected messages, got ${formatFrame(frame)}`);
    this.#nextOffset += count;
    if (this.#nextOffset - this.#granted > CREDIT_INTERVAL) {
      this.#granted += CREDIT_INTERVAL;
      this.#socket.send(JSON.stringify({ type: "credit", id: SUBSCRIPTION, messages: CREDIT_INTERVAL }));
    }
    return count;
  }
}
