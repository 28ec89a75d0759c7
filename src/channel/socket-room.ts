// What sockets can carry of the leases of their streams (SPEC rule LS13).
import type { AttachedLeases } from "./attached-leases.ts";
import type { Groups } from "./groups.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Streams } from "./streams.ts";
import type { Subscription } from "./subscription.ts";
import type { Waiter, WaitLine } from "./wait-line.ts";

/** What a socket carries besides. */
export interface AttachedRequests {
  readonly waiters: readonly Waiter[];
  readonly subscriptions: readonly Subscription[];
}

interface RoomParts {
  readonly attached: AttachedLeases;
  readonly groups: Groups;
  readonly line: WaitLine;
  readonly streams: Streams;
  readonly snapshots: Snapshots;
}

/** Has leases stored that do not fit their socket beside its requests, and all of them where a snapshot has to show them. */
export function storeExcess(
  { attached, groups, line, streams, snapshots }: RoomParts,
  measureRoom: (requests: AttachedRequests) => number,
): void {
  if (snapshots.isBegun) groups.storeAttached();
  for (const connection of new Set([attached, line, streams].flatMap((part) => [...part.changedConnections]))) {
    if (attached.framesOf(connection).length === 0) continue;
    const requests = { waiters: line.ofConnection(connection), subscriptions: streams.ofConnection(connection) };
    for (const frame of attached.findExcess(connection, measureRoom(requests)))
      groups.findById(frame.terms.group)?.delivery.store(frame);
  }
}
