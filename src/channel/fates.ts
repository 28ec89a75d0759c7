// How messages end, and the counts of it (G4).

/** How a message can end. */
export type Fate = "acked" | "removed" | "dead-lettered" | "expired";

/** What was acked is derived: put, less what waits, less these. */
export interface FateCounts {
  readonly removed: number;
  readonly deadLettered: number;
  /** Given up by retention. */
  readonly dropped: number;
  /** Not handed out in their time. */
  readonly expired: number;
}

export const NO_FATES: FateCounts = { removed: 0, deadLettered: 0, dropped: 0, expired: 0 };

const MEMBERS = { removed: "removed", "dead-lettered": "deadLettered", expired: "expired" } as const;

/** Messages that ended otherwise than by an ack. */
export function countEnded({ removed, deadLettered, dropped, expired }: FateCounts): number {
  return removed + deadLettered + dropped + expired;
}

/** The counts with so many more messages that ended so. */
export function countFate<Counts extends FateCounts>(counts: Counts, fate: Fate, messages: number): Counts {
  if (fate === "acked" || messages === 0) return counts;
  const member = MEMBERS[fate];
  return { ...counts, [member]: counts[member] + messages };
}

export function isSameFates(a: FateCounts, b: FateCounts): boolean {
  return a.removed === b.removed && a.deadLettered === b.deadLettered && a.dropped === b.dropped && a.expired === b.expired;
}
