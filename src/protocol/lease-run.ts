// Lease ids that differ by their offsets alone and follow each other: a settle call names them by one entry (SPEC rule LS14).

/** A lease, and those of the next offsets: so many in all, 1 where it does not say. */
export interface LeaseEntry {
  readonly leaseId: string;
  readonly count?: number | undefined;
}

/** The parts of `GROUP-OFFSET-ATTEMPT-HOLDER-SEAL` around the offset; undefined where it has no such parts. */
function splitLeaseId(leaseId: string): { readonly head: string; readonly offset: number; readonly tail: string } | undefined {
  const start = leaseId.indexOf("-") + 1;
  const end = leaseId.indexOf("-", start);
  const offset = end < 0 ? Number.NaN : Number(leaseId.slice(start, end));
  return offset > 0 ? { head: leaseId.slice(0, start), offset, tail: leaseId.slice(end) } : undefined;
}

export class LeaseRun {
  readonly leaseId: string;
  readonly #parts: ReturnType<typeof splitLeaseId>;
  #count = 1;

  /** Begins with one lease. */
  constructor(leaseId: string) {
    this.leaseId = leaseId;
    this.#parts = splitLeaseId(leaseId);
  }

  get count(): number {
    return this.#count;
  }

  /** Takes the lease in, if it is the next one. */
  take(leaseId: string): boolean {
    if (this.#parts === undefined) return false;
    const { head, offset, tail } = this.#parts;
    if (leaseId !== `${head}${offset + this.#count}${tail}`) return false;
    this.#count++;
    return true;
  }

  /** Which of its leases is that of the message at `offset`, from 0; undefined where that is none of them, or its offsets are not known. */
  placeOf(offset: number): number | undefined {
    const place = this.#parts === undefined ? -1 : offset - this.#parts.offset;
    return place >= 0 && place < this.#count ? place : undefined;
  }
}

/** Names leases by as few entries as their order allows. */
export function listRuns(leaseIds: Iterable<string>): readonly LeaseEntry[] {
  const runs: LeaseRun[] = [];
  for (const leaseId of leaseIds) if (runs.at(-1)?.take(leaseId) !== true) runs.push(new LeaseRun(leaseId));
  return runs.map(({ leaseId, count }) => ({ leaseId, count }));
}

/** The leases that an entry names. */
export function listLeaseIds({ leaseId, count = 1 }: LeaseEntry): readonly string[] {
  const parts = splitLeaseId(leaseId);
  if (parts === undefined) return [leaseId];
  return Array.from({ length: count }, (_, place) => `${parts.head}${parts.offset + place}${parts.tail}`);
}
