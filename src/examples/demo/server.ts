// The server of the demo: the worker on the bare runtime, on a free port and with a storage of its own.
import { type LocalRuntime, startLocalRuntime } from "../../cli/local-runtime.ts";

export type Server = Pick<LocalRuntime, "url" | "output" | "stop">;

/** Resolves when the server answers. Rejects with its own words when it does not start; aborting `signal` ends it. */
export async function startServer(storageDir: string, signal: AbortSignal): Promise<Server> {
  return await startLocalRuntime({ storageDir, vars: { DEVELOPMENT: "1" }, signal });
}
