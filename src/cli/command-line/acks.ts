// What becomes of messages that a command took: those that were shown are acked, and the others released.
import { EdgeChannelError, type LeasedMessage } from "../../client/index.ts";
import { formatAmount } from "./output.ts";

/** Acks what was shown, also when the end was asked for meanwhile, and returns how many acks came too late. */
export async function ackShown(messages: readonly LeasedMessage[]): Promise<number> {
  const acks = await Promise.allSettled(messages.map((message) => message.ack()));
  const failures = acks.filter((ack) => ack.status === "rejected").map(({ reason }) => reason as Error);
  const late = failures.filter((error) => error instanceof EdgeChannelError && error.origin === "server");
  const [other] = failures.filter((error) => !late.includes(error));
  if (other !== undefined) throw other;
  return late.length;
}

/** Where this fails, the leases end with the connection, or by themselves. */
export async function releaseAll(messages: readonly LeasedMessage[]): Promise<void> {
  await Promise.allSettled(messages.map((message) => message.release()));
}

export function formatLate(late: number): string {
  return `The lease of ${formatAmount(late, "message")} was over before they were acked: they come again`;
}
