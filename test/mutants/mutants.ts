// Breaks, each of one invariant, each a change of one place in the sources. What checks the sources has to find every one of them.
import { BATCHES } from "./batches.ts";
import { BESIDE } from "./beside.ts";
import { GROUPS, TIME_TO_LIVE } from "./groups.ts";
import type { Mutant } from "./mutant.ts";
import { PLACES } from "./places.ts";
import { ROUTING } from "./routing.ts";
import { STREAMS } from "./streams.ts";

/** Changes a text and nothing that it does: whatever finds it would find anything. */
export const CONTROL: Mutant = {
  name: "nothing is broken",
  file: "src/channel/lost-leases.ts",
  from: "let from = cursor;",
  to: "let from = cursor + 0;",
};

const CORE: readonly Mutant[] = [
  {
    name: "LS3: a settle does not check whose lease it is",
    file: "src/channel/settlement.ts",
    from: "return lease?.holder === holder && lease.attempt === attempt && endOf(lease) > nowMs ? lease : undefined;",
    to: "return lease;",
  },
  {
    name: "LS2: a lease that comes twice in a call is taken twice",
    file: "src/channel/settlement.ts",
    from: "if (seenOffsets.has(offset)) return",
    to: "if (seen.has(pointer)) return",
  },
  {
    name: "LS14: an entry with a count stands for one lease too few",
    file: "src/channel/settlement.ts",
    from: "offset < ref.offset + count;",
    to: "offset < ref.offset + Math.max(1, count - 1);",
  },
  {
    name: "RC9: a control record that was left out is dropped once more",
    file: "src/channel/backlog.ts",
    from: " || run.isGone(offset - run.firstOffset)) return;",
    to: ") return;",
  },
  {
    name: "LS5: a release counts as an attempt",
    file: "src/channel/settlement.ts",
    from: '{ end: "released", endedAtMs, isCounted: false',
    to: '{ end: "released", endedAtMs, isCounted: true',
  },
  {
    name: "LS5: a message that waits is lost when the clock is set back",
    file: "src/channel/choice.ts",
    from: "deferred.awaitDue(message);",
    to: "",
  },
  {
    name: "LS6: an expiry does not count as an attempt",
    file: "src/channel/delivery.ts",
    from: '{ end: "expired", endedAtMs: endOf(lease), isCounted: true',
    to: '{ end: "expired", endedAtMs: endOf(lease), isCounted: false',
  },
  {
    name: "LS6: the alarm is not set for leases that end while a get waits",
    file: "src/channel/channel.ts",
    from: "const deliveryAtMs = groups.nextDueAtMs(streams.isPresenceWatched ? groups.ids() : line.waitingGroups());",
    to: "const deliveryAtMs = undefined;",
  },
  {
    name: "LS9: leases outlive a connection that closed cleanly",
    file: "src/channel/settlement.ts",
    from: "if (isClean) this.#delivery.giveBack",
    to: "if (isClean && nowMs < 0) this.#delivery.giveBack",
  },
  {
    name: "LS9: leases of connections that a crash cut off last to their end",
    file: "src/channel/channel.ts",
    from: "for (const lost of this.#lostConnections) this.#endLeasesOf",
    to: "for (const lost of [] as number[]) this.#endLeasesOf",
  },
  {
    name: "LS10: a purge leaves leases behind",
    file: "src/channel/message-desk.ts",
    from: "delivery.clear();\n      view?.notePurge();",
    to: "view?.notePurge();",
  },
  {
    name: "LS11: the row of a lease that ended ahead of the head is not written again",
    file: "src/channel/lease-book.ts",
    from: "if (isTold) continue;",
    to: "if (isTold || slot.live.size === 0) continue;",
  },
  {
    name: "KO1: the head stays before what was removed out of the order of offsets",
    file: "src/channel/backlog.ts",
    from: "if (offsets.includes(this.#headOffset))",
    to: "if (offsets[0] === this.#headOffset)",
  },
  {
    name: "GP4: the head of a group stays before what was removed out of the order of offsets",
    file: "src/channel/group-view.ts",
    from: "if (finished.includes(this.#headOffset))",
    to: "if (finished[0] === this.#headOffset)",
  },
  {
    name: "G6: a text with half a character is taken",
    file: "src/protocol/message.ts",
    from: 'typeof form.text === "string" && form.text.isWellFormed()',
    to: 'typeof form.text === "string"',
  },
  {
    name: "KO1: messages of a key are handed to two readers",
    file: "src/channel/choice.ts",
    from: "if (key !== undefined && !this.#isFree(key)) return this.#park(offset, key);",
    to: "if (key !== undefined && offset < 0) return this.#park(offset, key);",
  },
  {
    name: "KO2: an ack overtakes an earlier message of its key",
    file: "src/channel/settlement.ts",
    from: "return other < offset && (lease === undefined || !ending.has(lease));",
    to: "return false;",
  },
  {
    name: "KO3: later leases of a key survive the loss of an earlier message",
    file: "src/channel/delivery.ts",
    from: "const later = key === undefined ? [] : this.#keys.leasedAfter(key, offset);",
    to: "const later: number[] = [];",
  },
  {
    name: "KO4: delivery looks ahead without bound",
    file: "src/channel/choice.ts",
    from: "if (waiting >= LIMITS.lookAheadMax) return false;",
    to: "",
  },
  {
    name: "KO4: what a reader gets keeps it from looking further",
    file: "src/channel/choice.ts",
    from: "deferred.size - this.#poppedReady.length + this.parked.length",
    to: "deferred.size + this.parked.length",
  },
  {
    name: "KO5: what was parked before the scan mark is not stored",
    file: "src/channel/deferred-book.ts",
    from: "return !isParked(message) || message.offset < scanMark;",
    to: "return !isParked(message) || scanMark < 0;",
  },
  {
    name: "RT1: a retry does not wait",
    file: "src/channel/settlement.ts",
    from: "const dueAtMs = delayMs === 0 ? 0 : moment.nowMs + delayMs;",
    to: "const dueAtMs = 0;",
  },
  {
    name: "RT2: a message gets one attempt more than allowed",
    file: "src/channel/delivery.ts",
    from: "attempts >= maxAttempts",
    to: "attempts > maxAttempts",
  },
  {
    name: "RT2: a message in quarantine is handed out",
    file: "src/channel/choice.ts",
    from: "if (message === undefined || message.isQuarantined) return false;",
    to: "if (message === undefined) return false;",
  },
  {
    name: "DL1: a message that died is lost",
    file: "src/channel/settlement.ts",
    from: "this.#deadLetters.add({ ...this.#group, offset, message, attempts, reason, diedAtMs: nowMs, history });",
    to: "",
  },
  {
    name: "DL2: dead letters are kept without bound",
    file: "src/channel/dead-letters.ts",
    from: "this.#totals.messages > deadLettersMax || this.#totals.bytes > deadLetterBytesMax",
    to: "this.#totals.messages < 0",
  },
  {
    name: "G8: a batch is stored without its last message",
    file: "src/channel/backlog.ts",
    from: "for (const message of messages) {",
    to: "for (const message of messages.slice(0, Math.max(1, messages.length - 1))) {",
  },
  {
    name: "RC2: where the head stands within a segment is not stored",
    file: "src/channel/backlog.ts",
    from: "isTailTold && isHeadTold && isRestTold(",
    to: "isTailTold && isRestTold(",
  },
  {
    name: "WT2: a get passes those that wait",
    file: "src/channel/traffic.ts",
    from: "if (this.#line.firstGet(group.id) === undefined) {",
    to: "if (moment.nowMs > 0) {",
  },
  {
    name: "WT4: promised room is given away again",
    file: "src/channel/traffic.ts",
    from: "get held(): Size {\n    const { reserved } = this.#line;",
    to: "get held(): Size {\n    const reserved = { messages: 0, bytes: 0 };",
  },
  {
    name: "WT6: a waiter whose connection closed is served",
    file: "src/channel/channel.ts",
    from: "for (const waiter of this.#parts.line.ofConnection(connection)) this.#parts.line.remove(waiter);",
    to: "",
  },
  {
    name: "WT10: the id of a request is free before its end is told",
    file: "src/channel/request-ids.ts",
    from: "traffic.hasUntoldEnd(origin) || streams.hasUntoldEnd(origin)",
    to: "traffic.hasUntoldEnd(origin)",
  },
  {
    name: "WT8: waiters are forgotten on eviction",
    file: "src/channel/channel-parts.ts",
    from: "line.restore([...waiters, ...places]);",
    to: "line.restore(places);",
  },
  {
    name: "LC2: a channel that was drained stays open",
    file: "src/channel/channel.ts",
    from: 'if (record?.state !== "draining" || !this.#isDrained) return;',
    to: 'if (record?.state !== "draining" || record.createdAtMs > 0) return;',
  },
  {
    name: "LC4: a new life keeps the dead letters of the old one",
    file: "src/channel/channel.ts",
    from: "this.#parts.deadLetters.clear();\n    this.#parts.backlog.restart();",
    to: "this.#parts.backlog.restart();",
  },
];

