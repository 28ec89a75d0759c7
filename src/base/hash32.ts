// A hash of 32 bits, which spreads well and is quick; no secret is safe behind it. Source: MurmurHash3 by Austin Appleby.

/** From 0 to 2 ** 32 - 1, of the UTF-16 units of a text, each as a block of its own. */
export function hash32(text: string, seed: number): number {
  let hash = seed;
  for (let index = 0; index < text.length; index++) {
    let block = Math.imul(text.charCodeAt(index), 0xcc9e2d51);
    block = Math.imul((block << 15) | (block >>> 17), 0x1b873593);
    hash ^= block;
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  return finish32(hash ^ text.length);
}

/** Spreads what is in few bits over all of them. */
export function finish32(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
