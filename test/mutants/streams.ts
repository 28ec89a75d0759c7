// Breaks of streams (SPEC section SB).
import type { Mutant } from "./mutant.ts";

const STREAMS_FILE = "src/channel/streams.ts";

export const STREAMS: readonly Mutant[] = [
  {
    name: "SB1: a connection has a subscription more than it may",
    file: STREAMS_FILE,
    from: "?.size ?? 0) >= subscriptionsPerSocketMax)",
    to: "?.size ?? 0) > subscriptionsPerSocketMax)",
  },
  {
    name: "SB1: a connection that is gone subscribes",
    file: STREAMS_FILE,
    from: "if (origin === undefined || !this.#parts.isConnected(origin.connection))",
    to: "if (origin === undefined)",
  },
  {
    name: "SB2: messages are not taken off the credit",
    file: STREAMS_FILE,
    from: "messages: credit.messages - delivered.messages.length,",
    to: "messages: credit.messages,",
  },
  {
    name: "SB2: bytes are not taken off the credit",
    file: STREAMS_FILE,
    from: "bytes: credit.bytes - delivered.bytes }",
    to: "bytes: credit.bytes }",
  },
  {
    name: "SB2: credit adds up without a limit",
    file: STREAMS_FILE,
    from: "credit: capCredit({ messages: credit.messages + messages",
    to: "credit: structuredClone({ messages: credit.messages + messages",
  },
  {
    name: "SB3: a member keeps its place after its turn",
    file: STREAMS_FILE,
    from: 'this.#parts.line.remove(sent.place);\n    this.#keep(sent.type === "member" ? this.#enter(sent) : sent);',
    to: "void sent.place;\n    this.#keep(sent);",
  },
  {
    name: "SB3: a member does not get what waits behind its own messages of a key",
    file: "src/channel/choice.ts",
    from: "for (const offset of open.keys.firstBehind(request.holder)) this.#own.push(offset);",
    to: "",
  },
  {
    name: "SB4: a member is sent several frames in a commit",
    file: STREAMS_FILE,
    from: "if (served.has(first.holder)) return false;",
    to: "",
  },
  {
    name: "SB4: no commit follows for what is left of a turn",
    file: STREAMS_FILE,
    from: "this.#hasMore ||= this.#hasOpen(group);\n    return true;",
    to: "return true;",
  },
  {
    name: "SB4: a get has its turn before the members that stand before it",
    file: "src/channel/channel.ts",
    from: "if (moment.isRecovering !== true) this.#parts.streams.serveMembers(record, moment, new Set());",
    to: "",
  },
  {
    name: "SB4: members are sent messages while operations are carried out again",
    file: "src/channel/channel.ts",
    from: "if (moment.isRecovering !== true) this.#parts.streams.serveMembers(",
    to: "this.#parts.streams.serveMembers(",
  },
  {
    name: "SB4: what a turn found expired makes no room",
    file: "src/channel/channel.ts",
    from: "groups.applyRetention(moment.nowMs);\n      traffic.serve(moment);",
    to: "if (isServed) traffic.serve(moment);",
  },
  {
    name: "SB8: what a turn found expired does not end a drain",
    file: "src/channel/channel.ts",
    from: "isServed ||= line.size < waiting;\n    }\n    this.#finishDrain(moment.nowMs);",
    to: "isServed ||= line.size < waiting;\n    }",
  },
  {
    name: "SB5: a reader does not move on",
    file: STREAMS_FILE,
    from: "const moved: PlainReader = { ...reader, position };",
    to: "const moved: PlainReader = { ...reader };",
  },
  {
    name: "SB5: a reader is not told of a gap",
    file: STREAMS_FILE,
    from: "return isTap || position >= headOffset ?",
    to: "return isTap || headOffset > 0 ?",
  },
  {
    name: "SB5: a reader is sent the small page that was read for another",
    file: STREAMS_FILE,
    from: "return isWithin && (page",
    to: "return isWithin || (page",
  },
  {
    name: "SB6: the keys of a filter are not looked at",
    file: "src/channel/filter.ts",
    from: "if (keys !== undefined && (message.key === undefined || !keys.includes(message.key))) return false;",
    to: "",
  },
  {
    name: "SB6: the headers of a filter are not looked at",
    file: "src/channel/filter.ts",
    from: "return headers === undefined ||",
    to: "return keys === undefined || headers === undefined ||",
  },
  {
    name: "SB6: a turn looks at all records",
    file: "src/channel/log-reading.ts",
    from: "if (looked++ === LIMITS.browseRecordsMax)",
    to: "if (looked++ < 0)",
  },
  {
    name: "SB7: a tap is told a token",
    file: STREAMS_FILE,
    from: "const resume = reader.isTap ? {} :",
    to: 'const resume = reader.type !== "reader" ? {} :',
  },
  {
    name: "SB7: a token of another life is good",
    file: STREAMS_FILE,
    from: "place.life === record.life && place.offset <= nextOffset;",
    to: "place.offset <= nextOffset;",
  },
  {
    name: "SB8: what a member holds is not released when it unsubscribes",
    file: STREAMS_FILE,
    from: "this.#parts.groups.findById(subscription.group)?.settlement.releaseOf(connection, holder, nowMs);",
    to: "void [connection, holder, nowMs];",
  },
  {
    name: "SB8: a connection that closed leaves its subscriptions",
    file: "src/channel/channel.ts",
    from: "this.#parts.streams.disconnect(connection);",
    to: "",
  },
  {
    name: "SB8: a group that was deleted leaves its members",
    file: "src/channel/group-desk.ts",
    from: 'this.#streams.endGroup(group.id, { kind: "unknown-group", group: group.name });',
    to: "",
  },
  {
    name: "SB8: readers of a log that was closed are not sent the rest",
    file: STREAMS_FILE,
    from: 'const mayFinish = refusal.kind === "channel-closed" &&',
    to: 'const mayFinish = refusal.kind === "channel-deleted" &&',
  },
  {
    name: "SB9: subscriptions are forgotten on waking",
    file: STREAMS_FILE,
    from: "for (const subscription of subscriptions) this.#keep(subscription);",
    to: "void subscriptions;",
  },
  {
    name: "SB9: members lose their places on waking",
    file: "src/channel/channel-parts.ts",
    from: "line.restore([...waiters, ...places]);",
    to: "line.restore([...waiters, ...places.slice(1)]);",
  },
  {
    name: "SB9: a member is another holder after waking",
    file: "src/object/packed-subscription.ts",
    from: "credit: { messages, bytes }, group, holder, leaseMs };",
    to: 'credit: { messages, bytes }, group, holder: holder.replace(/^./u, "0"), leaseMs };',
  },
  {
    name: "SB9: a channel with subscriptions is idle",
    file: "src/channel/channel.ts",
    from: "line.size > 0 || streams.size > 0;",
    to: "line.size > 0;",
  },
];
