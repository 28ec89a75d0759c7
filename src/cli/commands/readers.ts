// `channel readers`: who reads and who puts, and from where; or who comes and goes.
import { LIMITS } from "../../protocol/limits.ts";
import type { PresenceEvent, ReaderDescription } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import { UsageError, type Given } from "../command-line/given.ts";
import { escapeControls } from "../command-line/message-text.ts";
import { formatAmount, formatCount, formatTime, type Output } from "../command-line/output.ts";
import { Patience } from "../command-line/patience.ts";
import type { Session } from "../command-line/session.ts";

/** Rows of a table that are aligned with each other. */
const TABLE_ROWS_MAX = 1000;
const ROLES: readonly ReaderDescription["role"][] = ["reader", "producer"];

export const READERS: Command = {
  name: "readers",
  needed: ["CHANNEL"],
  summary: "Lists who reads a channel and who puts into it, and from where",
  notes: "Who has no name is called ~ and a number.",
  options: [
    { name: "colo", value: "CODE", text: "only those of a colo, such as FRA" },
    { name: "group", value: "NAME", text: "only those that read a group" },
    { name: "role", value: "ROLE", text: `${ROLES.join(" or ")}; default: both` },
    {
      name: "follow",
      text: "in place of the list, how many readers there are and who joins, leaves and expires, until it is stopped",
    },
  ],
  run: (given, session) => (given.has("follow") ? followReaders(given, session) : listReaders(given, session)),
};

async function listReaders(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const filter = { colo: given.text("colo"), group: given.text("group"), role: given.word("role", ROLES) };
  let rows: ReaderDescription[] = [];
  const flush = async (): Promise<void> => {
    if (rows.length > 0) await output.write(`${formatReaders(rows, output)}\n`);
    rows = [];
  };
  for await (const entry of session.channel(given.channel).readers({ ...filter, pageSize: LIMITS.readersPageMax, signal })) {
    rows.push(entry);
    if (rows.length === TABLE_ROWS_MAX) await flush();
  }
  await flush();
  return EXIT.ok;
}

/** Each line is written before the next is taken: what comes faster is counted. */
async function followReaders(given: Given, session: Session): Promise<ExitCode> {
  const filter = ["colo", "group", "role"].find((option) => given.has(option));
  if (filter !== undefined) throw new UsageError(`Cannot use --${filter} with --follow: it tells of all readers`);
  const { output, signal } = session;
  const { channel } = await session.connect(given.channel);
  const patience = new Patience();
  const events = channel.presence({ signal: AbortSignal.any([signal, patience.signal]), onReconnect: patience.onFailure });
  for await (const event of events) await output.show(event, () => lineOfPresence(event));
  patience.check();
  return EXIT.ok;
}

export function lineOfPresence(event: PresenceEvent): string {
  if (event.type !== "present")
    return `${event.type.padEnd(6)}  ${(event.colo ?? "?").padEnd(3)}  ${escapeControls(event.reader)}`;
  const colos = event.colos.map(({ colo, readers }) => `  ${colo ?? "?"} ${formatCount(readers)}`);
  return `${formatAmount(event.readers, "reader")}${colos.join("")}`;
}

export function formatReaders(readers: readonly ReaderDescription[], output: Pick<Output, "isForPeople" | "table">): string {
  if (!output.isForPeople) return readers.map((entry) => JSON.stringify(entry)).join("\n");
  const heads = [
    "id",
    "role",
    "kind",
    "group",
    "colo",
    "region",
    "connections",
    "credit",
    "in flight",
    "per second",
    "last seen",
  ];
  const rows = readers.map(
    ({ id, role, kind, group, colo, region, connections, credit, inFlight, ratePerSecond, lastSeenMs }) => {
      const place = [colo ?? "", region ?? ""];
      const seen = lastSeenMs === null ? "" : formatTime(lastSeenMs);
      return [escapeControls(id), role, kind, group ?? "", ...place, connections, credit, inFlight, ratePerSecond, seen];
    },
  );
  return output.table(heads, rows);
}
