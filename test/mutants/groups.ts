// Breaks of groups, retention and time to live (SPEC sections GP and TL).
import type { Mutant } from "./mutant.ts";

export const GROUPS: readonly Mutant[] = [
  {
    name: "GP1: with interest a message goes when the first group has done with it",
    file: "src/channel/groups.ts",
    from: "least = Math.min(least ?? view.headOffset, view.headOffset);",
    to: "least = Math.max(least ?? view.headOffset, view.headOffset);",
  },
  {
    name: "GP1: with interest what a waiting get took last makes no room",
    file: "src/channel/traffic.ts",
    from: "this.#groups.applyRetention(nowMs);\n      if (isGetServed) continue;",
    to: "if (isGetServed) continue;",
  },
  {
    name: "GP1: a log keeps messages whatever their age",
    file: "src/channel/groups.ts",
    from: "messages < excessMessages || bytes < excessBytes || putAtMs < keepFromMs;",
    to: "messages < excessMessages || bytes < excessBytes || putAtMs < 0;",
  },
  {
    name: "GP1: a log gives up a message more than it has to",
    file: "src/channel/groups.ts",
    from: "const excessMessages = backlog.depth - limits.maxMessages;",
    to: "const excessMessages = backlog.depth - limits.maxMessages + 1;",
  },
  {
    name: "GP2: what a group has done ahead of its head is not stored",
    file: "src/channel/group-view.ts",
    from: "if (bucket < headBucket || places === undefined",
    to: "if (bucket >= headBucket || places === undefined",
  },
  {
    name: "GP2: a group has the settings of the channel instead of its own",
    file: "src/channel/groups.ts",
    from: "return resolveDelivery(group.settings, this",
    to: "return resolveDelivery({}, this",
  },
  {
    name: "GP3: what was removed before a group began counts in it",
    file: "src/channel/group-view.ts",
    from: "this.#startMessages = this.#passedMessages + this.#doneAheadMessages;",
    to: "this.#startMessages = this.#passedMessages;",
  },
  {
    name: "GP4: a seek back leaves the leases",
    file: "src/channel/group-desk.ts",
    from: "if (group.view.isBack(offset)) group.delivery.clear();",
    to: "",
  },
  {
    name: "GP4: a seek to the head does not hand out again",
    file: "src/channel/group-view.ts",
    from: " || (offset === this.#headOffset && offset < this.#log.nextOffset);",
    to: ";",
  },
  {
    name: "GP4: a seek forwards leaves the leases of what it passed",
    file: "src/channel/group-desk.ts",
    from: "group.delivery.forgetBefore(group.view.headOffset);",
    to: "",
  },
  {
    name: "GP4: a seek goes behind the next offset",
    file: "src/channel/log-reading.ts",
    from: "start.offset <= nextOffset ? start.offset",
    to: "start.offset <= nextOffset + 1 ? start.offset",
  },
  {
    name: "GP5: a paused group hands out",
    file: "src/channel/taking.ts",
    from: "if (group.isPaused) return",
    to: "if (group.isPaused && moment.nowMs < 0) return",
  },
  {
    name: "GP6: what retention gave up is not counted as dropped in a group",
    file: "src/channel/group-view.ts",
    from: 'this.#passUntil(offset, "dropped");',
    to: 'this.#passUntil(offset, "skipped");',
  },
  {
    name: "GP7: with nobody registered a put is taken",
    file: "src/channel/traffic.ts",
    from: "if (this.#hasNoReaders(record)) return undefined;",
    to: "",
  },
  {
    name: "GP8: gets of a group that was deleted go on waiting",
    file: "src/channel/group-desk.ts",
    from: 'this.#traffic.refuseReaders(group.id, { kind: "unknown-group", group: group.name });',
    to: "",
  },
  {
    name: "GP8: a log that drains closes while groups have messages left",
    file: "src/channel/groups.ts",
    from: "for (const group of this.all()) if (this.depthOf(group) > 0) return false;",
    to: "",
  },
  {
    name: "DL1: a message that dies twice in a group counts twice",
    file: "src/channel/dead-letters.ts",
    from: "if (earlier !== undefined && compare(earlier, letter) === 0) this.remove(earlier);",
    to: "",
  },
  {
    name: "RC9: what compaction left out is counted as kept",
    file: "src/channel/compaction.ts",
    from: "    messages,\n    bytes,\n    // What is left out",
    to: "    messages: end - firstOffset,\n    bytes,\n    // What is left out",
  },
  {
    name: "RC9: the head stops before what compaction left out",
    file: "src/channel/stretch.ts",
    from: "(!run.isPresent(place) || !isOver(run.firstOffset + place)) && walk.step",
    to: "!isOver(run.firstOffset + place) && walk.step",
  },
  {
    name: "RC9: what a commit changed in segments is forgotten before it is stored",
    file: "src/channel/head-window.ts",
    from: "    this.#handedOver = { isCompacted };",
    to: "    this.#handedOver = { isCompacted };\n    this.noteStored();",
  },
];

