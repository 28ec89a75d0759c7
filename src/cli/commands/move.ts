// `channel move`: takes a channel to another place.
import { JURISDICTIONS, LOCATION_HINTS } from "../../protocol/placement.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import { type Given, UsageError } from "../command-line/given.ts";
import type { Session } from "../command-line/session.ts";

export const MOVE: Command = {
  name: "move",
  needed: ["CHANNEL"],
  summary: "Takes a channel to another place, with all that it has",
  notes: "Who puts and reads waits meanwhile, and goes on by itself.",
  options: [
    { name: "to", value: "HINT", text: `near ${LOCATION_HINTS.join(", ")}` },
    { name: "jurisdiction", value: "NAME", text: `bound to ${JURISDICTIONS.join(" or ")}` },
  ],
  run: move,
};

async function move(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const locationHint = given.word("to", LOCATION_HINTS);
  const jurisdiction = given.word("jurisdiction", JURISDICTIONS);
  if ((locationHint === undefined) === (jurisdiction === undefined)) {
    throw new UsageError("Cannot move the channel: give either --to or --jurisdiction");
  }
  const { name } = session.channel(given.channel);
  const description = await session.channel(name).move({ locationHint, jurisdiction }, { signal });
  await output.show(description, () => `${name} is in ${jurisdiction ?? locationHint ?? ""} now`);
  return EXIT.ok;
}
