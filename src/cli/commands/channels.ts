// `channel stats`, `channels`, `create` and `rm`: channels as a whole.
import { parseJsonObject } from "../../protocol/fault.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { givenSettingsSchema, type GivenSettings, type Retention } from "../../protocol/settings.ts";
import type { ChannelDescription, ChannelEntry } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import { type Given, type Option, UsageError } from "../command-line/given.ts";
import { formatAmount, formatBytes, formatCount, formatTime, type Output } from "../command-line/output.ts";
import type { Session } from "../command-line/session.ts";

/** Rows of a table that are aligned with each other. */
const TABLE_ROWS_MAX = 1000;
const RETENTIONS: readonly Retention[] = ["queue", "interest", "log"];

export const STATS: Command = {
  name: "stats",
  needed: ["CHANNEL"],
  summary: "Describes a channel: how full it is, who waits, what came of its messages",
  options: [],
  run: stats,
};

export const CHANNELS: Command = {
  name: "channels",
  needed: [],
  summary: "Lists the channels in the order of their names",
  notes: "The list is seconds behind.",
  options: [{ name: "prefix", value: "TEXT", text: "only those whose names begin so" }],
  run: list,
};

const SETTING_OPTIONS: readonly Option[] = [
  { name: "max-messages", value: "N", text: "how many messages it holds; default: 1,000,000" },
  { name: "max-bytes", value: "SIZE", text: "how much it holds, such as 64MiB; default: 1GiB" },
  { name: "max-message-bytes", value: "SIZE", text: "how large a message may be, 16MiB at most; default: 1MiB" },
  { name: "retention", value: "KIND", text: `${RETENTIONS.join(", ")}; default: queue` },
  { name: "max-age", value: "TIME", text: "how long a log keeps its messages; default: up to its limits" },
  { name: "ttl", value: "TIME", text: "how long messages are worth handing out; default: for ever" },
  { name: "expire-after-idle", value: "TIME", text: "goes by itself when it was empty and unused for so long; default: never" },
  { name: "commit-delay", value: "TIME", text: "how long a commit waits for more, 100ms at most; default: 0ms" },
];

export const CREATE: Command = {
  name: "create",
  needed: ["CHANNEL"],
  summary: "Creates a channel, or confirms that it is there with these settings",
  options: [
    ...SETTING_OPTIONS,
    { name: "settings", value: "JSON", text: "all settings as PROTOCOL.md names them, in place of the options above" },
  ],
  run: create,
};

export const RM: Command = {
  name: "rm",
  needed: ["CHANNEL"],
  summary: "Deletes a channel, when its readers are done or the grace is over",
  options: [
    { name: "force", text: "at once, with what is left" },
    { name: "grace", value: "TIME", text: "how long readers may go on, 1d at most; default: 5s" },
  ],
  run: remove,
};

async function stats(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const description = await session.channel(given.channel).stats({ signal });
  await output.show(description, () => formatDescription(description, output));
  return EXIT.ok;
}

async function list(given: Given, { service, output, signal }: Session): Promise<ExitCode> {
  let rows: ChannelEntry[] = [];
  const flush = async (): Promise<void> => {
    if (rows.length > 0) await output.write(`${formatChannels(rows, output)}\n`);
    rows = [];
  };
  for await (const entry of service.channels({ prefix: given.text("prefix"), pageSize: LIMITS.directoryPageMax, signal })) {
    rows.push(entry);
    if (rows.length === TABLE_ROWS_MAX) await flush();
  }
  await flush();
  return EXIT.ok;
}

function formatChannels(entries: readonly ChannelEntry[], output: Output): string {
  if (!output.isForPeople) return entries.map((entry) => JSON.stringify(entry)).join("\n");
  const heads = ["channel", "created", "retention", "max messages", "max bytes"];
  const rows = entries.map(({ channel, createdAtMs, settings }) => {
    return [channel, formatTime(createdAtMs), settings.retention, settings.maxMessages, formatBytes(settings.maxBytes)];
  });
  return output.table(heads, rows);
}

