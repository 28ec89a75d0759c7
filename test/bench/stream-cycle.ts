// What a batch goes through on a stream: put as a whole, sent to a member of the group, acked as a whole, all on one socket.
import type { WebSocket } from "ws";
import { formatFrame, onFrame } from "./ws-load.ts";

export interface StreamCycleOptions {
  readonly text: string;
  readonly count: number;
  /** Members of put `index`, from 0, which tell a producer's puts apart. */
  readonly putMembers?: (index: number) => object;
}

interface Frame {
  readonly type: string;
  readonly id?: number;
  readonly messages?: readonly { readonly leaseId: string }[];
  readonly acked?: number;
  /** Those of a joined frame. */
  readonly frames?: readonly Frame[];
}

const STREAM = 1;
const EXPECTED: ReadonlySet<string> = new Set(["subscribed", "put-ok", "deliver", "settled"]);
const FRAME_TIMEOUT_MS = 15_000;

export class StreamCycle {
  readonly #socket: WebSocket;
  readonly #options: StreamCycleOptions;
  readonly #messages: string;
  readonly #received: Frame[] = [];
  #next = nextFrame();
  #index = 0;
  #lastId = STREAM;

  constructor(socket: WebSocket, options: StreamCycleOptions) {
    this.#socket = socket;
    this.#options = options;
    onFrame(socket, (frame) => this.#note(frame));
    socket.on("close", () => {
      this.#next.reject(new Error("The socket closed"));
    });
    this.#messages = JSON.stringify(Array.from({ length: options.count }, () => ({ text: options.text })));
  }

  async subscribe(): Promise<void> {
    this.#send({ type: "subscribe", id: STREAM, credit: { messages: this.#options.count } });
    await this.#receive("subscribed");
  }

  /** Puts, is sent and acks one batch; rejects when any step did not take all of it. */
  async run(): Promise<void> {
    const { count, putMembers } = this.#options;
    const put = JSON.stringify({ type: "put-batch", id: this.#nextId(), ...putMembers?.(this.#index++) });
    this.#socket.send(`${put.slice(0, -1)},"messages":${this.#messages}}`);
    await this.#receive("put-ok");
    const acks: { readonly leaseId: string }[] = [];
    while (acks.length < count) {
      const { messages = [] } = await this.#receive("deliver");
      acks.push(...messages.map(({ leaseId }) => ({ leaseId })));
    }
    this.#send({ type: "settle", id: this.#nextId(), acks });
    this.#send({ type: "credit", id: STREAM, messages: count });
    const { acked } = await this.#receive("settled");
    if (acked !== count) throw new Error(`Expected ${count} messages to be acked, not ${acked}`);
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  #send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  #note(data: Buffer): void {
    const frame = JSON.parse(data.toString()) as Frame;
    const frames = frame.frames ?? [frame];
    this.#received.push(...frames);
    const isGood = frames.every((one) => EXPECTED.has(one.type));
    if (isGood) this.#next.resolve();
    else this.#next.reject(new Error(`Expected ${[...EXPECTED].join(", ")}, got ${formatFrame(data)}`));
  }

  /** The first frame of this type; the others are kept. */
  async #receive(type: string): Promise<Frame> {
    for (;;) {
      const place = this.#received.findIndex((frame) => frame.type === type);
      const [found] = place < 0 ? [] : this.#received.splice(place, 1);
      if (found !== undefined) return found;
      const next = this.#next;
      const timer = setTimeout(() => next.reject(new Error(`No ${type} came for ${FRAME_TIMEOUT_MS} ms`)), FRAME_TIMEOUT_MS);
      await next.promise.finally(() => clearTimeout(timer));
      this.#next = nextFrame();
    }
  }
}

/** Of a socket that closes when nobody waits for a frame nothing is said. */
function nextFrame(): PromiseWithResolvers<void> {
  const next = Promise.withResolvers<void>();
  next.promise.catch(() => undefined);
  return next;
}
