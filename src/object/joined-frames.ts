// The frames of one commit. Those of a connection that asked for it are joined: sending one costs more than what is in it.
import { LIMITS } from "../protocol/limits.ts";

/** What sends the frames: the sockets of the channel. */
export interface FrameSink {
  joinsFrames(connection: number): boolean;
  send(connection: number, frame: string | Uint8Array): void;
}

interface Joining {
  readonly frames: string[];
  chars: number;
}

/** Takes the frames of one commit in their order; none is left behind once `flush` was called. */
export class JoinedFrames {
  readonly #sink: FrameSink;
  readonly #joining = new Map<number, Joining>();

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Text is joined; bytes go by themselves, behind the text before them. */
  send(connection: number, frame: string | Uint8Array): void {
    if (!this.#sink.joinsFrames(connection)) {
      this.#sink.send(connection, frame);
      return;
    }
    const joining = this.#joining.get(connection);
    if (typeof frame !== "string") {
      if (joining !== undefined) this.#flush(connection, joining);
      this.#sink.send(connection, frame);
    } else if (joining === undefined) this.#joining.set(connection, { frames: [frame], chars: frame.length });
    else {
      if (joining.chars + frame.length > LIMITS.joinedFrameCharsMax) this.#flush(connection, joining);
      joining.frames.push(frame);
      joining.chars += frame.length;
    }
  }

  flush(): void {
    for (const [connection, joining] of this.#joining) this.#flush(connection, joining);
    this.#joining.clear();
  }

  #flush(connection: number, joining: Joining): void {
    const { frames } = joining;
    if (frames.length === 0) return;
    const [first = ""] = frames;
    this.#sink.send(connection, frames.length === 1 ? first : `{"type":"joined","frames":[${frames.join(",")}]}`);
    frames.length = 0;
    joining.chars = 0;
  }
}
