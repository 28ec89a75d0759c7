// Assertions: a broken invariant is a bug and throws. Expected refusals are values (see result.ts).

/** Throws when `condition` is false: the caller's reasoning is wrong, not the user's input. */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new Error(`Broken invariant: ${invariant}`);
}

/** Marks a branch that the types exclude; a new member of a union then fails to compile here. */
export function assertNever(value: never): never {
  throw new Error(`Unexpected value: ${JSON.stringify(value)}`);
}
