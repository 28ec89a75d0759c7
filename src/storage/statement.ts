// Statements of a commit, and reads.
import type { SqlValue } from "./metered-storage.ts";

/** One statement of a commit. The text is constant, since statements are cached by it. */
export interface Statement {
  readonly text: string;
  readonly bindings: readonly SqlValue[];
}

/** Reads the rows of a statement; none while there are no tables. */
export type Select = <Row extends Record<string, SqlValue>>(statement: string, ...bindings: (string | number)[]) => Row[];
