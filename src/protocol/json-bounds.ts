// Bounds on JSON text, judged before it is parsed: what comes after costs time that grows faster than the text, V8's JSON.stringify
// with the square of the nesting.
import { LIMITS } from "./limits.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPENING_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSING_BRACKET = 0x5d;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/** What of `text` is beyond the bounds, as a detail for a refusal; undefined when nothing is. Text that is no JSON may pass. */
export function findJsonExcess(text: string): string | undefined {
  // Most frames have a few brackets and end here: a search for one character costs next to nothing (measured).
  const hasFewValues = text.length <= LIMITS.jsonValuesMax;
  if (hasFewValues && !hasMoreBracketsThan(LIMITS.jsonLevelsMax, text)) return undefined;
  let levels = 0;
  let values = 1;
  for (let index = 0; index < text.length; index++) {
    switch (text.charCodeAt(index)) {
      case QUOTE:
        index = findEndOfString(text, index + 1);
        break;
      case OPENING_BRACKET:
      case OPENING_BRACE:
        levels++;
        values++;
        if (levels > LIMITS.jsonLevelsMax) return `JSON may nest at most ${LIMITS.jsonLevelsMax} levels`;
        break;
      case CLOSING_BRACKET:
      case CLOSING_BRACE:
        levels--;
        break;
      case COMMA:
      case COLON:
        values++;
        break;
    }
  }
  return values > LIMITS.jsonValuesMax ? `JSON may have at most ${LIMITS.jsonValuesMax} names and values` : undefined;
}

/** Counts those inside strings too, so that their number is one that the nesting can not exceed. */
function hasMoreBracketsThan(limit: number, text: string): boolean {
  let count = 0;
  for (const bracket of ["{", "["]) {
    for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1)) {
      count++;
      if (count > limit) return true;
    }
  }
  return false;
}

/** The index of the quote that ends a string, or the length of the text where none does. */
function findEndOfString(text: string, start: number): number {
  for (let from = start; ;) {
    const end = text.indexOf('"', from);
    if (end === -1) return text.length;
    let last = end - 1;
    while (last >= from && text.charCodeAt(last) === BACKSLASH) last--;
    const isEscaped = (end - last) % 2 === 0;
    if (!isEscaped) return end;
    from = end + 1;
  }
}
