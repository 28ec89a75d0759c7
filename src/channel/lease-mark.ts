// What a group remembers of leases that are lost with their sockets when the process is killed (SPEC rule LS8): who was given any, and
// which messages may have been handed out though nothing says so.
import type { AttachedMark } from "./delivery-store.ts";

export class LeaseMark {
  readonly #connections: Set<number>;
  #doubtBefore: number;
  #isChanged = false;
  #isStored: boolean;

  constructor(stored: AttachedMark | undefined) {
    this.#connections = new Set(stored?.connections);
    this.#doubtBefore = stored?.doubtBefore ?? 0;
    this.#isStored = stored !== undefined;
  }

  get connections(): Iterable<number> {
    return this.#connections;
  }

  /** Whether leases that lie with the socket of a connection were given, and did not count as lost since. */
  has(connection: number): boolean {
    return this.#connections.has(connection);
  }

  /** Whether the message at `offset` may have been handed out before, as far as nothing else says so. */
  isInDoubt(offset: number): boolean {
    return offset < this.#doubtBefore;
  }

  /** Notes that a connection is given leases that lie with its socket. */
  add(connection: number): void {
    if (this.#connections.has(connection)) return;
    this.#connections.add(connection);
    this.#isChanged = true;
  }

  /** Notes that nothing of a connection is left; false where it was given nothing. */
  remove(connection: number): boolean {
    const isKnown = this.#connections.delete(connection);
    this.#isChanged ||= isKnown;
    return isKnown;
  }

  /** Notes that no lease lies with a socket. */
  removeAll(): void {
    this.#isChanged ||= this.#connections.size > 0;
    this.#connections.clear();
  }

  doubtBefore(offset: number): void {
    if (offset <= this.#doubtBefore) return;
    this.#doubtBefore = offset;
    this.#isChanged = true;
  }

  /** Forgets all, as when the rows of the group are deleted. */
  clear(): void {
    this.#connections.clear();
    this.#doubtBefore = 0;
    this.#isChanged = false;
    this.#isStored = false;
  }

  /** What has to be written; null where the row has to be deleted, undefined where nothing changed. */
  takeChange(headOffset: number): AttachedMark | null | undefined {
    if (!this.#isChanged) return undefined;
    this.#isChanged = false;
    if (this.#doubtBefore <= headOffset) this.#doubtBefore = 0;
    const isEmpty = this.#connections.size === 0 && this.#doubtBefore === 0;
    const isDeleted = isEmpty && this.#isStored;
    this.#isStored = !isEmpty;
    if (isEmpty) return isDeleted ? null : undefined;
    return { connections: [...this.#connections].sort((a, b) => a - b), doubtBefore: this.#doubtBefore };
  }
}