async function create(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const description = await session.channel(given.channel).create(parseSettings(given), { signal });
  await output.show(description, () => formatDescription(description, output));
  return EXIT.ok;
}

function parseSettings(given: Given): GivenSettings {
  const json = given.text("settings");
  if (json === undefined) return settingsOfOptions(given);
  const other = SETTING_OPTIONS.find(({ name }) => given.has(name));
  if (other !== undefined) throw new UsageError(`Cannot use both --settings and --${other.name}: give one of them`);
  const settings = parseJsonObject(givenSettingsSchema, json);
  if (settings.ok) return settings.value;
  const [fault] = settings.refusal.errors;
  throw new UsageError(`Cannot use --settings: ${[fault?.pointer, fault?.detail].filter(Boolean).join(": ")}`);
}

function settingsOfOptions(given: Given): GivenSettings {
  return {
    maxMessages: given.whole("max-messages", 1, LIMITS.channelMessagesMax),
    maxBytes: given.bytes("max-bytes", 1, LIMITS.channelBytesMax),
    maxMessageBytes: given.bytes("max-message-bytes", 1, LIMITS.messageBytesMax),
    retention: given.word("retention", RETENTIONS),
    maxAgeMs: given.timeMs("max-age", LIMITS.maxAgeMsMin, LIMITS.maxAgeMsMax),
    messageTtlMs: given.timeMs("ttl", LIMITS.ttlMsMin, LIMITS.ttlMsMax),
    expireAfterIdleMs: given.timeMs("expire-after-idle", LIMITS.expireAfterIdleMsMin, LIMITS.expireAfterIdleMsMax),
    commitDelayMs: given.timeMs("commit-delay", 0, LIMITS.commitDelayMsMax),
  };
}

async function remove(given: Given, session: Session): Promise<ExitCode> {
  const { output, signal } = session;
  const force = given.has("force") || undefined;
  const graceMs = given.timeMs("grace", 0, LIMITS.graceMsMax);
  if (force === true && graceMs !== undefined) throw new UsageError("Cannot use both --force and --grace: give one of them");
  const report = await session.channel(given.channel).delete({ force, graceMs, signal });
  await output.show(report, () =>
    report.state === "deleted"
      ? `Deleted, and ${formatAmount(report.droppedMessages, "message")} with it`
      : `Drains until ${formatTime(report.drainUntilMs ?? 0)}: ${formatAmount(report.depth, "message")} left`,
  );
  return EXIT.ok;
}

function formatDescription(description: ChannelDescription, output: Output): string {
  const { channel, state, settings, limits, depth, bytes, utilization, delivery, waiting, counts } = description;
  const { firstOffset, nextOffset, groups, deadLetters, redrive, scheduled, subscriptions } = description;
  const facts: [string, string | number][] = [
    ["channel", output.style("bold", channel)],
    ["state", state],
    ["retention", settings.retention],
    ["messages", `${formatCount(depth)} of ${formatCount(limits.maxMessages)}`],
    ["bytes", `${formatBytes(bytes)} of ${formatBytes(limits.maxBytes)}`],
    ["full to", `${Math.round(utilization * 100)} %`],
    ["offsets", `from ${firstOffset}, the next is ${nextOffset}`],
  ];
  if (delivery !== null) {
    const { ready, leased, retrying, quarantined } = delivery;
    facts.push(["delivery", formatParts({ ready, leased, retrying, quarantined })]);
  }
  facts.push(["waiting", formatParts({ gets: waiting.gets, puts: waiting.puts, ...subscriptions })]);
  facts.push(["scheduled", scheduled.messages], ["groups", groups], ["dead letters", deadLetters.messages]);
  if (redrive !== null) facts.push(["redrive", `${formatCount(redrive.moved)} moved, ${redrive.ratePerSecond} a second`]);
  facts.push(["since creation", formatParts(counts)], ["created", formatTime(description.createdAtMs)]);
  return output.facts(facts);
}

function formatParts(parts: Readonly<Record<string, number>>): string {
  return Object.entries(parts)
    .map(([name, count]) => `${formatCount(count)} ${name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}`)
    .join(", ");
}