const STORAGE: readonly Mutant[] = [
  {
    name: "RC3: the memory store forgets leases",
    file: "src/storage/memory-store.ts",
    from: "if (changes.delivery !== undefined) this.delivery.commit(changes.delivery);",
    to: "",
  },
  {
    name: "RC3: the memory store forgets what was removed",
    file: "src/storage/memory-store.ts",
    from: "for (const [firstOffset, places] of changes.writeGone) this.#gone.set(firstOffset, places);",
    to: "",
  },
  {
    name: "RC7: the SQLite store keeps segments that the head has passed",
    file: "src/storage/sqlite-store.ts",
    from: '"DELETE FROM segment WHERE first_offset < ?"',
    to: '"DELETE FROM segment WHERE first_offset < ? - 1000000"',
    workersTest: "test/workers/sqlite-store.test.ts",
  },
  {
    name: "RC7: the next segment leaves the row that stayed for it",
    file: "src/channel/backlog.ts",
    from: "const reuseSegment = cuts.length > 0 ? this.#spare : 0;",
    to: "const reuseSegment = 0;",
  },
  {
    name: "RC7: a row that stayed is forgotten on waking",
    file: "src/channel/backlog.ts",
    from: "if (last !== undefined && this.#storedEnd <= this.#headOffset) this.#spareLast(last);",
    to: "",
  },
  {
    name: "RC7: a segment takes the row of another that a snapshot has",
    file: "src/storage/sqlite-store.ts",
    from: "return reuseSegment > 0 && snapshots === undefined && !this.snapshots.isOpen;",
    to: "return reuseSegment > 0 && snapshots === undefined;",
    workersTest: "test/workers/sqlite-store.test.ts",
  },
  {
    name: "RC3: the SQLite store writes without a transaction",
    file: "src/storage/sqlite-store.ts",
    from: "this.#storage.transaction(() => {\n        for (const { text, bindings } of statements)",
    to: "[0].forEach(() => {\n        for (const { text, bindings } of statements)",
    workersTest: "test/workers/sqlite-store.test.ts",
  },
];

