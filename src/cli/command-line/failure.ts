// A failure in one line: what happened, and what to do about it.
import { EdgeChannelError } from "../../client/edge-channel-error.ts";
import { EXIT, type ExitCode } from "./command.ts";

interface Failure {
  readonly line: string;
  readonly exitCode: ExitCode;
}

/** What may be done about a refusal, behind the server's own words. */
const REMEDIES: { readonly [Kind in EdgeChannelError["kind"]]?: string } = {
  unauthorized: "set EDGE_CHANNEL_TOKEN to it",
  "channel-full": "wait for room with --wait 30s, or let a reader take messages",
  "wrong-retention": "leave out --from or --group, or create another channel with --retention",
  "settings-conflict": "leave out the settings that differ, or change them by PATCH /v1/channels/CHANNEL",
  "redrive-running": "channel stats CHANNEL shows how far it is",
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
  const line = oneLine(formatRefusal(error));
  return { line, exitCode: origin === "client" && kind === "invalid-request" ? EXIT.usage : EXIT.refused };
}

/** Where the server's words are about requests, ours are about commands. */
function formatRefusal({ kind, message, problem }: EdgeChannelError): string {
  if (problem?.kind === "unknown-channel")
    return `There is no channel ${problem.channel}: channel channels lists those there are, channel create ${problem.channel} makes it`;
  if (problem?.kind === "channel-deleted") return "The channel was deleted: channel create makes it anew";
  if (problem?.kind === "unknown-group") {
    const { group } = problem;
    return `There is no group ${group}: name another with --group, or make it by PUT /v1/channels/CHANNEL/groups/${group}`;
  }
  const remedy = REMEDIES[kind];
  return remedy === undefined ? message : `${message}: ${remedy}`;
}

/** Fetch wraps what the system said. */
function formatCause({ cause }: EdgeChannelError): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  if (!(inner instanceof Error)) return "";
  return ` (${"code" in inner && typeof inner.code === "string" ? inner.code : inner.message})`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}
