// Looks at all that a channel shows, and compares it with the model.
import type { Channel } from "../../src/channel/channel.ts";
import type { ChannelFacts, Moment, Origin } from "../../src/channel/operation.ts";
import { hasPace, type PlainReader } from "../../src/channel/subscription.ts";
import type { GroupDescription } from "../../src/protocol/description.ts";
import type { Message, ScheduledMessage } from "../../src/protocol/message.ts";
import { Broken, expectHolds } from "./failure.ts";
import type { Seen } from "./invariants.ts";
import type { Model } from "./model/model.ts";
import type { KeptMessage } from "./model/state.ts";
import { expectSame } from "./same.ts";

/** Who is looked at, for the message of a failure. */
export interface Looked {
  readonly channel: Channel;
  readonly model: Model;
  readonly moment: Moment;
  readonly who: string;
}

/** A plain reader of a channel, as it is kept. */
export function findReader(channel: Channel, { connection, request }: Origin): PlainReader | undefined {
  const found = channel.subscriptionsOf(connection).find((one) => one.request === request);
  return found?.type === "reader" ? found : undefined;
}

/** What a channel that just woke says of itself, and a model that woke with it. */
export function describeWoken({ channel, model, moment, who }: Looked): ChannelFacts | undefined {
  const outcome = channel.apply({ type: "describe" }, moment);
  expectSame(outcome, model.apply({ type: "describe" }, moment, undefined, outcome), `${who} describes itself`);
  return outcome.type === "described" ? outcome.facts : undefined;
}

/** Everything that is kept. */
export function look(looked: Looked, facts: ChannelFacts): Seen {
  const { channel, model, who } = looked;
  expectSame(channel.record, model.state.record, `${who} has its record`);
  const { messages, controls } = browse(looked);
  expectHolds(
    messages.length === model.messages.length,
    `${who} keeps ${messages.length} messages, not ${model.messages.length}`,
  );
  expectHolds(messages.length + controls === model.state.records.length, `${who} keeps ${controls} control records`);
  for (const [place, kept] of model.messages.entries()) {
    const message = messages[place];
    // The whole comparison only where the quick one finds a difference.
    if (message !== undefined && isSameMessage(message, kept)) continue;
    expectSame(message, { ...kept.message, offset: kept.offset, putAtMs: kept.putAtMs }, `${who} keeps its messages`);
    throw new Broken(`${who} keeps the message at ${kept.offset} in another form`);
  }
  lookAtSubscriptions(looked);
  lookAtWatches(looked);
  lookAtReaders(looked);
  lookAtLetters(looked);
  lookAtCheckpoints(looked);
  return { facts, messages, groups: lookAtGroups(looked), scheduled: listScheduled(looked) };
}

/** SB9: what is kept of each subscription. */
function lookAtSubscriptions({ channel, model, who }: Looked): void {
  for (const { connection, request, credit, ...expected } of model.state.subscriptions) {
    const found = channel.subscriptionsOf(connection).find((one) => one.request === request);
    const what = `${who} keeps the subscription ${connection}/${request}`;
    expectSame(found !== undefined && hasPace(found) ? found.credit : undefined, credit, `[SB2] ${what}`);
    if (found?.type === "reader" && expected.type === "reader") {
      const { isTap, position, filter } = found;
      expectSame({ type: "reader", isTap, position, filter }, expected, `[SB5] ${what}`);
    } else {
      const isRight = found?.type === expected.type && found.type === "member";
      const hasCredit = credit.messages > 0 && credit.bytes > 0;
      expectHolds(isRight && (found.place !== undefined) === hasCredit, `[SB3] ${what}`);
    }
  }
}

/** RG3: readers that are shown are those that are subscribed, wait or hold leases, and no others. */
function lookAtReaders({ channel, model, moment, who }: Looked): void {
  const page = channel.apply({ type: "list-readers", role: "reader", limit: 1000 }, moment);
  if (page.type !== "readers") return;
  const { subscriptions, gets } = model.state;
  const countOf = (type: string, isTap?: boolean): number =>
    new Set(
      subscriptions
        .filter((one) => one.type === type && (one.type !== "reader" || one.isTap === isTap))
        .map((one) => one.connection),
    ).size;
  const shown = (kind: string): number => page.readers.filter((one) => one.kind === kind && one.connections > 0).length;
  expectHolds(shown("plain") === countOf("reader", false), `[RG3] ${who} shows its plain readers`);
  expectHolds(shown("tap") === countOf("reader", true), `[RG3] ${who} shows its taps`);
  expectHolds(shown("member") > 0 === countOf("member") > 0, `[RG3] ${who} shows its members`);
  const credit = subscriptions.reduce((sum, one) => sum + Math.max(0, one.credit.messages), 0);
  const wanted = gets.reduce((sum, { max, isMember }) => sum + (isMember === true ? 0 : max), 0);
  const told = page.readers.reduce((sum, one) => sum + one.credit, 0);
  expectSame(told, credit + wanted, `[RG3] The credit that ${who} shows`);
  const leased = model.describeGroups(moment.nowMs).reduce((sum, group) => sum + group.leased, 0);
  const inFlight = page.readers.reduce((sum, one) => sum + one.inFlight, 0);
  // Those that are kept for who was cut off are nobody's.
  expectHolds(inFlight <= leased, `[RG3] ${who} shows no more leases than there are`);
}

