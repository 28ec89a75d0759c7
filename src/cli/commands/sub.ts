// `channel sub`: takes messages as they come.
import { type Channel, type Consumer, type ConsumeOptions, EdgeChannelError, type LeasedMessage } from "../../client/index.ts";
import { ackShown, formatLate, releaseAll } from "../command-line/acks.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import type { Given } from "../command-line/given.ts";
import { bytesOfMessage, jsonOfMessage, lineOfMessage } from "../command-line/message-text.ts";
import { Patience } from "../command-line/patience.ts";
import type { Session } from "../command-line/session.ts";

const BATCH_MESSAGES_MAX = 1000;
const LEASE_MS = 60_000;

export const SUB: Command = {
  name: "sub",
  needed: ["CHANNEL"],
  summary: "Takes messages as they come and shows them, each acked when it is shown",
  notes: `Stopped, it releases what it holds. If it is killed between a message and its ack, the message comes again. Shown is what was written:
what a program behind a pipe leaves there unread is acked all the same. Name with --max how many are wanted.`,
  options: [
    { name: "group", value: "GROUP", text: "for whom; a channel with retention log or interest needs it" },
    { name: "max", value: "N", text: "ends after so many messages" },
    { name: "until-empty", text: "ends when nothing is left to be had" },
    {
      name: "raw",
      text: "writes the bytes of the bodies alone, without anything between them: what channel pipe put, as it was",
    },
  ],
  run: sub,
};

async function sub(given: Given, session: Session): Promise<ExitCode> {
  const { output } = session;
  const isRaw = given.has("raw");
  const { channel } = await session.connect(given.channel);
  const patience = new Patience();
  const group = given.text("group");
  const untilEmpty = given.has("until-empty");
  const { late, shown, failure } = await consumeInto(
    (messages) =>
      isRaw
        ? output.write(Buffer.concat(messages.map(bytesOfMessage)))
        : output.showAll(messages, jsonOfMessage, (message) => lineOfMessage(message, output)),
    channel,
    {
      max: given.whole("max", 1, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY,
      group,
      untilEmpty,
      onReconnect: patience.onFailure,
      signal: AbortSignal.any([session.signal, patience.signal]),
    },
  );
  patience.check();
  if (late > 0) session.note(formatLate(late));
  if (failure === undefined) return EXIT.ok;
  const isRefusal = failure instanceof EdgeChannelError;
  const facts = { group, shown, signal: session.signal };
  if (untilEmpty && isRefusal && (await wasAllHad(failure, session.channel(given.channel), facts))) return EXIT.ok;
  throw failure;
}

/** Whether a channel ended since all in it was taken, and something here. What ends it in another way leaves messages, or drops them. */
export async function wasAllHad(
  { problem }: Pick<EdgeChannelError, "problem">,
  channel: Channel,
  { group, shown, signal }: { readonly group: string | undefined; readonly shown: number; readonly signal: AbortSignal },
): Promise<boolean> {
  // A get is refused so when it would wait for what never comes, such as after the last message of a group.
  if (problem?.kind === "channel-draining") return true;
  if (shown === 0) return false;
  if (problem?.kind === "channel-deleted") return problem.droppedMessages === 0;
  if (problem?.kind !== "channel-closed") return false;
  const { depth } = await (group === undefined ? channel.stats({ signal }) : channel.groups.describe(group, { signal }));
  return depth === 0;
}

interface ReadOptions extends ConsumeOptions {
  readonly max: number;
}

interface Consumed {
  /** How many messages were written. */
  readonly shown: number;
  /** How many of them after their lease was over: they come again. */
  readonly late: number;
  /** What ended it early. */
  readonly failure: Error | undefined;
}

async function consumeInto(
  write: (messages: readonly LeasedMessage[]) => Promise<void>,
  channel: Channel,
  { max, ...options }: ReadOptions,
): Promise<Consumed> {
  let left = max;
  let count = 0;
  let late = 0;
  let failure: Error | undefined;
  const fail = (error: Error): readonly LeasedMessage[] => {
    failure ??= error;
    void consumer.stop();
    return [];
  };
  const work = async (messages: readonly LeasedMessage[]): Promise<void> => {
    const wanted = messages.slice(0, left);
    left -= wanted.length;
    if (left === 0) void consumer.stop();
    const shown = await write(wanted).then(() => wanted, fail);
    count += shown.length;
    await releaseAll(messages.slice(shown.length));
    try {
      late += await ackShown(shown);
    } catch (error) {
      fail(error as Error);
    }
  };
  const batchSize = Math.min(BATCH_MESSAGES_MAX, max);
  const prefetch = Math.min(2 * BATCH_MESSAGES_MAX, max);
  const consumer: Consumer = channel.consume(work, { ...options, batchSize, prefetch, leaseMs: LEASE_MS });
  await consumer.done.catch(fail);
  return { shown: count, late, failure };
}
