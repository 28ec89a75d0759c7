// What a connection was sent and has not shown to have read. A socket tells nobody how much of what it was given is still on its way.
import { LIMITS } from "../protocol/limits.ts";

/** A frame that the client has to send back as it is, and what was sent from it on. */
interface Asked {
  readonly echo: number;
  bytesSince: number;
}

/** As a socket's attachment carries it: the number of the echo that is asked for, all bytes that are unread, and those since it was asked for. */
export type PackedUnread = readonly [echo: number, bytes: number, bytesSince: number];

/**
 * Counts what is sent. Now and then it asks for an echo: the number is random, so who sends it back has read all that came before. One is
 * asked for at a time, so that what is not confirmed is what was sent in one round trip, and `echoAfterBytes`.
 */
export class Unread {
  #bytes = 0;
  #asked: Asked | undefined;
  /** How often the client has shown that it reads. */
  echoes = 0;

  static unpack([echo, bytes, bytesSince]: PackedUnread): Unread {
    const unread = new Unread();
    unread.#bytes = bytes;
    unread.#asked = { echo, bytesSince };
    return unread;
  }

  /** Undefined where no echo is asked for: less than `echoAfterBytes` can be unread then. */
  pack(): PackedUnread | undefined {
    return this.#asked && [this.#asked.echo, this.#bytes, this.#asked.bytesSince];
  }

  get isTooMuch(): boolean {
    return this.#bytes >= LIMITS.unreadBytesMax;
  }

  /** Returns whether it has to be carried through hibernation anew: it grew by another `echoAfterBytes`. */
  note(bytes: number): boolean {
    const before = Math.floor(this.#bytes / LIMITS.echoAfterBytes);
    this.#bytes += bytes;
    if (this.#asked === undefined) return false;
    this.#asked.bytesSince += bytes;
    return Math.floor(this.#bytes / LIMITS.echoAfterBytes) > before;
  }

  /** Whether it is time to ask for an echo. */
  get isDue(): boolean {
    return this.#asked === undefined && this.#bytes >= LIMITS.echoAfterBytes;
  }

  ask(echo: number): void {
    this.#asked = { echo, bytesSince: 0 };
  }

  /** An echo came back; one that was not asked for says nothing. */
  hear(echo: number): void {
    if (this.#asked?.echo !== echo) return;
    this.#bytes = this.#asked.bytesSince;
    this.#asked = undefined;
    this.echoes += 1;
  }
}
