// The bindings and variables of the deployment.

export interface Env {
  readonly CHANNELS: DurableObjectNamespace;
  readonly DIRECTORY: DurableObjectNamespace;
  /** Absent where a worker that embeds the service has none: channels serve all their readers themselves then. */
  readonly RELAYS?: DurableObjectNamespace;
  /** "true" lets the first put or get of an unknown channel create it. */
  readonly AUTO_CREATE?: string;
  /** "true" lets each object ask once per waking, by a request to www.cloudflare.com, in which colo it is. */
  readonly LEARN_OWN_COLO?: string;
  /** The bearer token of the deployment, a secret. */
  readonly API_TOKEN?: string;
  /** "1" opens the service without a token to requests whose host is loopback. Set on the command line, never in wrangler.toml. */
  readonly DEVELOPMENT?: string;
}
