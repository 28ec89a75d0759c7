// Breaks of what routing decides, and of how what it decides is delivered. SPEC sections LR and RD.
import type { Mutant } from "./mutant.ts";

const ROUTE_FILE = "src/channel/routing/route.ts";
const READERS_FILE = "src/channel/routed-readers.ts";
const MEMBERS_FILE = "src/channel/member-routing.ts";

export const ROUTING: readonly Mutant[] = [
  {
    name: "LR2: a key that somebody holds goes to another",
    file: ROUTE_FILE,
    from: "if (holder !== undefined) return routeToHolder(table.find(holder));",
    to: "",
  },
  {
    name: "LR3: the owner of a key has no precedence",
    file: ROUTE_FILE,
    from: "if (owner !== undefined && isFree(owner))",
    to: "if (owner !== undefined && request.nowMs < 0)",
  },
  {
    name: "LR6: a busy tier is passed at once",
    file: ROUTE_FILE,
    from: "const isPatient = isWaiting && request.depth <= settings.localityDepth;",
    to: "const isPatient = isWaiting && request.depth < 0;",
  },
  {
    name: "LR6: a busy tier is waited for, however many wait",
    file: ROUTE_FILE,
    from: "const isPatient = isWaiting && request.depth <= settings.localityDepth;",
    to: "const isPatient = isWaiting;",
  },
  {
    name: "RD1: messages are routed past a get that waits",
    file: "src/channel/streams.ts",
    from: "this.#parts.line.hasGet(id) ? undefined : this.#parts.groups.findById(id)",
    to: "this.#parts.groups.findById(id)",
  },
  {
    name: "RD1: members of one place are routed to",
    file: MEMBERS_FILE,
    from: 'locality !== "none" && this.#colos.size > 1',
    to: 'locality !== "none"',
  },
  {
    name: "RD2: of a key that is given in a turn the next goes to anybody",
    file: READERS_FILE,
    from: "return this.#givenOfKey.get(key) ?? this.#keys.holderOf(key);",
    to: "return this.#keys.holderOf(key);",
  },
  {
    name: "RD2: what waits behind a member's own messages of a key is not sent to it",
    file: READERS_FILE,
    from: "for (const holder of this.#keys.contenders) if (this.#mayTake(holder)) yield* this.#keys.firstBehind(holder);",
    to: "",
  },
  {
    name: "RD2: the bytes of a credit are no limit",
    file: READERS_FILE,
    from: "if (sent !== undefined && frame.selection.bytes >= frame.member.credit.bytes)",
    to: "if (sent !== undefined && frame.selection.bytes < 0)",
  },
  {
    name: "RD3: no timer ends a wait",
    file: READERS_FILE,
    from: "this.#await(decision.untilMs);",
    to: "",
  },
  {
    name: "RD3: a message that waits is offered to nobody again",
    file: "src/channel/delivery.ts",
    from: "this.#offer(parkedMessage);",
    to: "",
  },
  {
    name: "RD5: who refuses is not paused",
    file: MEMBERS_FILE,
    from: "for (const holder of refusing) this.table.pause(holder, nowMs, draw32);",
    to: "",
  },
  {
    name: "RD5: what a reader lets lapse comes to it again",
    file: MEMBERS_FILE,
    from: "for (const holder of expired) this.#pauseAtOnce(holder, nowMs, draw32);",
    to: "",
  },
  {
    name: "RD5: what a member was asked for is a refusal",
    file: MEMBERS_FILE,
    from: "if (!this.#asked.delete(offset)) refusing.add(holder);",
    to: "refusing.add(holder);",
  },
  {
    name: "RD7: work is stolen from one colo to another",
    file: MEMBERS_FILE,
    from: 'return a === b && (strategy === "pow2" || strategy === "least-loaded");',
    to: 'return strategy === "pow2" || strategy === "least-loaded";',
  },
  {
    name: "RD8: an attempt that ended does not say why it was this reader",
    file: "src/channel/attempt-history.ts",
    from: "...end, ...(route !== undefined && { route }) }",
    to: "...end }",
  },
];
