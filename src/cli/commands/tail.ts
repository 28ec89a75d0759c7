// `channel tail`: shows what passes, and takes nothing.
import { OFFSET_MAX } from "../../protocol/names.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import { type Passed, watchChannel } from "../command-line/event-reading.ts";
import { type Given, parseWhole } from "../command-line/given.ts";
import { jsonOfMessage, lineOfMessage } from "../command-line/message-text.ts";
import type { Output } from "../command-line/output.ts";
import type { Session } from "../command-line/session.ts";

export const TAIL: Command = {
  name: "tail",
  needed: ["CHANNEL"],
  summary: "Shows what passes through a channel, without taking it, until it is stopped",
  notes: `A channel with retention log is shown without gaps, also after a lost connection. Of any other one messages are missing that were taken
before they could be shown.`,
  options: [
    {
      name: "from",
      value: "PLACE",
      text: "first, an offset (both for retention log), or last: what comes next; default: last",
    },
  ],
  run: tail,
};

async function tail(given: Given, session: Session): Promise<ExitCode> {
  const { url, token, output, signal } = session;
  const onReconnect = (isGapless: boolean): void => {
    session.note(isGapless ? "Connected again, without a gap" : "Connected again: what passed meanwhile is missing");
  };
  const watched = watchChannel({
    url,
    token,
    channel: given.channel,
    start: parsePlace(given.text("from")),
    signal,
    onReconnect,
  });
  for await (const passed of watched) await output.show(jsonOfPassed(passed), () => lineOfPassed(passed, output));
  return EXIT.ok;
}

/** What comes next is what the service sends when it is told nothing, of any kind of channel. */
function parsePlace(text: string | undefined): string | undefined {
  if (text === undefined || text === "last") return undefined;
  return text === "first" ? text : String(parseWhole("--from", text, 1, OFFSET_MAX));
}

function jsonOfPassed(passed: Passed): object {
  if (passed.type === "message") return jsonOfMessage(passed.message);
  if (passed.type === "control") return passed.control;
  const { fromOffset, toOffset } = passed;
  return { gap: { fromOffset, toOffset } };
}

function lineOfPassed(passed: Passed, output: Output): string {
  if (passed.type === "message") return lineOfMessage(passed.message, output);
  if (passed.type === "control") {
    return output.style("yellow", `${passed.control.offset}  ${JSON.stringify(passed.control.control)}`);
  }
  return output.style("yellow", `${passed.fromOffset} to ${passed.toOffset} were given up before they could be shown`);
}
