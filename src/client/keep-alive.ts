// Pings on a connection, which show the server that the client is there, and the client that the server is: a network that went away tells neither.
import { PING_FRAME } from "../protocol/version.ts";
import type { StartTimer } from "./timers.ts";

/** PROTOCOL.md: a client that said so pings once a minute. */
const PING_INTERVAL_MS = 60_000;
/** How long the server may take to say anything after a ping. */
const SILENCE_MS_MAX = 20_000;

export interface KeepAliveOptions {
  readonly startTimer: StartTimer;
  readonly send: (text: string) => void;
  /** Nothing came after a ping; nothing is sent any more. */
  readonly onSilence: (silenceMs: number) => void;
}

export class KeepAlive {
  readonly #options: KeepAliveOptions;
  #isHeard = false;
  #stopTimer: () => void = () => undefined;

  constructor(options: KeepAliveOptions) {
    this.#options = options;
    this.#rest();
  }

  /** Something came. */
  hear(): void {
    this.#isHeard = true;
  }

  stop(): void {
    this.#stopTimer();
  }

  #rest(): void {
    this.#stopTimer = this.#options.startTimer(() => this.#ping(), PING_INTERVAL_MS - SILENCE_MS_MAX);
  }

  #ping(): void {
    const { startTimer, send, onSilence } = this.#options;
    this.#isHeard = false;
    // Before it is sent, since a send that fails stops it.
    this.#stopTimer = startTimer(() => (this.#isHeard ? this.#rest() : onSilence(SILENCE_MS_MAX)), SILENCE_MS_MAX);
    send(PING_FRAME);
  }
}
