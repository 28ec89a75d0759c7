// What those who watch presence say and are told.
import type { PresenceChange, PresentColo } from "../protocol/stream-frames.ts";
import type { CallOptions } from "./call-options.ts";
import type { EdgeChannelError } from "./edge-channel-error.ts";
import type { Retries } from "./retries.ts";
import type { StreamingTransport } from "./transport.ts";

/** `expiry`: all that was left of the reader were leases, and their time was over. The colo is null where it is not known. */
export type PresenceEvent =
  | { readonly type: "present"; readonly readers: number; readonly colos: readonly PresentColo[] }
  | { readonly type: PresenceChange["change"]; readonly reader: string; readonly colo: string | null };

export interface PresenceOptions extends CallOptions {
  /** Told why each time before another connection is made. Default: none. */
  readonly onReconnect?: ((error: EdgeChannelError) => void) | undefined;
}

/** What is watched, and until when. */
export interface Watched {
  readonly transport: StreamingTransport;
  readonly retries: Retries;
  readonly options: PresenceOptions;
  readonly over: AbortSignal;
}
