// Paired, interleaved rounds, and the statistics over them. The machine's speed drifts by a factor of two within minutes, so that
// only two measurements that lie next to each other may be compared: the ratio is taken within each pair.

export interface Pair<T> {
  readonly ours: T;
  readonly floor: T;
}

export interface Sides<T> {
  readonly ours: (round: number) => Promise<T>;
  readonly floor: (round: number) => Promise<T>;
}

export async function runPairedRounds<T>(rounds: number, measure: Sides<T>, onRound: () => void): Promise<Pair<T>[]> {
  const pairs: Pair<T>[] = [];
  for (let round = 0; round < rounds; round += 1) {
    // Whoever comes second finds a warmer machine or a busier disk: the order changes with every pair.
    pairs.push(round % 2 === 0 ? await runOursFirst(measure, round) : await runFloorFirst(measure, round));
    onRound();
  }
  return pairs;
}

async function runOursFirst<T>(measure: Sides<T>, round: number): Promise<Pair<T>> {
  const ours = await measure.ours(round);
  return { ours, floor: await measure.floor(round) };
}

async function runFloorFirst<T>(measure: Sides<T>, round: number): Promise<Pair<T>> {
  const floor = await measure.floor(round);
  return { ours: await measure.ours(round), floor };
}

/** The value below which the given part of the values lies, with linear interpolation between neighbours. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = Float64Array.from(values).sort();
  const position = (sorted.length - 1) * part;
  const below = sorted[Math.floor(position)] ?? Number.NaN;
  const above = sorted[Math.ceil(position)] ?? Number.NaN;
  return below + (above - below) * (position - Math.floor(position));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
