// `channel tail`: shows what passes, and takes nothing.
import { OFFSET_MAX } from "../../protocol/names.ts";
import type { ControlRecord, ReceivedMessage, StreamGap, StreamStart } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import { type Given, readWhole, UsageError } from "../command-line/given.ts";
import { jsonOfMessage, lineOfMessage } from "../command-line/message-text.ts";
import type { Output } from "../command-line/output.ts";
import { Patience } from "../command-line/patience.ts";
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
  const { output, signal } = session;
  const from = parsePlace(given.text("from"));
  const { channel, description } = await session.connect(given.channel);
  const isLog = from !== undefined || description?.settings.retention === "log";
  const patience = new Patience();
  let hasBegun = false;
  let shown = Promise.resolve();
  const show = (passed: Passed): void => {
    shown = output.show(jsonOfPassed(passed), () => lineOfPassed(passed, output));
    // The next message tells of it.
    shown.catch(() => undefined);
  };
  const stream = channel.subscribe({
    ...(isLog ? { from } : { tap: true }),
    signal: AbortSignal.any([signal, patience.signal]),
    onControl: (control) => show({ type: "control", control }),
    onGap: (gap) => show({ type: "gap", ...gap }),
    onBegin: () => {
      if (hasBegun) session.note(isLog ? "Connected again, without a gap" : "Connected again: what passed meanwhile is missing");
      hasBegun = true;
    },
    onReconnect: patience.onFailure,
  });
  for await (const message of stream) {
    show({ type: "message", message });
    await shown;
  }
  patience.check();
  return EXIT.ok;
}

type Passed =
  | { readonly type: "message"; readonly message: ReceivedMessage }
  | { readonly type: "control"; readonly control: ControlRecord }
  /** Records that the log gave up before they could be shown. */
  | ({ readonly type: "gap" } & StreamGap);

function parsePlace(text: string | undefined): StreamStart | undefined {
  if (text === undefined || text === "last") return undefined;
  if (text === "first") return { at: text };
  const offset = readWhole(text, 1, OFFSET_MAX);
  if (offset !== undefined) return { offset };
  throw new UsageError(`Cannot use --from "${text}": expected first, last, or an offset from 1 to ${OFFSET_MAX}`);
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