const OBJECT: readonly Mutant[] = [
  {
    name: "CN1: any number is an echo",
    file: "src/object/unread.ts",
    from: "if (this.#asked?.echo !== echo) return;",
    to: "if (this.#asked === undefined) return;",
  },
  {
    name: "CN2: a connection that does not read is answered",
    file: "src/object/socket-desk.ts",
    from: "this.#held.has(connection) || this.#connections.isUnread(connection)) {",
    to: "this.#held.has(connection)) {",
  },
  {
    name: "CN3: a frame more is held than may be",
    file: "src/object/held-frames.ts",
    from: "held.acts.length >= LIMITS.heldFramesMax",
    to: "held.acts.length > LIMITS.heldFramesMax",
  },
  {
    name: "CN3: what does not read is never closed",
    file: "src/object/socket-desk.ts",
    from: "=== echoes) this.#closeUnread(came);",
    to: "!== echoes) this.#closeUnread(came);",
  },
  {
    name: "PT7: requests are answered before the commit",
    file: "src/object/committer.ts",
    from: "this.#write(moment.nowMs);\n    return answers;",
    to: "this.#perform(answers);\n    this.#write(moment.nowMs);\n    return [];",
    workersTest: "test/workers/object.test.ts",
  },
  {
    name: "RC11: a commit that writes nothing answers without touching storage",
    file: "src/object/committer.ts",
    from: "if (alarmAtMs === undefined) this.#options.storage.assertCurrent();",
    to: "if (alarmAtMs === undefined) void 0;",
    workersTest: "test/workers/superseded.test.ts",
  },
  {
    name: "RC11: the directory is told by an object that is superseded",
    file: "src/object/channel-host.ts",
    from: "this.#storage.assertCurrent();",
    to: "",
    workersTest: "test/workers/superseded.test.ts",
  },
  {
    name: "RC11: a channel's name is given back by an object that is superseded",
    file: "src/object/object-door.ts",
    from: "this.#whereabouts.confirm();",
    to: "",
    workersTest: "test/workers/superseded.test.ts",
  },
  {
    name: "RC6: after a failed commit what frees room does not go first",
    file: "src/object/committer.ts",
    from: "const ordered = [...entries.filter(freesRoom), ...entries.filter((entry) => !freesRoom(entry))];",
    to: "const ordered = entries;",
    workersTest: "test/workers/object.test.ts",
  },
  {
    name: "LC9: the alarm is not set with the commit",
    file: "src/object/committer.ts",
    from: "this.#store.commit(changes);\n          this.#setAlarm(alarmAtMs);",
    to: "this.#store.commit(changes);",
    workersTest: "test/workers/object.test.ts",
  },
  {
    name: "OR3: the commit loop turns the order of frames around",
    file: "src/object/commit-loop.ts",
    from: "const entries = this.#queue.takeTurn();",
    to: "const entries = this.#queue.takeTurn().toReversed();",
  },
  {
    name: "RC4: calls that are held for others are never committed",
    file: "src/object/commit-loop.ts",
    from: "this.#isHolding = false;\n      this.#isArmed = false;",
    to: "this.#isArmed = false;\n      return;",
    tests: ["test/unit/commit-loop.test.ts"],
  },
  {
    name: "RC4: calls wait for others though all are there",
    file: "src/object/commit-loop.ts",
    from: "if (this.#isArmed && !isHoldOver) return;",
    to: "if (this.#isArmed) return;",
    tests: ["test/unit/commit-loop.test.ts"],
  },
  {
    name: "CN7: a connection with very many operations holds up the others",
    file: "src/object/fair-queue.ts",
    from: "if (count < LIMITS.turnOperationsMax) taken",
    to: "if (count >= 0) taken",
  },
  {
    name: "G6: the queue of the commit loop has no bound",
    file: "src/object/commit-loop.ts",
    from: 'return isFull ? "full" : "queued";',
    to: 'return isFull && bytes < 0 ? "full" : "queued";',
  },
];

export const MUTANTS: readonly Mutant[] = [
  ...CORE,
  ...GROUPS,
  ...TIME_TO_LIVE,
  ...BESIDE,
  ...STREAMS,
  ...ROUTING,
  ...PLACES,
  ...BATCHES,
  ...STORAGE,
  ...OBJECT,
];