export const TIME_TO_LIVE: readonly Mutant[] = [
  {
    name: "TL1: a message does not live as long as it says itself",
    file: "src/channel/delivery.ts",
    from: "const { putAtMs, ttlMs = this.#expiry().messageTtlMs } = run.times(place);",
    to: "const { putAtMs } = run.times(place);\n    const ttlMs = this.#expiry().messageTtlMs;",
  },
  {
    name: "TL1: a time to live is forgotten on waking",
    file: "src/channel/backlog.ts",
    from: "this.#lastTtlOffset = position.lastTtlOffset;",
    to: "this.#lastTtlOffset = 0;",
  },
  {
    name: "TL2: a message whose time is over is handed out",
    file: "src/channel/choice.ts",
    from: "if (this.#request.isExpired?.(run, place) === true) {",
    to: "if (this.#request.isExpired?.(run, place) === true && offset < 0) {",
  },
  {
    name: "TL2: the end of a message's time ends its lease",
    file: "src/channel/delivery.ts",
    from: "const isHeld = this.#leases.find(offset) !== undefined || this",
    to: "const isHeld = this",
  },
  {
    name: "TL2: a message in quarantine expires",
    file: "src/channel/delivery.ts",
    from: "this.#deferred.find(offset)?.isQuarantined === true;\n    return isHeld",
    to: "offset < 0;\n    return isHeld",
  },
  {
    name: "TL3: more than one sweep's messages expire at once",
    file: "src/channel/settlement.ts",
    from: "count < LIMITS.expiredPerSweepMax && this",
    to: "count < 1000 && this",
  },
  {
    name: "TL3: a message behind a control record does not expire",
    file: "src/channel/delivery.ts",
    from: "if (log.isGone(run, place) || run.isControl(place)) continue;",
    to: "if (log.isGone(run, place)) continue;\n        if (run.isControl(place)) return undefined;",
  },
  {
    name: "TL3: messages that were cleared away are still not looked at when they are there again",
    file: "src/channel/delivery.ts",
    from: "    this.#firstAtLeast = 0;\n    this.#isCleared = true;",
    to: "    this.#isCleared = true;",
  },
  {
    name: "GP1: with interest a control record that nobody was told of holds back what all have done with",
    file: "src/channel/interest.ts",
    from: "if (!this.#isControlAtHead) return;",
    to: "if (headOffset > 0) return;",
  },
  {
    name: "TL4: an expired message leaves no dead letter",
    file: "src/channel/delivery.ts",
    from: 'if (this.#expiry().onExpired === "drop") this.finish',
    to: 'if (this.#expiry().onExpired !== "drop" || offset > 0) this.finish',
  },
  {
    name: "TL5: the alarm is not set for an expiry that makes room for a waiting put",
    file: "src/channel/channel.ts",
    from: "line.firstPut() === undefined ? undefined : groups.nextExpiryAtMs;",
    to: "undefined;",
  },
];
