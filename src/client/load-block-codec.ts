// Loads what reads and writes binary frames, with the first socket over which they go. Bundlers put it into a file of its own.
import type * as BlockCodecModule from "./block-codec.ts";

export type BlockCodec = typeof BlockCodecModule;

export function loadBlockCodec(): Promise<BlockCodec> {
  return import("./block-codec.ts");
}
