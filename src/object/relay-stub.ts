// The object of a relay as others see it.
import type { RelayDescription } from "../protocol/relay-routes.ts";

/** What a channel and a worker can ask of the object of a relay. */
export interface RelayStub {
  /** Something came for its readers, or may have. */
  wake(): Promise<{ readonly readers: number }>;
  describe(): Promise<RelayDescription>;
  fetch(request: Request): Promise<Response>;
}
