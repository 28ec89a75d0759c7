// The WebSocket handshake of a channel.
import { SUBPROTOCOL_JSON } from "../protocol/version.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal } from "../protocol/problems.ts";
import { formatSource } from "../protocol/source.ts";
import type { Connections } from "./connections.ts";
import { replyWithProblem } from "./problem-reply.ts";

/** Answers the upgrade and keeps the socket, which may hibernate from then on. */
export function acceptUpgrade(request: Request, connections: Connections): Response {
  const refusal = refuseUpgrade(request, connections);
  if (refusal !== undefined) return replyWithProblem(refusal);
  const { 0: client, 1: server } = new WebSocketPair();
  connections.accept(server, formatSource("socket", request.cf?.["colo"]));
  const isNamed = offeredProtocols(request).length > 0;
  return new Response(null, {
    status: 101,
    webSocket: client,
    headers: isNamed ? { "Sec-WebSocket-Protocol": SUBPROTOCOL_JSON } : {},
  });
}

/** The refusal of a request that is no upgrade, or one that cannot be had now. */
export function refuseUpgrade(request: Request, connections: Connections): Refusal | undefined {
  const offered = offeredProtocols(request);
  const isUpgrade = request.headers.get("Upgrade")?.toLowerCase() === "websocket";
  if (!isUpgrade || (offered.length > 0 && !offered.includes(SUBPROTOCOL_JSON))) {
    return { kind: "upgrade-required", protocols: [SUBPROTOCOL_JSON] };
  }
  return connections.isFull ? { kind: "too-many-connections", limit: LIMITS.connectionsMax, retryAfterMs: 1000 } : undefined;
}

/** A shell may offer none: it speaks JSON then. */
function offeredProtocols(request: Request): string[] {
  const header = request.headers.get("Sec-WebSocket-Protocol") ?? "";
  return header
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}
