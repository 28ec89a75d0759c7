// Waits for an HTTP request: holds a socket to the channel's object, which may hibernate meanwhile, while this side waits for free.
// The deadline is kept here. After it, `cancel` is sent and the object's last word is taken, so nothing is taken and not delivered.
import { assert } from "../base/assert.ts";
import type { StartTimer } from "../base/timers.ts";
import type { Env } from "../object/env.ts";
import { splitBinaryFrame, type BinaryFrame } from "../protocol/binary-frame.ts";
import { CLOSE_CODES, type ServerFrame } from "../protocol/frames.ts";
import type { Place } from "../protocol/place.ts";
import type { Refusal } from "../protocol/problems.ts";
import { PROTOCOL_VERSIONS } from "../protocol/version.ts";
import { openObjectSocket } from "./object-socket.ts";
import { RefusalError } from "./refusal-error.ts";

/** The only request of a bridge's socket. */
export const BRIDGE_REQUEST = 1;

interface WaitForMessages {
  readonly min: number;
  readonly max: number;
  readonly waitMs: number;
  readonly group?: string;
}

export type WaitFrame =
  | ({ readonly type: "get" } & WaitForMessages)
  | ({ readonly type: "pull"; readonly leaseMs: number; readonly detached: true; readonly reader?: string } & WaitForMessages)
  | { readonly type: "reserve"; readonly messages: number; readonly bytes: number; readonly waitMs: number };

/** The refusal when the object is lost. A put that only asked for room was not applied; a get may have been. */
function refuseLost(request: WaitFrame): Refusal {
  return { kind: "unavailable", outcome: request.type === "reserve" ? "not-applied" : "unknown", retryAfterMs: 1000 };
}

/** The final frame of the wait, and what it came as. */
export interface Awaited {
  readonly frame: Extract<ServerFrame, { type: "got" | "room" | "problem" }>;
  readonly data: string | BinaryFrame;
  readonly connection: number;
}

/**
 * Waits until the object answers `request` for good, at most its `waitMs` and a little for the way, and passes the answer to `use`
 * while the socket is still open: a promise of room ends with it. Aborting `signal` closes the socket, and with it the wait.
 */
export async function waitOverSocket<Value>(
  env: Env,
  channel: string,
  request: WaitFrame,
  options: {
    readonly startTimer: StartTimer;
    readonly signal: AbortSignal;
    /** Where the client is that waits. */
    readonly place: Place | undefined;
    /** Whether messages are wanted in a binary frame. */
    readonly isFramed?: boolean;
    readonly use: (awaited: Awaited) => Value | Promise<Value>;
  },
): Promise<Value> {
  const aborted = new Promise<never>((_, reject) => {
    options.signal.addEventListener("abort", () => reject(new RefusalError(refuseLost(request))), { once: true });
  });
  // It may be aborted while the socket is opened, when nobody listens yet.
  aborted.catch(() => undefined);
  const deadline = new Deadline(options.startTimer, request.waitMs);
  try {
    for (let isRepeated = false; ; isRepeated = true) {
      const socket = await openObjectSocket(env, channel, { place: options.place, isBinary: options.isFramed ?? false });
      if (socket === null) throw new RefusalError(refuseLost(request));
      try {
        options.signal.throwIfAborted();
        const awaited = await Promise.race([waitForAnswer(socket, request, deadline), aborted]);
        if (awaited !== "moved") return await options.use(awaited);
        if (isRepeated) throw new RefusalError(refuseLost(request));
      } finally {
        socket.close(1000, "Done");
      }
    }
  } finally {
    deadline.stop();
  }
}

/** That of a wait, also where the channel moves meanwhile. */
class Deadline {
  readonly #stopTimer: () => void;
  #isOver = false;
  #onOver: () => void = () => undefined;

  constructor(startTimer: StartTimer, waitMs: number) {
    this.#stopTimer = startTimer(() => {
      this.#isOver = true;
      this.#onOver();
    }, waitMs);
  }

  /** Calls `onOver` when the time is over, in place of what was given before. */
  watch(onOver: () => void): void {
    this.#onOver = onOver;
    if (this.#isOver) onOver();
  }

  stop(): void {
    this.#stopTimer();
  }
}

/** The answer, or that the channel moved before it came: then nothing was done. */
function waitForAnswer(socket: WebSocket, request: WaitFrame, deadline: Deadline): Promise<Awaited | "moved"> {
  return new Promise((resolve, reject) => {
    let connection = 0;
    const send = (frame: object): void => socket.send(JSON.stringify(frame));
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", (event) => {
      const data = event.data instanceof ArrayBuffer ? splitFrame(event.data) : String(event.data);
      // Messages alone come in binary frames, and nobody here looks at them.
      const frame = (typeof data === "string" ? JSON.parse(data) : { ...JSON.parse(data.head), type: "got" }) as ServerFrame;
      if (frame.type === "welcome") {
        ({ connection } = frame);
        send({ ...request, id: BRIDGE_REQUEST });
        deadline.watch(() => send({ type: "cancel", id: BRIDGE_REQUEST }));
      }
      if (frame.type === "got" || frame.type === "room" || frame.type === "problem") {
        deadline.watch(() => undefined);
        resolve({ frame, data, connection });
      }
    });
    const lose = (): void => {
      deadline.watch(() => undefined);
      reject(new RefusalError(refuseLost(request)));
    };
    socket.addEventListener("close", ({ code }) => (code === CLOSE_CODES.moved ? resolve("moved") : lose()));
    socket.addEventListener("error", lose);
    socket.accept();
    send({ type: "hello", versions: PROTOCOL_VERSIONS });
  });
}

function splitFrame(data: ArrayBuffer): BinaryFrame {
  const frame = splitBinaryFrame(new Uint8Array(data));
  assert(frame.ok, "the object sends whole frames");
  return frame.value;
}
