// Loads what machinery.ts has. Bundlers put it into a file of its own, and those that make one file of everything keep it there.
import { EdgeChannelError } from "./edge-channel-error.ts";
import type * as Machinery from "./machinery.ts";
import type { Retries } from "./retries.ts";

/** Rejects with kind `connection-failed` where it cannot be loaded, after as many tries as other calls have. */
export function loadMachinery(
  retries: Retries,
  load: () => Promise<typeof Machinery> = () => import("./machinery.ts"),
): Promise<typeof Machinery> {
  return retries.run(async () => {
    try {
      return await load();
    } catch (cause) {
      throw EdgeChannelError.notConnected("The part of the client that it needs could not be loaded", cause);
    }
  }, undefined);
}
