// The address of the service, where it begins as it has to and is none all the same: of others the client says what is wrong.
import { UsageError } from "./given.ts";

export function checkAddress(url: string): void {
  const authority = /^https?:[\\/]*([^\\/?#]*)/i.exec(url)?.[1];
  if (authority === undefined || URL.canParse(url)) return;
  const [, host = "", port] = /^(?:.*@)?(\[[^\]]*\]?|[^:]*)(?::(.*))?$/.exec(authority) ?? [];
  throw new UsageError(`Cannot use EDGE_CHANNEL_URL "${url}": ${describeFault(host, port)}`);
}

function describeFault(host: string, port: string | undefined): string {
  if (host === "") return "it names no host";
  if (port === undefined || !URL.canParse(`http://${host}`)) return `"${host}" is no host`;
  return `"${port}" is no port: expected a whole number from 1 to 65535`;
}
