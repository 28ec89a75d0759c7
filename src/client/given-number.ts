// Numbers that programs give.
import { EdgeChannelError } from "./edge-channel-error.ts";

/** What holds where nothing is given, the least and the most. */
export type NumberBounds = readonly [fallback: number, min: number, max: number];

/** The numbers by their names; refuses what is not a whole number within its bounds. */
export function checkNumbers<Name extends string>(
  given: { readonly [Key in NoInfer<Name>]?: number | undefined },
  table: Readonly<Record<Name, NumberBounds>>,
): Record<Name, number> {
  const checked: Partial<Record<Name, number>> = {};
  for (const name in table) {
    const [fallback, min, max] = table[name];
    const { [name]: value = fallback } = given;
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      const found = typeof value === "number" ? value : typeof value;
      throw EdgeChannelError.refused(`Cannot take ${found} as ${name}: expected a whole number from ${min} to ${max}`);
    }
    checked[name] = value;
  }
  return checked as Record<Name, number>;
}
