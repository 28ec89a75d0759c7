// Hashes that chain: each is over the one before it and what follows.
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js";

export const DIGEST_BYTES = 32;

/** What the first hash of a chain follows. */
export const NO_DIGEST = "0".repeat(DIGEST_BYTES * 2);

/** The hash over `before`, which is hex, and `content`. */
export function chainDigest(before: string, content: Uint8Array): Uint8Array {
  return sha256.create().update(hexToBytes(before)).update(content).digest();
}

export function formatDigest(digest: Uint8Array): string {
  return bytesToHex(digest);
}
