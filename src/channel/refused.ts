// A refusal as what an operation, or a part of its judgement, came to.
import type { Refusal } from "../protocol/problems.ts";

export function refused(refusal: Refusal): { readonly type: "refused"; readonly refusal: Refusal } {
  return { type: "refused", refusal };
}
