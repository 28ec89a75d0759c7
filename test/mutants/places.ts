// Breaks of who is told to be there, of channels that move, and of relays. SPEC sections RG, NM and RY.
import type { Mutant } from "./mutant.ts";

const REGISTRY = { file: "src/channel/reader-registry.ts", tests: ["test/unit/channel-reader-registry.test.ts"] };
const ACTIVITY = { file: "src/channel/activity.ts", tests: ["test/unit/channel-reader-registry.test.ts"] };
const PRESENCE = { file: "src/channel/presence.ts", tests: ["test/unit/channel-presence.test.ts"] };
const FLOW = { file: "src/channel/lease-flow.ts", tests: ["test/unit/channel-presence.test.ts"] };
const MOVES = ["test/unit/testing/moving.test.ts"];
const MOVER = { file: "src/object/mover.ts", tests: MOVES };
const DEPARTURE = { file: "src/object/departure.ts", tests: MOVES };
const ARRIVAL = { file: "src/object/arrival.ts", tests: MOVES };
const WHEREABOUTS = { file: "src/object/whereabouts.ts", tests: MOVES };
const RELAYS = ["test/unit/relay.test.ts"];
const RELAY = { file: "src/channel/relay/relay.ts", tests: RELAYS };
const RELAY_BOOK = { file: "src/object/relay-book.ts", tests: [], workersTest: "test/workers/relays.test.ts" };

const READERS: readonly Mutant[] = [
  {
    ...REGISTRY,
    name: "RG2: one id in two colos is one entry",
    from: '[id, place?.colo ?? "", role, kind, group]',
    to: "[id, role, kind, group]",
  },
  {
    ...REGISTRY,
    name: "RG2: the credit of a member counts again with each lease",
    from: "nowMs), credit: 0, inFlight: 1 };",
    to: "nowMs), inFlight: 1 };",
  },
  {
    ...REGISTRY,
    name: "RG3: what is kept for who was cut off is a reader",
    from: "if (graceUntilMs !== undefined) return undefined;",
    to: "",
  },
  {
    ...REGISTRY,
    name: "RG6: the last entry of a page comes again on the next",
    from: "mark > after)",
    to: "mark >= after)",
  },
  {
    ...REGISTRY,
    name: "RG6: behind the last page there is another one",
    from: "marks.length > limit",
    to: "marks.length >= limit",
  },
  {
    ...REGISTRY,
    name: "RG7: who only watches is listed",
    from: 'if (one.type === "presence") continue;',
    to: "",
  },
  {
    ...ACTIVITY,
    name: "RG3: a producer without a connection is there for ever",
    from: "lastSeenMs > nowMs - LIMITS.producerSeenMs",
    to: "lastSeenMs <= nowMs",
  },
  {
    ...ACTIVITY,
    name: "RG3: what a connection put outlives it",
    from: "this.#connections.delete(connection);",
    to: "",
  },
  {
    ...ACTIVITY,
    name: "RG5: who was seen is remembered without bound",
    from: "if (map.size <= LIMITS.seenReadersMax) return;",
    to: "if (map.size > 0) return;",
  },
  {
    ...PRESENCE,
    name: "RG7: a colo that everybody left is told on",
    from: "else this.#colos.delete(reader.colo);",
    to: "",
  },
  {
    ...PRESENCE,
    name: "RG8: who left is not told",
    from: "if (before > 0 && after > 0) return;",
    to: "if (before > 0) return;",
  },
  {
    ...PRESENCE,
    name: "RG8: a reader with two connections leaves with the first",
    from: "if (before > 0 && after > 0) return;",
    to: "if (before > 0 && after > before) return;",
  },
  {
    ...PRESENCE,
    name: "RG8: leases that are over are told as a reader that left",
    from: "this.#expired.add(markOf({ id, colo }));",
    to: "",
  },
  {
    ...PRESENCE,
    name: "RG9: as many changes as may be told are not",
    from: "changes.length > LIMITS.presenceChangesMax",
    to: "changes.length >= LIMITS.presenceChangesMax",
  },
  {
    ...PRESENCE,
    name: "RG10: of what a watch was told nothing is kept",
    from: "kept.set({ ...watch, digest });",
    to: "",
  },
  {
    ...PRESENCE,
    name: "RG10: on waking nobody looks whether others are there",
    from: "this.#isOn = this.#mayDiffer = true;",
    to: "this.#isOn = true;",
  },
  {
    ...PRESENCE,
    name: "RG10: what commits without a look changed is forgotten",
    from: "if (this.#isOn && !this.#hasLooked)",
    to: "if (this.#isOn && this.#hasLooked)",
  },
  {
    ...FLOW,
    name: "RG8: leases that are kept for who was cut off are a reader",
    from: "if (!this.#isWatched || lease.graceUntilMs !== undefined) return;",
    to: "if (!this.#isWatched) return;",
  },
  {
    ...FLOW,
    name: "RG8: who settled its last lease stays",
    from: "else ofKeeper.delete(holder);",
    to: "else ofKeeper.set(holder, { holder, reader, count: 0 });",
  },
  {
    ...FLOW,
    name: "RG8: nobody looks at whose leases changed",
    from: "this.#touched.add(keeper);",
    to: "",
  },
  {
    ...PRESENCE,
    name: "RG8: the alarm is not set for leases whose end is told",
    file: "src/channel/channel.ts",
    from: "streams.isPresenceWatched ? groups.ids() : line.waitingGroups()",
    to: "line.waitingGroups()",
  },
];

