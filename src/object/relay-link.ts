// The connection of a relay to its channel: an outgoing socket, over which it speaks the protocol as a client.
import type { LinkAsk, LinkFrame } from "../channel/relay/link-frames.ts";
import { splitBinaryFrame } from "../protocol/binary-frame.ts";
import { Block } from "../protocol/block.ts";
import type { ServerFrame } from "../protocol/frames.ts";
import type { ControlRecord } from "../protocol/message.ts";
import { parseResume } from "../protocol/stream-frames.ts";
import { PROTOCOL_VERSIONS } from "../protocol/version.ts";
import { logWarning } from "./log.ts";

type DeliverHead = Omit<Extract<ServerFrame, { type: "deliver" }>, "type" | "messages">;

interface LinkListener {
  /** `bytes`: of the frame. */
  readonly onFrame: (frame: LinkFrame, bytes: number) => void;
  /** Called once. */
  readonly onClose: () => void;
}

/** What is used of a socket that came with a reply. */
type LinkSocket = Pick<WebSocket, "accept" | "send" | "close" | "addEventListener" | "binaryType">;

export class RelayLink {
  readonly #socket: LinkSocket;
  readonly #listener: LinkListener;
  #isClosed = false;

  /** Greets; `socket` is not accepted yet. */
  constructor(socket: LinkSocket, listener: LinkListener) {
    this.#socket = socket;
    this.#listener = listener;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#receive(data as string | ArrayBuffer));
    socket.addEventListener("close", () => this.#end());
    socket.addEventListener("error", () => this.#end());
    socket.accept();
    this.#send({ type: "hello", versions: PROTOCOL_VERSIONS });
  }

  ask(frame: LinkAsk): void {
    this.#send(frame);
  }

  /** Nothing that comes later is heard. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close(1000, "Done");
  }

  #send(frame: object): void {
    if (!this.#isClosed) this.#socket.send(JSON.stringify(frame));
  }

  #receive(data: string | ArrayBuffer): void {
    if (this.#isClosed) return;
    try {
      const frame = typeof data === "string" ? (JSON.parse(data) as ServerFrame) : readDelivery(data);
      if (frame.type === "echo") this.#send(frame);
      const read = readLinkFrame(frame);
      if (read !== undefined) this.#listener.onFrame(read, typeof data === "string" ? data.length : data.byteLength);
    } catch (error) {
      // On a new link it begins where its readers stand.
      logWarning("relay-frame-failed", {}, error);
      this.#end();
    }
  }

  #end(): void {
    if (this.#isClosed) return;
    this.close();
    this.#listener.onClose();
  }
}

/** As a frame whose messages are blocks. Throws for what no channel sends. */
function readDelivery(data: ArrayBuffer): BlockFrame {
  const split = splitBinaryFrame(new Uint8Array(data));
  if (!split.ok) throw new TypeError(split.refusal);
  const blocks: Block[] = [];
  for (let rest = split.value.blocks; rest.byteLength > 0;) {
    const block = Block.parse(rest);
    if (!block.ok) throw new TypeError(block.refusal.detail);
    if (block.value.count > 0) blocks.push(block.value);
    rest = rest.subarray(block.value.byteLength);
  }
  return { ...(JSON.parse(split.value.head) as DeliverHead), type: "deliver", blocks };
}

interface BlockFrame extends DeliverHead {
  readonly type: "deliver";
  readonly blocks: readonly Block[];
}

/** Undefined for what a relay has no use for. */
function readLinkFrame(frame: ServerFrame | BlockFrame): LinkFrame | undefined {
  switch (frame.type) {
    case "subscribed": {
      const place = parseResume(frame.resume ?? "");
      return place && { type: "subscribed", id: frame.id, life: place.life, position: place.offset };
    }
    case "deliver": {
      const place = parseResume(frame.resume ?? "");
      const blocks = "blocks" in frame ? frame.blocks : [];
      const controls = (frame.controls ?? []) as readonly ControlRecord[];
      const messages = blocks.reduce((count, block) => count + block.count, 0);
      return (
        place && {
          type: "deliver",
          id: frame.id,
          page: { blocks, controls, gap: frame.gap, position: place.offset },
          size: { messages, bytes: frame.bytes },
          state: JSON.stringify(frame.state),
        }
      );
    }
    case "ended":
      return { type: "ended", id: frame.id, refusal: frame.problem };
    case "problem":
      return frame.inReplyTo === undefined ? undefined : { type: "refused", id: frame.inReplyTo, refusal: frame.problem };
    default:
      return undefined;
  }
}
