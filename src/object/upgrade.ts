// The WebSocket handshake of a channel.
import { SUBPROTOCOL_BIN, SUBPROTOCOL_JSON } from "../protocol/version.ts";
import { LIMITS } from "../protocol/limits.ts";
import { parsePlace, PLACE_HEADER } from "../protocol/place.ts";
import type { Refusal } from "../protocol/problems.ts";
import { formatSource } from "../protocol/source.ts";
import type { Connections } from "./connections.ts";
import { replyWithProblem } from "./problem-reply.ts";
import { READS_HEADER, READS_PLAINLY, RELAY_HEADER } from "./relay-name.ts";

const SUBPROTOCOLS: readonly string[] = [SUBPROTOCOL_BIN, SUBPROTOCOL_JSON];

/** Answers the upgrade and keeps the socket, which may hibernate from then on. */
export function acceptUpgrade(request: Request, connections: Connections): Response {
  const refusal = refuseUpgrade(request, connections);
  if (refusal !== undefined) return replyWithProblem(refusal);
  const { 0: client, 1: server } = new WebSocketPair();
  const headers = acceptSocket(request, server, connections);
  return new Response(null, { status: 101, webSocket: client, headers });
}

/** Keeps a socket for a request that is not refused; returns the headers of the answer. */
export function acceptSocket(request: Request, socket: WebSocket, connections: Connections): Record<string, string> {
  const subprotocol = chooseProtocol(request);
  const place = parsePlace(request.headers.get(PLACE_HEADER));
  connections.accept(socket, {
    source: formatSource("socket", place),
    place,
    isBinary: subprotocol === SUBPROTOCOL_BIN,
    readsPlainly: request.headers.get(READS_HEADER) === READS_PLAINLY,
    relay: request.headers.get(RELAY_HEADER) ?? undefined,
  });
  return subprotocol === undefined ? {} : { "Sec-WebSocket-Protocol": subprotocol };
}

/** The refusal of a request that is no upgrade, or one that cannot be had now. */
export function refuseUpgrade(request: Request, connections: Connections): Refusal | undefined {
  const offered = offeredProtocols(request);
  const isUpgrade = request.headers.get("Upgrade")?.toLowerCase() === "websocket";
  if (!isUpgrade || (offered.length > 0 && chooseProtocol(request) === undefined)) {
    return { kind: "upgrade-required", protocols: SUBPROTOCOLS };
  }
  return connections.isFull ? { kind: "too-many-connections", limit: LIMITS.connectionsMax, retryAfterMs: 1000 } : undefined;
}

/** The first that a client offers, which it likes best. */
function chooseProtocol(request: Request): string | undefined {
  return offeredProtocols(request).find((name) => SUBPROTOCOLS.includes(name));
}

/** A shell may offer none: it speaks JSON then. */
function offeredProtocols(request: Request): string[] {
  const header = request.headers.get("Sec-WebSocket-Protocol") ?? "";
  return header
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}
