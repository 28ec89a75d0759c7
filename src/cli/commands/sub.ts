// `channel sub`: takes messages as they come.
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import type { Given } from "../command-line/given.ts";
import { formatLate, readLeased } from "../command-line/leased-reading.ts";
import { bytesOfMessage, jsonOfMessage, lineOfMessage } from "../command-line/message-text.ts";
import type { Session } from "../command-line/session.ts";

export const SUB: Command = {
  name: "sub",
  needed: ["CHANNEL"],
  summary: "Takes messages as they come and shows them, each acked when it is shown",
  notes: `Stopped, it releases what it holds. If it is killed between a message and its ack, the message comes again.`,
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
  const { output, signal } = session;
  const isRaw = given.has("raw");
  const max = given.whole("max", 1, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY;
  const { channel } = await session.connect(given.channel);
  const { late } = await readLeased(channel, {
    group: given.text("group"),
    max,
    endsWhenEmpty: given.has("until-empty"),
    signal,
    write: (messages) =>
      isRaw
        ? output.write(Buffer.concat(messages.map(bytesOfMessage)))
        : output.showAll(messages, jsonOfMessage, (message) => lineOfMessage(message, output)),
  });
  if (late > 0) session.note(formatLate(late));
  return EXIT.ok;
}
