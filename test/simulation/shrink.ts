// Shortens a plan that fails: leaves out steps, first many at once, then one by one, as long as what is left still fails.

/** Ends: each round either makes the list shorter or halves the number of items that are left out at once. */
export function shrink<Item>(items: readonly Item[], isFailing: (items: readonly Item[]) => boolean): readonly Item[] {
  let left = items;
  for (let count = Math.ceil(left.length / 2); count >= 1;) {
    const shorter = leaveOut(left, count, isFailing);
    if (shorter.length === left.length) count = count === 1 ? 0 : Math.ceil(count / 2);
    left = shorter;
  }
  return left;
}

function leaveOut<Item>(items: readonly Item[], count: number, isFailing: (items: readonly Item[]) => boolean): readonly Item[] {
  let left = items;
  // From the end: what came after the fault showed is of no use at all.
  for (let start = left.length - count; start > -count; start -= count) {
    const shorter = [...left.slice(0, Math.max(0, start)), ...left.slice(Math.max(0, start) + count + Math.min(0, start))];
    if (shorter.length < left.length && isFailing(shorter)) left = shorter;
  }
  return left;
}
