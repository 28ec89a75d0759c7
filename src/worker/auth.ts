// Who may speak to the deployment: whoever has its bearer token; on loopback in development, everybody on this computer.
import type { Env } from "../object/env.ts";
import type { Refusal } from "../protocol/problems.ts";

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Whether this is development: a variable of the command line, honoured for this computer's own address only. */
export function isDevelopment(hostname: string, env: Env): boolean {
  return env.DEVELOPMENT === "1" && LOOPBACK.test(hostname);
}

/** The refusal of a request to `hostname`, or undefined when it may pass. */
export function refuseRequest(request: Request, hostname: string, env: Env): Refusal | undefined {
  if (isDevelopment(hostname, env)) return refuseForeignPage(request);
  if (env.API_TOKEN === undefined || env.API_TOKEN === "") {
    const remedy =
      "Set the secret API_TOKEN (npx wrangler secret put API_TOKEN), or use npm start for development on this computer";
    return { kind: "not-configured", setting: "API_TOKEN", remedy };
  }
  const [, token] = /^bearer +(.+)$/i.exec(request.headers.get("Authorization") ?? "") ?? [];
  const isKnown = token !== undefined && isSameSecret(token, env.API_TOKEN);
  return isKnown ? undefined : { kind: "unauthorized" };
}

/**
 * A page of another site that runs in the developer's browser can reach loopback: it has no business here. Browsers name no origin where a page
 * embeds an image or follows a link, but they tell that the request comes from another site.
 */
function refuseForeignPage({ headers }: Request): Refusal | undefined {
  const origin = headers.get("Origin") ?? (headers.get("Sec-Fetch-Site") === "cross-site" ? "another site" : null);
  if (origin === null || LOOPBACK.test(URL.parse(origin)?.hostname ?? "")) return undefined;
  return {
    kind: "forbidden",
    reason: `Cannot serve a page of ${origin}: without a token only pages of this computer are served`,
  };
}

/** Compares in a time that does not depend on where the two differ. */
function isSameSecret(given: string, expected: string): boolean {
  const encoder = new TextEncoder();
  const a = encoder.encode(given);
  const b = encoder.encode(expected);
  // Unequal lengths are compared as well, to take the time; the length of the token is not a secret.
  if (a.byteLength !== b.byteLength) return !crypto.subtle.timingSafeEqual(a, a);
  return crypto.subtle.timingSafeEqual(a, b);
}
