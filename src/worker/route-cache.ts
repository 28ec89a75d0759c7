// What a worker knows of where channels are: only of those that moved. Others are at their authority, and nothing is kept of them.
import { LIMITS } from "../protocol/limits.ts";
import type { ChannelRoute } from "../protocol/placement.ts";

interface Known {
  readonly route: ChannelRoute;
  readonly untilMs: number;
}

export class RouteCache {
  readonly #nowMs: () => number;
  /** The oldest first. */
  readonly #known = new Map<string, Known>();

  /** @param nowMs Default: the runtime's clock. */
  constructor(nowMs: () => number = () => Date.now()) {
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#known.size;
  }

  /** Undefined where the authority has to be asked. */
  find(channel: string): ChannelRoute | undefined {
    if (this.#known.size === 0) return undefined;
    const known = this.#known.get(channel);
    if (known === undefined || known.untilMs > this.#nowMs()) return known?.route;
    this.#known.delete(channel);
    return undefined;
  }

  keep(channel: string, route: ChannelRoute): void {
    this.#known.delete(channel);
    this.#known.set(channel, { route, untilMs: this.#nowMs() + LIMITS.routeMs });
    if (this.#known.size <= LIMITS.routesMax) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }

  forget(channel: string): void {
    this.#known.delete(channel);
  }
}

const CACHES = new WeakMap<object, RouteCache>();

/** That of a worker, which is told by its bindings. */
export function routesOf(env: object): RouteCache {
  let cache = CACHES.get(env);
  if (cache === undefined) CACHES.set(env, (cache = new RouteCache()));
  return cache;
}
