// What the checker says of a history.

/** Any of them is a failure. */
export const FAULT_KINDS = {
  lost: "acknowledged messages lost",
  ackedTwice: "acknowledged twice",
  outOfOrder: "out of order",
  overLimit: "depth above the limit",
  torn: "batches stored in part",
  foreign: "messages that nobody put",
  misplaced: "messages at two offsets",
  leases: "leases not as promised",
  counts: "counts not as they should be",
  refusals: "unexpected refusals",
} as const;

export type FaultKind = keyof typeof FAULT_KINDS;

export interface Verdict {
  readonly faults: { readonly [Kind in FaultKind]: number };
  /** The first faults, in words. */
  readonly examples: readonly string[];
  /** Acknowledged messages that are still in their channel when the history ends. */
  readonly unsettled: number;
  readonly messages: {
    /** Known to have been stored: acknowledged, or seen. */
    readonly put: number;
    readonly acked: number;
    /** Ended by a call whose answer was lost. */
    readonly endedUnseen: number;
    readonly taken: number;
    readonly deadLettered: number;
  };
}

const EXAMPLES_MAX = 20;

export class FaultLog {
  readonly counts: { [Kind in FaultKind]: number };
  readonly examples: string[] = [];

  constructor() {
    const none = Object.keys(FAULT_KINDS).map((kind) => [kind, 0]);
    this.counts = Object.fromEntries(none) as { [Kind in FaultKind]: number };
  }

  report(kind: FaultKind, text: string): void {
    this.counts[kind] += 1;
    if (this.examples.length < EXAMPLES_MAX) this.examples.push(`${FAULT_KINDS[kind]}: ${text}`);
  }

  get total(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }
}
