// The options that calls have in common.
import { EdgeChannelError } from "./edge-channel-error.ts";

export interface CallOptions {
  /** Aborting it ends the call. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** Refuses what is no options, and a signal that is none, whatever the types say. */
export function checkOptions<Options extends object>(options: Options): Options {
  const { signal }: CallOptions = Object(options);
  const isSignal = signal === undefined || typeof signal?.addEventListener === "function";
  if (isSignal && typeof options === "object" && options !== null) return options;
  throw EdgeChannelError.refused("Cannot take the options: expected an object, its signal an AbortSignal");
}
