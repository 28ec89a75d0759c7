// How a simulated run ends when a rule is broken, and how storage says that it is down.

/** A guarantee or the model does not hold. */
export class Broken extends Error {}

/** Thrown by the simulated storage. */
export class StorageDown extends Error {}

export function expectHolds(condition: boolean, what: string): void {
  if (!condition) throw new Broken(what);
}