const CHANNEL_MOVES: readonly Mutant[] = [
  {
    ...WHEREABOUTS,
    name: "NM4: an object serves a route that is over",
    from: "epoch === standing.route.epoch;",
    to: "epoch <= standing.route.epoch;",
  },
  {
    ...WHEREABOUTS,
    name: "NM5: an object that is brought a channel serves it before it is decided",
    from: 'if (standing.state !== "here") return false;',
    to: "",
  },
  {
    ...WHEREABOUTS,
    name: "NM8: nobody looks how a move stands that nobody goes on with",
    from: 'state === "arriving" || move !== undefined || target !== undefined',
    to: 'state === "arriving" || target !== undefined',
  },
  {
    ...MOVER,
    name: "NM7: a move begins while another goes on",
    from: "if (this.#move !== undefined) return MOVING;\n    // Where",
    to: "// Where",
  },
  {
    ...MOVER,
    name: "NM4: the object of a move that was given up is taken again",
    from: "(standing?.lastGeneration ?? 0) + 1",
    to: "route.generation + 1",
  },
  {
    ...MOVER,
    name: "NM8: the source is not told that the channel stays",
    from: 'await this.#tellSource(move.from, { type: "stay", generation: move.to.generation });',
    to: "",
  },
  {
    ...DEPARTURE,
    name: "NM7: who waited for a move that came to nothing waits on",
    from: 'host.resume();\n    this.#open("here");',
    to: "host.resume();",
  },
  {
    ...DEPARTURE,
    name: "NM4: the authority forgets the route with the channel",
    from: "if (whereabouts.isAuthority) await whereabouts.eraseChannel();\n    else await",
    to: "await",
  },
  {
    ...DEPARTURE,
    name: "NM8: an end of an earlier move ends the one that goes on",
    from: 'if (standing?.state !== "leaving" || standing.target !== generation) return;',
    to: 'if (standing?.state !== "leaving") return;',
  },
  {
    ...DEPARTURE,
    name: "NM8: who wakes in the middle of a move serves the channel",
    from: 'state: "leaving", target: to.generation });',
    to: 'state: "here", target: to.generation });',
  },
  {
    ...ARRIVAL,
    name: "NM8: a place is brought a channel while it has one",
    from: 'if (this.#whereabouts.standing !== undefined) throw new Error("Something was brought here already");',
    to: "",
  },
  {
    ...ARRIVAL,
    name: "NM8: a late word that nothing comes erases what is served",
    from: 'if (standing !== undefined && standing.state !== "arriving") return;',
    to: "",
  },
  {
    name: "NM4: a worker goes round with a route that leads nowhere",
    file: "src/worker/channel-client.ts",
    tests: [],
    workersTest: "test/workers/lost-routes.test.ts",
    from: "if (!leadsOn(route, known)) throw refuseLost(env, channel);",
    to: "",
  },
];

const RELAYED: readonly Mutant[] = [
  {
    name: "RY6: who stands before the tail is sent from it",
    file: "src/channel/relay/tail.ts",
    tests: RELAYS,
    from: "(position >= this.#headOffset || this.#isHeadOfLog)",
    to: "position >= 0",
  },
  {
    name: "RY5: what is given up of the tail is still counted",
    file: "src/channel/relay/tail.ts",
    tests: RELAYS,
    from: "this.#bytes -= first.bytes;",
    to: "",
  },
  {
    name: "RY5: the channel is granted credit for more than a relay may hold",
    file: "src/channel/relay/live.ts",
    tests: RELAYS,
    from: "messages: full.messages - messages, bytes: full.bytes - bytes });",
    to: "...full });",
  },
  {
    ...RELAY,
    name: "RY8: a link that broke is not opened again",
    from: 'if (this.#link === "up") this.#isLinkWanted = true;',
    to: "",
  },
  {
    ...RELAY_BOOK,
    name: "RY9: a relay that sleeps is not called",
    from: "if (this.#names.size === 0) return;\n    for (const relay of this.#unserved()) this.#owe(relay);",
    to: "",
  },
  {
    ...RELAY_BOOK,
    name: "RY9: a channel that woke does not ask itself whether relays were called",
    from: "if (this.#isUnsure) for (const relay of this.#unserved()) this.#owe(relay);",
    to: "",
  },
  {
    ...RELAY_BOOK,
    name: "RY9: credit for a reader that had none does not bring what it lacks",
    file: "src/channel/relay/relay.ts",
    from: "if (!hasCredit(reader)) this.#isLinkWanted = true;",
    to: "",
  },
  {
    ...RELAY_BOOK,
    name: "RY9: each change of the channel's own record calls relays",
    file: "src/object/committer.ts",
    from: "|| standing !== this.#standing);",
    to: "|| changes.channel !== undefined);",
  },
  {
    ...RELAY_BOOK,
    name: "RY12: a relay without readers is kept",
    from: "this.#options.store.remove(relay);",
    to: "",
  },
];

export const PLACES: readonly Mutant[] = [...READERS, ...CHANNEL_MOVES, ...RELAYED];
