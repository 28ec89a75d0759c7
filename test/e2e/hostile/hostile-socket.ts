// A WebSocket that sends anything and collects what comes back up to a fence: a question whose answer shows that all before was handled.
import { once } from "node:events";
import { WebSocket } from "ws";
import { SUBPROTOCOL_JSON } from "../../../src/protocol/version.ts";
import { readServerFrame } from "../../binary-frames.ts";

const TIMEOUT_MS = 15_000;
/** Ids of fences lie above those of the frames under test. */
const FENCE_ID_MIN = 8_000_000_000_000;

export interface ReceivedFrame {
  readonly type: string;
  readonly id?: number;
  readonly inReplyTo?: number;
  readonly [member: string]: unknown;
}

export interface Collected {
  /** What came before the fence's answer, in order. */
  readonly frames: readonly ReceivedFrame[];
  /** The fence's answer: `stats` or a problem. Absent when the connection ended, or nothing came in time. */
  readonly answer?: ReceivedFrame;
  readonly closeCode?: number;
}

export class HostileSocket {
  readonly #socket: WebSocket;
  #frames: ReceivedFrame[] = [];
  #closeCode: number | undefined;
  #onChange: (() => void) | undefined;
  #nextFence = FENCE_ID_MIN;

  private constructor(address: string, subprotocol: string) {
    this.#socket = new WebSocket(address, subprotocol, { perMessageDeflate: false });
    this.#socket.on("error", () => undefined);
    this.#socket.on("message", (data: Buffer, isBinary: boolean) => {
      const frame = readServerFrame(isBinary ? new Uint8Array(data).buffer : data.toString()) as ReceivedFrame;
      if (frame.type === "echo") this.#socket.send(data.toString());
      else this.#frames.push(frame);
      this.#onChange?.();
    });
    this.#socket.on("close", (code) => {
      this.#closeCode = code;
      this.#onChange?.();
    });
  }

  /** `isGreeted`: says hello and takes the welcome. */
  static async open(
    port: number,
    channel: string,
    isGreeted: boolean,
    subprotocol: string = SUBPROTOCOL_JSON,
  ): Promise<HostileSocket> {
    const socket = new HostileSocket(`ws://127.0.0.1:${port}/v1/channels/${channel}/socket`, subprotocol);
    await once(socket.#socket, "open", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (isGreeted) await socket.greet();
    return socket;
  }

  get isOpen(): boolean {
    return this.#closeCode === undefined;
  }

  send(data: string | Uint8Array, options: { fin?: boolean } = {}): void {
    this.#socket.send(data, options);
  }

  /** Says hello; all frames up to the welcome, and with it as the answer. */
  greet(): Promise<Collected> {
    this.#socket.send('{"type":"hello","versions":[1]}');
    return this.#collectUntil((frame) => frame.type === "welcome");
  }

  /** Asks for the channel's description and collects everything up to the answer. */
  fence(): Promise<Collected> {
    const id = this.#nextFence++;
    this.#socket.send(JSON.stringify({ type: "stats", id }));
    return this.#collectUntil((frame) => frame.id === id || frame.inReplyTo === id);
  }

  /** Collects until the server has closed the connection. */
  untilClosed(): Promise<Collected> {
    return this.#collectUntil(() => false);
  }

  /** Closes the connection, and resolves when the server has answered. */
  async close(): Promise<void> {
    if (!this.isOpen) return;
    const closed = once(this.#socket, "close");
    this.#socket.close(1000);
    await closed;
  }

  /** Ends the connection without a word, and resolves when this side is done with it. */
  async drop(): Promise<void> {
    if (!this.isOpen) return;
    const closed = once(this.#socket, "close");
    this.#socket.terminate();
    await closed;
  }

  #collectUntil(isAnswer: (frame: ReceivedFrame) => boolean): Promise<Collected> {
    return new Promise((resolve) => {
      const finish = (collected: Collected): void => {
        clearTimeout(timer);
        this.#onChange = undefined;
        resolve(collected);
      };
      const look = (): void => {
        const at = this.#frames.findIndex(isAnswer);
        const answer = this.#frames[at];
        if (answer !== undefined) finish({ frames: this.#frames.splice(0, at + 1).slice(0, -1), answer });
        else if (this.#closeCode !== undefined) finish({ frames: this.#frames.splice(0), closeCode: this.#closeCode });
      };
      const timer = setTimeout(() => finish({ frames: this.#frames.splice(0) }), TIMEOUT_MS);
      this.#onChange = look;
      look();
    });
  }
}
