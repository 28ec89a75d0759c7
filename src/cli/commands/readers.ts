// `channel readers`: who reads and who puts, and from where.
import { LIMITS } from "../../protocol/limits.ts";
import type { ReaderDescription } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import type { Given } from "../command-line/given.ts";
import { escapeControls } from "../command-line/message-text.ts";
import { formatTime, type Output } from "../command-line/output.ts";
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
  ],
  run: listReaders,
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
