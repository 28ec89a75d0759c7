// Gives leases of messages that were chosen, and decides where they are kept (SPEC rules LS11 and LS13).
import type { RouteNote } from "../protocol/history.ts";
import type { DeferredBook } from "./deferred-book.ts";
import type { Lease } from "./delivery-store.ts";
import type { LeaseRequest } from "./delivery-terms.ts";
import type { KeyLines } from "./key-lines.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { LeaseMark } from "./lease-mark.ts";
import type { Selection } from "./selection.ts";

/** Of messages in their order. */
export interface GivenLeases {
  readonly leases: readonly Lease[];
  /** Whether each message may have been handed out before. */
  readonly redelivered: readonly boolean[];
}

export class LeaseGiver {
  readonly #leases: LeaseBook;
  readonly #mark: LeaseMark;
  readonly #deferred: DeferredBook;
  readonly #keys: KeyLines;

  constructor(books: {
    readonly leases: LeaseBook;
    readonly mark: LeaseMark;
    readonly deferred: DeferredBook;
    readonly keys: KeyLines;
  }) {
    this.#leases = books.leases;
    this.#mark = books.mark;
    this.#deferred = books.deferred;
    this.#keys = books.keys;
  }

  /** `routes`: why each of the messages goes to this reader, where that was decided one by one. */
  give(selection: Selection, nowMs: number, request: LeaseRequest, routes: readonly RouteNote[] = []): GivenLeases {
    let place = 0;
    const redelivered = selection.map((offset) => this.#isRedelivered(offset));
    const leases = selection.map((offset, key) => this.#make({ offset, key, route: routes[place++] }, nowMs, request));
    this.#keep(leases, request);
    return { leases, redelivered };
  }

  #isRedelivered(offset: number): boolean {
    return this.#deferred.find(offset)?.end !== undefined || this.#mark.isInDoubt(offset);
  }

  #make(
    { offset, key, route }: Pick<Lease, "offset" | "key" | "route">,
    nowMs: number,
    { holder, leaseMs, connection, reader }: LeaseRequest,
  ): Lease {
    const { attempts = 0, history } = this.#deferred.find(offset) ?? {};
    const times = { leasedAtMs: nowMs, deadlineMs: nowMs + leaseMs };
    const lease: Lease = { offset, holder, attempt: attempts + 1, ...times, key, connection, reader, history, route };
    this.#deferred.remove(offset);
    if (key !== undefined) this.#keys.lease(key, offset, holder);
    return lease;
  }

  /** Leases of messages without a history lie with the socket of who asked, the others are stored. So are those that no scan would find. */
  #keep(leases: readonly Lease[], { isAttached = false, connection }: LeaseRequest): void {
    const mayAttach = ({ attempt, history, offset }: Lease): boolean =>
      isAttached && attempt === 1 && history === undefined && offset >= this.#deferred.scanMark;
    const attached = connection === undefined ? [] : leases.filter(mayAttach);
    this.#leases.add(attached.length === 0 ? leases : leases.filter((lease) => !mayAttach(lease)));
    if (connection === undefined || attached.length === 0) return;
    this.#leases.attach(attached, connection);
    this.#mark.add(connection);
  }
}
