// What a mutant is.

export interface Mutant {
  /** Which invariant breaks, and how. */
  readonly name: string;
  readonly file: string;
  /** Text that occurs once in the file, and what stands there instead. */
  readonly from: string;
  readonly to: string;
  /** Test files that find it, in place of the simulation and of all unit tests. */
  readonly tests?: readonly string[];
  /** Test file in the runtime that finds it, for code that neither the simulation nor the unit tests run. */
  readonly workersTest?: string;
}