/** BP5: what is kept of each watch. */
function lookAtWatches({ channel, model, who }: Looked): void {
  for (const { connection, request, isHigh } of model.state.watches) {
    const found = channel.subscriptionsOf(connection).find((one) => one.request === request);
    expectSame(found, { type: "watch", connection, request, isHigh }, `[BP5] ${who} keeps the watch ${connection}/${request}`);
  }
}

function lookAtGroups({ channel, model, moment, who }: Looked): readonly GroupDescription[] {
  const groups: GroupDescription[] = [];
  for (let after: string | null = ""; after !== null;) {
    const page = channel.apply({ type: "list-groups", after, limit: 2 }, moment);
    if (page.type !== "groups") throw new Broken(`${who} does not show its groups`);
    groups.push(...page.groups);
    after = page.next;
  }
  expectSame(groups, model.describeGroups(moment.nowMs), `[GP3] ${who} describes its groups`);
  return groups;
}

function browse({ channel, moment, who }: Looked): { messages: Message[]; controls: number } {
  const messages: Message[] = [];
  let controls = 0;
  for (let from: number | null = 1; from !== null;) {
    const page = channel.apply({ type: "browse", fromOffset: from, limit: 1000 }, moment);
    if (page.type !== "page") throw new Broken(`${who} cannot be browsed: ${page.type}`);
    messages.push(...page.messages);
    controls += page.controls.length;
    from = page.nextOffset;
  }
  return { messages, controls };
}

function lookAtLetters({ channel, model, moment, who }: Looked): void {
  const { deadLetters } = model.state;
  let found = 0;
  for (let from: number | null = 1; from !== null;) {
    const page = channel.apply({ type: "dead-letters", fromOffset: from, limit: 100, filter: {} }, moment);
    if (page.type !== "dead-letter-page") throw new Broken(`${who} does not show its dead letters`);
    for (const letter of page.letters) expectSame(letter, deadLetters[found++], `[DL1] ${who} keeps its dead letters`);
    from = page.nextOffset;
  }
  expectSame(found, deadLetters.length, `[DL1] The number of dead letters: ${who}`);
}

function listScheduled({ channel, model, moment, who }: Looked): ScheduledMessage[] {
  const messages: ScheduledMessage[] = [];
  let after: string | undefined;
  do {
    const operation = { type: "list-scheduled", limit: 50, ...(after !== undefined && { after }) } as const;
    const page = channel.apply(operation, moment);
    if (page.type !== "scheduled-page") throw new Broken(`${who} does not list what is scheduled`);
    messages.push(...page.messages);
    after = page.next ?? undefined;
  } while (after !== undefined);
  expectSame(messages, model.scheduled, `[SD9] ${who} keeps what is scheduled`);
  return messages;
}

function lookAtCheckpoints({ channel, model, moment, who }: Looked): void {
  const { checkpoints } = model.state;
  const page = channel.apply({ type: "list-checkpoints", limit: 1000 }, moment);
  const listed = page.type === "checkpoints" ? page.checkpoints : [];
  expectSame(listed.length, checkpoints.length, `[CP6] The number of checkpoints: ${who}`);
  for (const checkpoint of checkpoints) {
    const read = channel.apply({ type: "read-checkpoint", name: checkpoint.name }, moment);
    expectSame(read, { type: "checkpoint", checkpoint }, `[CP1] ${who} keeps its checkpoints`);
  }
}

function isSameMessage(actual: Message, { message, offset, putAtMs }: KeptMessage): boolean {
  const isPlaced = actual.offset === offset && actual.putAtMs === putAtMs && actual.ttlMs === message.ttlMs;
  const isLabelled =
    actual.key === message.key && actual.messageId === message.messageId && actual.redrivenFrom === message.redrivenFrom;
  const isTyped = actual.contentType === message.contentType && actual.presentation === message.presentation;
  const hasHeaders = actual.headers?.["trace"] === message.headers?.["trace"];
  return isPlaced && isLabelled && isTyped && hasHeaders && Buffer.compare(actual.body, message.body) === 0;
}
