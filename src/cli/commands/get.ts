// `channel get`: takes some messages and ends.
import { LIMITS } from "../../protocol/limits.ts";
import type { Channel, LeasedMessage } from "../../client/index.ts";
import { Retries } from "../../client/retries.ts";
import { formatLate } from "../command-line/acks.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import type { Given } from "../command-line/given.ts";
import { jsonOfMessage, lineOfMessage } from "../command-line/message-text.ts";
import type { Session } from "../command-line/session.ts";

/** With their pauses some 20 seconds: a server may be started again meanwhile. */
const ACK_RETRIES = 8;

export const GET: Command = {
  name: "get",
  needed: ["CHANNEL"],
  summary: "Takes messages and shows them: they are leased, and acked when they are shown",
  options: [
    { name: "max", value: "N", text: `the most to take, ${LIMITS.batchMessagesMax} at most; default: 1` },
    { name: "wait", value: "TIME", text: "waits for the first, 5m at most; default: tries once" },
    { name: "group", value: "GROUP", text: "for whom; a channel with retention log or interest needs it" },
    { name: "no-ack", text: "leaves them leased: settle them by their lease ids, or they come again" },
    { name: "lease", value: "TIME", text: "how long they are held, 1s to 12h; default: 30s" },
  ],
  run: get,
};

async function get(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const keepsLeases = given.has("no-ack");
  const wanted = {
    max: given.whole("max", 1, LIMITS.batchMessagesMax),
    waitMs: given.timeMs("wait", 0, LIMITS.waitMsMax),
    group: given.text("group"),
    leaseMs: given.timeMs("lease", LIMITS.leaseMsMin, LIMITS.leaseMsMax),
  };
  // Over a socket a get that is stopped takes nothing.
  const { channel } = await session.connect(given.channel);
  const { messages } = await channel.pull({ ...wanted, detached: keepsLeases, signal });
  try {
    signal.throwIfAborted();
    await output.showAll(messages, jsonOfMessage, (message) =>
      lineOfMessage(message, output, keepsLeases ? message.leaseId : undefined),
    );
  } catch (error) {
    await channel.settle({ releases: messages }).catch(() => undefined);
    throw error;
  }
  if (messages.length === 0) {
    session.note(`Nothing is there to be had in ${channel.name}: wait for a message with --wait 30s`);
    return EXIT.refused;
  }
  const late = keepsLeases ? 0 : await ackTaken(channel, messages);
  if (late > 0) session.note(formatLate(late));
  return EXIT.ok;
}

/** Also when the end was asked for meanwhile. Returns how many acks came too late. */
async function ackTaken(channel: Channel, messages: readonly LeasedMessage[]): Promise<number> {
  const retries = new Retries({ retries: ACK_RETRIES });
  const { refused } = await retries.run(() => channel.settle({ acks: messages }), undefined);
  // Settled already: by a try of this ack whose answer was lost.
  return refused.filter(({ problem }) => !(problem.kind === "lease-lost" && problem.cause === "settled")).length;
}
