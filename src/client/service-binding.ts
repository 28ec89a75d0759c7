// The client inside Cloudflare: through a service binding, or to a service that the same worker embeds. No address, no token, no network.
/// <reference lib="esnext.disposable" preserve="true" />
import { EdgeChannel, type EdgeChannelOptions } from "./edge-channel.ts";
import type { Fetch } from "./http-reply.ts";
import { upgradeWith } from "./open-socket.ts";

/** What is used of a service binding to the entrypoint `ChannelService`: `env.CHANNELS`, or whatever answers requests as it does. */
export interface ServiceBinding {
  fetch(url: string, init: RequestInit): Response | Promise<Response>;
}

export type ServiceBindingOptions = Omit<EdgeChannelOptions, "token" | "fetch" | "WebSocket" | "openSocket">;

/** Nobody looks it up: the binding alone decides who answers. */
const ADDRESS = "https://edge-channel";

/**
 * A client of the service behind a binding. What is opened while a worker serves a request belongs to that request: connect anew for
 * each, it costs nothing. In a Durable Object it can be kept.
 *
 * @example
 * const orders = connectBinding(env.CHANNELS).channel("orders");
 * await orders.put({ json: { order: 7 } });
 */
export function connectBinding(binding: ServiceBinding, options: ServiceBindingOptions = {}): EdgeChannel {
  const fetch: Fetch = async (url, init) => binding.fetch(url, init);
  return EdgeChannel.connect(ADDRESS, { ...options, fetch, openSocket: upgradeWith(fetch) });
}
