// The subscriptions of one connection: what comes for each goes to its listener.
import type { LeaseEntry } from "../protocol/lease-run.ts";
import type { MessageFilter, PresenceFrame, StreamFrame } from "../protocol/stream-frames.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";

/** Messages, and their bytes as a channel counts them (SPEC PT6). */
export interface Credit {
  readonly messages: number;
  readonly bytes: number;
}

/** Where a plain reader of a log begins: an offset, the first record of a time, the first that is kept, or what comes next. */
export type StreamStart = { readonly offset: number } | { readonly timeMs: number } | { readonly at: "first" | "last" };

/** What is read: as a member of a group, from a place of a log, or as a tap. */
export interface SubscribeRequest {
  readonly credit: Credit;
  readonly group?: string | undefined;
  readonly leaseMs?: number | undefined;
  readonly reader?: string | undefined;
  /** Of a member that comes back to its leases: what it was told last. */
  readonly resume?: string | undefined;
  /** With `resume`: the leases that have arrived and are not known to be settled. Without it all of them stay as they are. */
  readonly held?: readonly LeaseEntry[] | undefined;
  readonly from?: StreamStart | { readonly resume: string } | undefined;
  readonly tap?: true | undefined;
  readonly filter?: MessageFilter | undefined;
}

/** Asks which readers there are, in place of messages. */
export interface PresenceRequest {
  readonly type: "presence";
}

/** How much a channel has to do, and what still fits. */
export type Pressure = Pick<Extract<StreamFrame, { type: "pressure" }>, "level" | "credit">;
export type PressureListener = (pressure: Pressure) => void;

export type StreamedFrame = DeliverFrame | PresenceFrame;
export type DeliverFrame = Extract<StreamFrame, { type: "deliver" }>;

/** `Frame`: what is asked for. */
export interface StreamListener<Frame extends StreamedFrame = DeliverFrame> {
  /** The server has begun; a plain reader of a log is told where, a member how to come back to its leases. */
  onBegin(resume: string | undefined): void;
  onDeliver(frame: Frame): void;
  /** Of a member: others wait for these. Those that it has not begun with it should release. */
  onRevoke?(leases: readonly LeaseEntry[]): void;
  /** Nothing more comes. Without an error: as was asked for. */
  onEnd(error: EdgeChannelError | undefined): void;
}

/** Does nothing once the subscription has ended. */
export interface StreamHandle {
  /** Lets so much more be sent. */
  grant(credit: Credit): void;
  /** Asks for the end; `onEnd` follows. */
  end(): void;
}

export class SocketStreams {
  readonly #listeners = new Map<number, StreamListener<StreamedFrame>>();
  readonly #send: (text: string) => void;

  constructor(send: (text: string) => void) {
    this.#send = send;
  }

  begin(id: number, text: string, listener: StreamListener<StreamedFrame>): StreamHandle {
    this.#listeners.set(id, listener);
    this.#send(text);
    const tell = (frame: object): void => {
      if (this.#listeners.has(id)) this.#send(JSON.stringify({ ...frame, id }));
    };
    return { grant: (credit) => tell({ type: "credit", ...credit }), end: () => tell({ type: "unsubscribe" }) };
  }

  receive(frame: Exclude<StreamFrame, { type: "pressure" }> | PresenceFrame): void {
    if (frame.type === "ended") return this.end(frame.id, frame.problem && EdgeChannelError.fromProblem(frame.problem));
    const listener = this.#listeners.get(frame.id);
    if (frame.type === "subscribed") listener?.onBegin(frame.resume);
    else if (frame.type === "revoke") listener?.onRevoke?.(frame.leases);
    else listener?.onDeliver(frame);
  }

  end(id: number, error: EdgeChannelError | undefined): void {
    const listener = this.#listeners.get(id);
    this.#listeners.delete(id);
    listener?.onEnd(error);
  }

  endAll(error: EdgeChannelError): void {
    for (const id of this.#listeners.keys()) this.end(id, error);
  }
}
