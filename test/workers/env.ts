// What `cloudflare:workers` offers to tests: the bindings and exports of the worker under test.
import type { Env as WorkerEnv } from "../../src/object/env.ts";
import type * as worker from "../../src/worker/index.ts";

declare global {
  namespace Cloudflare {
    interface Env extends WorkerEnv {
      /** Set for the tests alone, in vitest.config.ts. */
      readonly STUCK_MESSAGES: string;
      readonly RELAY_ROUNDS: string;
      readonly RELAY_SEED: string;
    }
    interface GlobalProps {
      mainModule: typeof worker;
      durableNamespaces: "ChannelObject" | "DirectoryShard" | "RelayObject";
    }
  }
}
