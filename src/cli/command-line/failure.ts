// A failure in one line: what happened, and what to do about it.
import { EdgeChannelError } from "../../client/edge-channel-error.ts";
import { EXIT, type ExitCode } from "./command.ts";

interface Failure {
  readonly line: string;
  readonly exitCode: ExitCode;
}

/** What may be done about a refusal; the server's own words say the rest. */
const REMEDIES: { readonly [Kind in EdgeChannelError["kind"]]?: string } = {
  unauthorized: "set EDGE_CHANNEL_TOKEN to the token of the deployment",
  "unknown-channel": "create it with: channel create CHANNEL",
  "unknown-group": "create the group first, by PUT /v1/channels/CHANNEL/groups/GROUP",
  "channel-full": "wait for room with --wait 30s, or let a reader take messages",
  "settings-conflict": "leave out the settings that differ, or change them by PATCH /v1/channels/CHANNEL",
  "channel-deleted": "create it again with: channel create CHANNEL",
  "redrive-running": "wait until it is done: channel stats CHANNEL shows how far it is",
};

export function describeFailure(error: unknown, url: string): Failure {
  if (!(error instanceof EdgeChannelError)) {
    return { line: oneLine(error instanceof Error ? error.message : String(error)), exitCode: EXIT.refused };
  }
  const { kind, origin, message } = error;
  if (kind === "unexpected-reply") {
    return { line: oneLine(`${message}: check EDGE_CHANNEL_URL, which is ${url}`), exitCode: EXIT.unreachable };
  }
  if (origin === "network" || kind === "connection-failed") {
    const what = `Cannot reach the server at ${url}${formatCause(error)}`;
    return { line: oneLine(`${what}: start it with npm start, or set EDGE_CHANNEL_URL`), exitCode: EXIT.unreachable };
  }
  const remedy = REMEDIES[kind];
  const line = oneLine(remedy === undefined ? message : `${message}: ${remedy}`);
  return { line, exitCode: origin === "client" && kind === "invalid-request" ? EXIT.usage : EXIT.refused };
}

/** Fetch wraps what the system said. */
function formatCause({ cause }: EdgeChannelError): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return inner instanceof Error && "code" in inner && typeof inner.code === "string" ? ` (${inner.code})` : "";
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}
