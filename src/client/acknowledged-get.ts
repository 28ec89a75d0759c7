// A get that loses nothing: messages are leased, and removed when they have arrived.
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { Retries } from "./retries.ts";
import type { GetResult, Leased, PullOptions, SettleReport, Transport } from "./transport.ts";

/**
 * Takes messages by lease and acks them before it returns.
 *
 * Removing them at once would lose those of a reply that does not arrive. Here a reply that is lost costs its messages a lease: they come
 * again. What remains is the ack: where nobody knows what became of it, the messages are returned, and may come a second time. An ack is
 * repeated without harm, since a lease ends once. A message whose lease was over before its ack is somebody else's and not returned.
 */
export async function getAcknowledged(transport: Transport, retries: Retries, options: PullOptions): Promise<GetResult> {
  const { messages, controls, state } = await transport.pull(options);
  const report = messages.length === 0 ? undefined : await ackAll(transport, retries, messages, options.signal);
  if (report === undefined) return { messages, controls, state };
  const lost = report.refused.filter(({ problem }) => !isSettled(problem));
  const places = new Set(lost.map(({ pointer }) => pointer));
  const kept = messages.filter((_, index) => !places.has(`/acks/${index}/leaseId`));
  const [first] = lost;
  if (kept.length === 0 && first !== undefined) throw EdgeChannelError.fromProblem(first.problem);
  return { messages: kept, controls, state: report.state };
}

/** What became of the acks; undefined where nobody knows. */
async function ackAll(
  transport: Transport,
  retries: Retries,
  acks: readonly Leased[],
  signal: AbortSignal | undefined,
): Promise<SettleReport | undefined> {
  try {
    return await retries.run(() => transport.settle({ acks }, { signal }), signal);
  } catch (error) {
    // Aborted or not, the messages are here: better twice than never.
    if (error instanceof EdgeChannelError && (error.outcome === "unknown" || error.kind === "aborted")) return undefined;
    throw error;
  }
}

/** Whether the message had ended already: by a try of this ack whose reply was lost, or because it was removed. */
function isSettled(problem: SettleReport["refused"][number]["problem"]): boolean {
  return problem.kind === "lease-lost" && problem.cause === "settled";
}
