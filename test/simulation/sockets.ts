// The sockets around a channel: open ones with what they carry through an eviction, and those that closed without the channel having heard.
import type { Subscription } from "../../src/channel/subscription.ts";
import type { Waiter } from "../../src/channel/wait-line.ts";
import { packSubscription, type PackedSubscription, unpackSubscription } from "../../src/object/packed-subscription.ts";

interface Socket {
  isOpen: boolean;
  waiters: readonly Waiter[];
  subscriptions: readonly PackedSubscription[];
}

export class Sockets {
  readonly #sockets = new Map<number, Socket>();

  get all(): readonly number[] {
    return [...this.#sockets.keys()];
  }

  isOpen(connection: number): boolean {
    return this.#sockets.get(connection)?.isOpen === true;
  }

  open(connection: number): void {
    this.#sockets.set(connection, { isOpen: true, waiters: [], subscriptions: [] });
  }

  cut(connection: number): void {
    const socket = this.#sockets.get(connection);
    if (socket !== undefined) socket.isOpen = false;
  }

  remove(connection: number): void {
    this.#sockets.delete(connection);
  }

  removeAll(): void {
    this.#sockets.clear();
  }

  /** As the object does: what a socket that is open waits for and is subscribed to is attached to it. */
  attach(connection: number, waiters: readonly Waiter[], subscriptions: readonly Subscription[]): void {
    const socket = this.#sockets.get(connection);
    if (socket?.isOpen !== true) return;
    Object.assign(socket, { waiters, subscriptions: subscriptions.map(packSubscription) });
  }

  /** What the open ones carry. */
  get attached(): { readonly waiters: Waiter[]; readonly subscriptions: Subscription[] } {
    const open = [...this.#sockets].filter(([, { isOpen }]) => isOpen);
    return {
      waiters: open.flatMap(([, { waiters }]) => waiters),
      subscriptions: open.flatMap(([connection, { subscriptions }]) =>
        subscriptions.map((packed) => unpackSubscription(connection, packed)),
      ),
    };
  }
}
