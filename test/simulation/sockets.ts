// The sockets around a channel: open ones with what they carry through an eviction, and those that closed without the channel having heard.
import { type CarriedFrame, type CarriedLeases, unpackFrames } from "../../src/channel/attached-leases.ts";
import type { Subscription } from "../../src/channel/subscription.ts";
import type { Waiter } from "../../src/channel/wait-line.ts";
import { packSubscription, type PackedSubscription, unpackSubscription } from "../../src/object/packed-subscription.ts";

interface Socket {
  isOpen: boolean;
  waiters: readonly Waiter[];
  subscriptions: readonly PackedSubscription[];
  leases: Uint8Array;
}

const NO_LEASES = new Uint8Array();

export class Sockets {
  readonly #sockets = new Map<number, Socket>();

  get all(): readonly number[] {
    return [...this.#sockets.keys()];
  }

  isOpen(connection: number): boolean {
    return this.#sockets.get(connection)?.isOpen === true;
  }

  open(connection: number): void {
    this.#sockets.set(connection, { isOpen: true, waiters: [], subscriptions: [], leases: NO_LEASES });
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

  /** As the object does: what a socket that is open waits for, is subscribed to and holds is attached to it. */
  attach(
    connection: number,
    {
      waiters,
      subscriptions,
      leases = NO_LEASES,
    }: {
      readonly waiters: readonly Waiter[];
      readonly subscriptions: readonly Subscription[];
      readonly leases: Uint8Array | undefined;
    },
  ): void {
    const socket = this.#sockets.get(connection);
    if (socket === undefined) return;
    // Of a socket that closed unheard the object knows its leases, until it is told.
    socket.leases = leases;
    if (socket.isOpen) Object.assign(socket, { waiters, subscriptions: subscriptions.map(packSubscription) });
  }

  isKnown(connection: number): boolean {
    return this.#sockets.has(connection);
  }

  /** What all of them carry of leases. */
  get leases(): CarriedLeases[] {
    return [...this.#sockets].map(([connection, { leases }]) => ({ connection, bytes: leases }));
  }

  get frames(): CarriedFrame[] {
    return this.leases.flatMap(unpackFrames);
  }

  /** What the open ones carry, and of leases all of them. */
  get attached(): {
    readonly waiters: Waiter[];
    readonly subscriptions: Subscription[];
    readonly leases: readonly CarriedLeases[];
  } {
    const open = [...this.#sockets].filter(([, { isOpen }]) => isOpen);
    return {
      leases: this.leases,
      waiters: open.flatMap(([, { waiters }]) => waiters),
      subscriptions: open.flatMap(([connection, { subscriptions }]) =>
        subscriptions.map((packed) => unpackSubscription(connection, packed)),
      ),
    };
  }
}
