// What producers and readers of one life of the runtime share.
import type { SeededRandom } from "../e2e/hostile/seeded-random.ts";
import type { Port } from "./port.ts";
import type { Recorder } from "./recorder.ts";

export interface Load {
  readonly recorder: Recorder;
  readonly random: SeededRandom;
  /** Opens a connection of its own, by WebSocket. */
  readonly open: (channel: string) => Promise<Port>;
  /** Leases that their reader keeps without settling them: somebody may do it after the next start. */
  readonly held: string[];
  readonly isOver: () => boolean;
}

/** Where to record an operation: each gets its connection's name when it is invoked. */
export function whereOf(port: Port): { readonly channel: string; readonly connection: string } {
  return { channel: port.channel, connection: port.connection() };
}
