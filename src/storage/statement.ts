// One statement of a commit, and how tables are read.
import type { SqlValue } from "./metered-storage.ts";

/** One statement of a commit. The text is constant, since statements are cached by it. */
export interface Statement {
  readonly text: string;
  readonly bindings: readonly SqlValue[];
}

/** Reads rows; none where there are no tables yet. */
export type Select = <Row extends Record<string, SqlValue>>(statement: string, ...bindings: SqlValue[]) => Row[];
