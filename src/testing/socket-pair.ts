// A WebSocket in memory: the end that a program holds, and the one that the object of a channel holds.
import type { WebSocketLike } from "../client/open-socket.ts";

export type Frame = string | ArrayBuffer;

/** Calls back in a turn of its own. */
type Soon = (callback: () => void) => void;

export interface SocketPairOptions {
  readonly soon: Soon;
  /** A frame has reached the object. */
  readonly onFrame: (frame: Frame) => void;
  /** The object hears that the connection is over; uncleanly when it was cut. */
  readonly onClose: (code: number, wasClean: boolean) => void;
  /** Whether the connection breaks in the place of this frame of the object. */
  readonly breaksAt: (frame: Frame) => boolean;
}

const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;
const CODE_NORMAL = 1000;
const CODE_CUT = 1006;

export class SocketPair {
  readonly program: ProgramEnd;
  readonly object: ObjectEnd;
  readonly #options: SocketPairOptions;
  readonly #toProgram: Wire;
  readonly #toObject: Wire;

  constructor(options: SocketPairOptions) {
    this.#options = options;
    this.#toProgram = new Wire(options.soon);
    this.#toObject = new Wire(options.soon);
    this.program = new ProgramEnd({
      send: (frame) => this.#toObject.send(() => options.onFrame(frame)),
      close: (code) => this.#toObject.send(() => options.onClose(code, true)),
    });
    this.object = new ObjectEnd({
      send: (frame) => this.#sendToProgram(frame),
      close: (code, reason) => this.#toProgram.send(() => this.program.end(code, reason)),
    });
  }

  /** What is under way is lost; both ends hear of it. */
  cut(): void {
    const { program, object } = this;
    if (program.readyState === CLOSED || object.readyState === CLOSED) return;
    this.#toProgram.cut();
    this.#toObject.cut();
    object.readyState = CLOSED;
    this.#toProgram.send(() => program.end(CODE_CUT, ""));
    this.#toObject.send(() => this.#options.onClose(CODE_CUT, false));
  }

  #sendToProgram(frame: Frame): void {
    if (this.#options.breaksAt(frame)) this.cut();
    else this.#toProgram.send(() => this.program.emit("message", { data: frame }));
  }
}

/** One direction: what is sent arrives in its order, what was sent together in one turn. */
class Wire {
  readonly #soon: Soon;
  #arrivals: (() => void)[] = [];

  constructor(soon: Soon) {
    this.#soon = soon;
  }

  send(arrive: () => void): void {
    this.#arrivals.push(arrive);
    if (this.#arrivals.length > 1) return;
    this.#soon(() => {
      for (const arrival of this.#arrivals.splice(0)) arrival();
    });
  }

  /** Loses what is under way. */
  cut(): void {
    this.#arrivals.length = 0;
  }
}

/** The members of all events; each has some of them. */
interface SocketEvent {
  readonly data: unknown;
  readonly code: number;
  readonly reason: string;
}

type Listener = (event: SocketEvent) => void;

/** As Workers get it with the reply to an upgrade: what comes before it is accepted waits. */
export class ProgramEnd implements WebSocketLike {
  readonly #handlers: { readonly send: (frame: Frame) => void; readonly close: (code: number) => void };
  readonly #listeners: { readonly type: string; readonly listener: Listener }[] = [];
  #untold: (() => void)[] | undefined = [];
  /** The reply to the upgrade says it. */
  readonly protocol = null;
  readyState = OPEN;

  constructor(handlers: { readonly send: (frame: Frame) => void; readonly close: (code: number) => void }) {
    this.#handlers = handlers;
  }

  accept(): void {
    const untold = this.#untold ?? [];
    this.#untold = undefined;
    for (const tell of untold) tell();
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.push({ type, listener });
  }

  send(frame: string | Uint8Array): void {
    if (this.readyState === OPEN) this.#handlers.send(ownFrame(frame));
  }

  close(code = CODE_NORMAL): void {
    if (this.readyState !== OPEN) return;
    this.readyState = CLOSING;
    this.#handlers.close(code);
  }

  /** Nothing comes any more. */
  end(code: number, reason: string): void {
    this.readyState = CLOSED;
    this.emit("close", { code, reason });
  }

  emit(type: "message" | "close", event: Partial<SocketEvent>): void {
    const whole: SocketEvent = { data: undefined, code: 0, reason: "", ...event };
    const tell = (): void => {
      for (const one of this.#listeners) if (one.type === type) one.listener(whole);
    };
    if (this.#untold === undefined) tell();
    else this.#untold.push(tell);
  }
}

/** What is attached to it outlives the sleep of the object. */
export class ObjectEnd {
  readonly #handlers: { readonly send: (frame: Frame) => void; readonly close: (code: number, reason: string) => void };
  #attachment: unknown = null;
  readyState = OPEN;

  constructor(handlers: { readonly send: (frame: Frame) => void; readonly close: (code: number, reason: string) => void }) {
    this.#handlers = handlers;
  }

  send(frame: string | Uint8Array): void {
    if (this.readyState === OPEN) this.#handlers.send(ownFrame(frame));
  }

  close(code = CODE_NORMAL, reason = ""): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#handlers.close(code, reason);
  }

  serializeAttachment(attachment: unknown): void {
    this.#attachment = structuredClone(attachment);
  }

  deserializeAttachment(): unknown {
    return structuredClone(this.#attachment);
  }
}

/** Bytes are copied, as by a socket of the runtime. */
function ownFrame(frame: string | Uint8Array): Frame {
  return typeof frame === "string" ? frame : new Uint8Array(frame).buffer;
}
