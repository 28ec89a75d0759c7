// One statement of a commit.
import type { SqlValue } from "./metered-storage.ts";

/** The text is constant, since statements are cached by it. */
export interface Statement {
  readonly text: string;
  readonly bindings: readonly SqlValue[];
}
