// `channel redrive`: puts dead letters again.
import { LIMITS } from "../../protocol/limits.ts";
import type { Channel } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import type { Given } from "../command-line/given.ts";
import { formatAmount } from "../command-line/output.ts";
import type { Session } from "../command-line/session.ts";

export const REDRIVE: Command = {
  name: "redrive",
  needed: ["CHANNEL"],
  summary: "Puts the dead letters of a channel again, as new messages",
  notes:
    "Without --rate it moves what fits now and ends. With it the server goes on by itself, and waits where the channel is full.",
  options: [{ name: "rate", value: "N", text: `so many a second, ${LIMITS.redrivePerSecondMax} at most` }],
  run: redrive,
};

async function redrive(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const channel = session.channel(given.channel);
  const rate = given.whole("rate", 1, LIMITS.redrivePerSecondMax);
  if (rate !== undefined) {
    const job = await channel.deadLetters.beginRedrive(rate, {}, { signal });
    await output.show(
      job,
      () => `The server puts them again, ${rate} a second: channel stats ${channel.name} shows how far it is`,
    );
    return EXIT.ok;
  }
  const report = await moveAll(channel, signal);
  await output.show(report, () => `Put again: ${formatAmount(report.moved, "message")}`);
  if (!report.isMore) return EXIT.ok;
  session.note("The rest did not fit: let readers take messages, or use --rate, which waits for room");
  return EXIT.refused;
}

/** Moves what is there when it begins: what dies again meanwhile has a higher offset. */
async function moveAll(channel: Channel, signal: AbortSignal): Promise<{ readonly moved: number; readonly isMore: boolean }> {
  const { nextOffset } = await channel.stats({ signal });
  let moved = 0;
  let from = 1;
  while (from < nextOffset) {
    const step = await channel.deadLetters.redrive({ from, max: LIMITS.browseMessagesMax }, { signal });
    moved += step.moved;
    if (!step.isMore || step.next === undefined) return { moved, isMore: step.isMore };
    if (step.moved === 0 && step.next === from) return { moved, isMore: true };
    from = step.next;
  }
  return { moved, isMore: false };
}
