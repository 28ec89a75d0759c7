// The payloads: each names its producer, number and key, and every other character follows from them, so damage is seen.

/** A name is `producer/number` or `producer/number/key`. */
export function formatName(producer: string, number: number, key?: string): string {
  return key === undefined ? `${producer}/${number}` : `${producer}/${number}/${key}`;
}

export function keyOf(name: string): string | undefined {
  return name.split("/")[2];
}

/** 40 to 800 characters. */
export function textOf(name: string): string {
  let hash = 0;
  for (const character of name) hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  const length = 40 + ((Math.imul(hash, 2_654_435_761) >>> 0) % 760);
  return `${name} `.repeat(Math.ceil(length / name.length)).slice(0, Math.max(length, name.length + 1));
}

/** The name of a message that was read; one that nobody sent when text or key are not as they were sent. */
export function readName({ text, key }: { readonly text?: string; readonly key?: string }): string {
  const name = text?.slice(0, text.indexOf(" ")) ?? "";
  return text === textOf(name) && key === keyOf(name) ? name : `damaged: ${key ?? ""} ${text?.slice(0, 40) ?? ""}`;
}
