// Frames of connections that do not read what they are sent: they wait until the client shows that it does (SPEC section CN).
import { LIMITS } from "../protocol/limits.ts";

interface Held {
  readonly acts: { readonly act: () => void; readonly bytes: number }[];
  bytes: number;
}

export class HeldFrames {
  readonly #byConnection = new Map<number, Held>();

  has(connection: number): boolean {
    return this.#byConnection.has(connection);
  }

  /** Keeps what a frame of `bytes` asks for behind what is held of its connection; false where that is too much. */
  add(connection: number, act: () => void, bytes: number): boolean {
    const held = this.#byConnection.get(connection) ?? { acts: [], bytes: 0 };
    this.#byConnection.set(connection, held);
    if (held.acts.length >= LIMITS.heldFramesMax || held.bytes + bytes > LIMITS.heldBytesMax) return false;
    held.acts.push({ act, bytes });
    held.bytes += bytes;
    return true;
  }

  /** Does what is held, in its order, as long as the connection may be answered. */
  release(connection: number, mayAnswer: () => boolean): void {
    const held = this.#byConnection.get(connection);
    if (held === undefined) return;
    while (held.acts.length > 0 && mayAnswer()) {
      const next = held.acts.shift();
      held.bytes -= next?.bytes ?? 0;
      next?.act();
    }
    if (held.acts.length === 0) this.#byConnection.delete(connection);
  }

  drop(connection: number): void {
    this.#byConnection.delete(connection);
  }
}
