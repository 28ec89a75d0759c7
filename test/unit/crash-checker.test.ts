// The crash checker on histories made by hand: clean ones, with unknown outcomes that turn out either way, and one for each fault.
import { describe, expect, test } from "vitest";
import { checkHistory } from "../crash/checker.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { FaultKind, Verdict } from "../crash/verdict.ts";
import { EXTEND_MS, LEASE_MS, leaseId, MAX_MESSAGES, Story, type Given } from "./crash-story.ts";

const [A, B, C, D, E] = ["p/1", "p/2", "p/3", "p/4", "p/5"] as const;
/** Three messages with the same key. */
const [K1, K2, K3] = ["p/1/k", "p/2/k", "p/3/k"] as const;

function verdictOf(build: (story: Story) => void): Verdict {
  const story = new Story();
  build(story);
  return checkHistory(story.events);
}

function faultsOf(build: (story: Story) => void): Partial<Record<FaultKind, number>> {
  return Object.fromEntries(Object.entries(verdictOf(build).faults).filter(([, count]) => count > 0));
}

/** Two messages are put, one after another, and leased by one pull. */
function lease(story: Story, first: string = A, second: string = B): Story {
  return story.put([first], 1).put([second], 2).pull([first, 1], [second, 2]);
}

/** A settle call of which the answer never came. */
function lostAck(story: Story, name: string): Story {
  return story.unknown(story.invokeSettle({ acks: [leaseId(name)] })).kill();
}

/** Messages at their offsets. */
function there(...messages: readonly Given[]): readonly Given[] {
  return messages;
}

type Case = readonly [name: string, build: (story: Story) => void];

const CLEAN: readonly Case[] = [
  ["all is put, leased and acked", (s) => lease(s).ack(A, B).inspect([], { put: 2, acked: 2 })],
  ["a batch is stored whole", (s) => s.put([A, B], 1).inspect(there([A, 1], [B, 2]), { put: 2, acked: 0 })],
  [
    "a lost put was stored",
    (s) =>
      s
        .lostPut([A])
        .kill()
        .inspect(there([A, 1]), { put: 1, acked: 0 }),
  ],
  ["a lost put was not stored", (s) => s.lostPut([A]).kill().inspect([], { put: 0, acked: 0 })],
  ["a lost put is delivered before anybody looks", (s) => s.lostPut([A]).pull([A, 1]).ack(A).inspect([], { put: 1, acked: 1 })],
  ["a put is refused because the channel is full", (s) => s.fail(s.invokePut([A]), "channel-full").put([B], 1)],
  ["a lost ack took effect", (s) => lostAck(lease(s), A).inspect(there([B, 2]), { put: 2, acked: 1 })],
  [
    "a lost ack took no effect, and the message comes again",
    (s) =>
      lostAck(lease(s), A)
        .inspect(there([A, 1], [B, 2]), { put: 2, acked: 0 })
        .later(LEASE_MS)
        .pull([A, 1, 2]),
  ],
  ["a lost ack took no effect, and a later one does", (s) => lostAck(lease(s), A).ack(A, B).inspect([], { put: 2, acked: 2 })],
  [
    "an ack is repeated and refused",
    (s) =>
      lease(s)
        .ack(A)
        .settle({ acks: [leaseId(A)] }, [leaseId(A)]),
  ],
  [
    "a lease expires and the message comes again",
    (s) =>
      lease(s)
        .later(LEASE_MS)
        .pull([A, 1, 2])
        .settle({ acks: [leaseId(A, 2)] }),
  ],
  [
    "an ack with an old lease is refused",
    (s) =>
      lease(s)
        .later(LEASE_MS)
        .pull([A, 1, 2])
        .settle({ acks: [leaseId(A)] }, [leaseId(A)]),
  ],
  [
    "a retry makes the message come again at once",
    (s) =>
      lease(s)
        .settle({ retries: [leaseId(A)] })
        .pull([A, 1, 2]),
  ],
  [
    "a rejected message is a dead letter",
    (s) =>
      lease(s)
        .settle({ rejects: [leaseId(A)] })
        .inspect(there([B, 2]), { put: 2, acked: 0, deadLettered: 1 }, { deadLetters: [{ name: A, offset: 1 }] }),
  ],
  [
    "a lost reject took effect",
    (s) => {
      lease(s).unknown(s.invokeSettle({ rejects: [leaseId(A)] }));
      s.inspect(there([B, 2]), { put: 2, acked: 0, deadLettered: 1 }, { deadLetters: [{ name: A, offset: 1 }] });
    },
  ],
  [
    "a message dies between the two looks of an inspection",
    (s) =>
      lease(s).inspect(
        there([A, 1], [B, 2]),
        { put: 2, acked: 0, deadLettered: 1 },
        { depth: 1, deadLetters: [{ name: A, offset: 1 }] },
      ),
  ],
  [
    "a retry is answered after its message came again",
    (s) => {
      const retry = lease(s).invokeSettle({ retries: [leaseId(A)] });
      s.pull([A, 1, 2]).settled(retry);
    },
  ],
  [
    "a lost put was refused, because there was no room for the batch, and the next was stored",
    (s) => {
      s.unknown(s.invokePut([A, B], "one", 0)).lostPut([C]);
      s.kill().inspect(there([C, 1]), { put: 1, acked: 0 });
    },
  ],
  [
    "a connection closes and its message comes again",
    (s) => s.put([A], 1).given(s.invokePull(false), [A, 1]).close().pull([A, 1, 2]),
  ],
  [
    "a connection is cut off by a kill and its message comes again after the grace",
    (s) => s.put([A], 1).givenFor(60_000, s.invokePull(false), [A, 1]).kill().later(LIMITS.resumeGraceMs).pull([A, 1, 2]),
  ],
  [
    "a lease of a connection is read after the kill, and its message comes again after the grace",
    (s) => {
      const pull = s.put([A], 1).invokePull(false);
      s.stop().givenFor(60_000, pull, [A, 1]).start().later(LIMITS.resumeGraceMs).pull([A, 1, 2]);
    },
  ],
  [
    "a lease is extended and used later",
    (s) =>
      lease(s)
        .settle({ extends: [leaseId(A)] })
        .later(EXTEND_MS - LEASE_MS)
        .ack(A),
  ],
  [
    "a retry ends the lease of a later message of the key",
    (s) =>
      lease(s, K1, K2)
        .settle({ retries: [leaseId(K1)] })
        .pull([K1, 1, 2], [K2, 2, 2]),
  ],
  [
    "an ack ahead of its key is refused",
    (s) =>
      lease(s, K1, K2)
        .settle({ acks: [leaseId(K2)] }, [leaseId(K2)])
        .ack(K1, K2),
  ],
  [
    "acks of a key overlap on two connections",
    (s) => {
      lease(s, K1, K2);
      const first = s.invokeSettle({ acks: [leaseId(K1)] }, "one");
      const second = s.invokeSettle({ acks: [leaseId(K2)] }, "two");
      s.settled(second).settled(first);
    },
  ],
  [
    "puts of two connections overlap",
    (s) => {
      const first = s.invokePut([A], "one");
      const second = s.invokePut([B], "two");
      s.ok(first, { f: "put", offset: 2, depth: 1 }).ok(second, { f: "put", offset: 1, depth: 1 });
      s.inspect(there([B, 1], [A, 2]), { put: 2, acked: 0 });
    },
  ],
  [
    "the last puts of a connection are missing",
    (s) =>
      s
        .put([A], 1)
        .lostPut([B])
        .lostPut([C])
        .inspect(there([A, 1]), { put: 1, acked: 0 }),
  ],
  [
    "messages are taken at once",
    (s) => s.put([A], 1).put([B], 2).got(s.invokeGet(), [A, 1], [B, 2]).inspect([], { put: 2, acked: 2 }),
  ],
  [
    "a lost get took what is missing at the head",
    (s) => {
      s.put([A], 1).put([B], 2).unknown(s.invokeGet(1));
      s.inspect(there([B, 2]), { put: 2, acked: 1 });
    },
  ],
  [
    "a lost get took what a lost put had stored, of which nobody knows",
    (s) => {
      s.lostPut([A]).unknown(s.invokeGet(1));
      s.kill().inspect([], { put: 1, acked: 1 });
    },
  ],
  [
    "a lost get took nothing",
    (s) => {
      s.put([A], 1).unknown(s.invokeGet(1));
      s.inspect(there([A, 1]), { put: 1, acked: 0 });
    },
  ],
];

const FAULTS: readonly (readonly [kind: FaultKind, ...Case])[] = [
  [
    "lost",
    "an acknowledged put is gone",
    (s) =>
      s
        .put([A], 1)
        .put([B], 2)
        .inspect(there([B, 2]), { put: 2, acked: 1 }),
  ],
  ["lost", "a message of a batch is gone", (s) => s.put([A, B], 1).inspect(there([A, 1]), { put: 2, acked: 1 })],
  ["lost", "all is gone", (s) => s.put([A], 1).kill().inspect([], { put: 1, acked: 1 })],
  ["lost", "a leased message is gone and nobody acked it", (s) => lease(s).ack(B).inspect([], { put: 2, acked: 2 })],
  ["lost", "a lost put that was delivered is gone", (s) => s.lostPut([A]).pull([A, 1]).kill().inspect([], { put: 1, acked: 1 })],
  [
    "lost",
    "a message whose ack was refused is gone",
    (s) =>
      lease(s)
        .ack(A)
        .settle({ acks: [leaseId(B)] }, [leaseId(B)])
        .inspect([], { put: 2, acked: 2 }),
  ],
  [
    "lost",
    "a rejected message is no dead letter",
    (s) =>
      lease(s)
        .settle({ rejects: [leaseId(A)] })
        .inspect(there([B, 2]), { put: 2, acked: 0, deadLettered: 1 }),
  ],
  [
    "lost",
    "more is missing than a lost get asked for",
    (s) => {
      s.put([A], 1).put([B], 2).unknown(s.invokeGet(1));
      s.inspect([], { put: 2, acked: 2 });
    },
  ],
  [
    "lost",
    "what is missing is not at the head, where a lost get takes",
    (s) => {
      s.put([A], 1).put([B], 2).unknown(s.invokeGet(2));
      s.inspect(there([A, 1]), { put: 2, acked: 1 });
    },
  ],
  ["ackedTwice", "two acks of a message count", (s) => lease(s).ack(A).ack(A)],
  [
    "ackedTwice",
    "two acks that overlap count",
    (s) => {
      lease(s);
      const acks = { acks: [leaseId(A)] };
      const [first, second] = [s.invokeSettle(acks), s.invokeSettle(acks)];
      s.settled(first).settled(second);
    },
  ],
  ["ackedTwice", "an acked message is delivered again", (s) => lease(s).ack(A).later(LEASE_MS).pull([A, 1, 2])],
  [
    "ackedTwice",
    "an acked message is delivered again by a pull that overlaps the ack",
    (s) => {
      lease(s);
      const pull = s.invokePull();
      s.ack(A).given(pull, [A, 1, 2]);
    },
  ],
  [
    "ackedTwice",
    "an acked message is there after a restart",
    (s) =>
      lease(s)
        .ack(A)
        .kill()
        .inspect(there([A, 1], [B, 2]), { put: 2, acked: 0 }),
  ],
  [
    "ackedTwice",
    "a lost ack took effect, and the message comes again",
    (s) =>
      lostAck(lease(s), A)
        .inspect(there([B, 2]), { put: 2, acked: 1 })
        .pull([A, 1, 2]),
  ],
  [
    "ackedTwice",
    "an ack counts and so does a reject",
    (s) =>
      lease(s)
        .ack(A)
        .settle({ rejects: [leaseId(A)] }),
  ],
  [
    "ackedTwice",
    "an acked message is a dead letter",
    (s) =>
      lease(s)
        .ack(A)
        .inspect(there([B, 2]), { put: 2, acked: 1 }, { deadLetters: [{ name: A, offset: 1 }] }),
  ],
  ["ackedTwice", "a message is taken twice", (s) => s.put([A], 1).got(s.invokeGet(), [A, 1]).got(s.invokeGet(), [A, 1])],
  ["outOfOrder", "offsets of a connection fall", (s) => s.put([A], 2).put([B], 1)],
  [
    "outOfOrder",
    "offsets of pipelined puts fall",
    (s) => {
      const [first, second] = [s.invokePut([A]), s.invokePut([B])];
      s.ok(first, { f: "put", offset: 2, depth: 2 }).ok(second, { f: "put", offset: 1, depth: 2 });
      s.inspect(there([B, 1], [A, 2]), { put: 2, acked: 0 });
    },
  ],
  [
    "outOfOrder",
    "a put is stored without the one before it",
    (s) =>
      s
        .lostPut([A])
        .lostPut([B])
        .kill()
        .inspect(there([B, 1]), { put: 1, acked: 0 }),
  ],
  [
    "outOfOrder",
    "an offset is given again after a restart",
    (s) => s.put([A], 1).put([B], 2).kill().put([C], 2, { connection: "two" }),
  ],
  [
    "outOfOrder",
    "acks of a key count in the wrong order",
    (s) =>
      lease(s, K1, K2)
        .ack(K2)
        .settle({ acks: [leaseId(K1)] }, [], "two"),
  ],
  [
    "outOfOrder",
    "pipelined acks of a key count in the wrong order",
    (s) => {
      lease(s, K1, K2);
      const [second, first] = [s.invokeSettle({ acks: [leaseId(K2)] }), s.invokeSettle({ acks: [leaseId(K1)] })];
      s.settled(second).settled(first);
    },
  ],
  ["outOfOrder", "a pull hands out a key in the wrong order", (s) => s.put([K1, K2, K3], 1).pull([K1, 1], [K3, 3], [K2, 2])],
  ["outOfOrder", "a get takes in the wrong order", (s) => s.put([A, B], 1).got(s.invokeGet(), [B, 2], [A, 1])],
  ["overLimit", "a reply tells of more messages than the limit", (s) => s.put([A], 1, { depth: MAX_MESSAGES + 1 })],
  [
    "overLimit",
    "more messages are there than the limit",
    (s) => s.put([A, B, C, D, E], 1).inspect(there([A, 1], [B, 2], [C, 3], [D, 4], [E, 5]), { put: 5, acked: 0 }, { depth: 4 }),
  ],
  [
    "torn",
    "half of a lost batch was stored",
    (s) =>
      s
        .lostPut([A, B])
        .kill()
        .inspect(there([A, 1]), { put: 1, acked: 0 }),
  ],
  ["foreign", "a message was never put", (s) => s.pull(["q/1", 1])],
  ["foreign", "a refused put was stored", (s) => s.fail(s.invokePut([A]), "channel-full").pull([A, 1])],
  ["foreign", "a lost put appears long after", (s) => s.lostPut([A]).kill().inspect([], { put: 0, acked: 0 }).pull([A, 1])],
  ["misplaced", "a message moves", (s) => s.put([A], 1).pull([A, 2])],
  ["misplaced", "a message is there twice", (s) => s.put([A], 1).inspect(there([A, 1], [A, 2]), { put: 1, acked: 0 })],
  ["misplaced", "two messages have the same offset", (s) => s.lostPut([A]).lostPut([B]).pull([A, 1], [B, 1])],
  [
    "leases",
    "a message is leased twice",
    (s) =>
      lease(s)
        .later(LEASE_MS - 10)
        .pull([A, 1, 2]),
  ],
  ["leases", "the lease of a message does not survive a restart", (s) => lease(s).kill().pull([A, 1, 2])],
  ["leases", "attempts begin anew", (s) => lease(s).later(LEASE_MS).pull([A, 1, 2]).later(LEASE_MS).pull([A, 1, 1, true])],
  ["leases", "a message that comes again is not marked", (s) => lease(s).later(LEASE_MS).pull([A, 1, 2, false])],
  [
    "leases",
    "the lease of a connection that was cut off by a kill ends at once",
    (s) =>
      s
        .put([A], 1)
        .givenFor(60_000, s.invokePull(false), [A, 1])
        .kill()
        .later(LIMITS.resumeGraceMs - 10)
        .pull([A, 1, 2]),
  ],
  [
    "leases",
    "the lease of a connection ends while it is open",
    (s) => s.put([A], 1).given(s.invokePull(false), [A, 1]).close("two").pull([A, 1, 2]),
  ],
  [
    "leases",
    "a key is in two hands",
    (s) =>
      lease(s, K1, K2)
        .put([K3], 3)
        .later(LEASE_MS - 10)
        .pull([K3, 3]),
  ],
  ["leases", "an ack is refused before the lease is over", (s) => lease(s).settle({ acks: [leaseId(A)] }, [leaseId(A)])],
  [
    "leases",
    "an extension is forgotten",
    (s) =>
      lease(s)
        .settle({ extends: [leaseId(A)] })
        .later(LEASE_MS)
        .settle({ acks: [leaseId(A)] }, [leaseId(A)]),
  ],
  [
    "leases",
    "a lease that was given back counts",
    (s) =>
      lease(s)
        .settle({ releases: [leaseId(A)] })
        .ack(A),
  ],
  ["leases", "a lease that was superseded counts", (s) => lease(s).later(LEASE_MS).pull([A, 1, 2]).ack(A)],
  [
    "leases",
    "the lease of an ended message is extended",
    (s) =>
      lease(s)
        .ack(A)
        .settle({ extends: [leaseId(A)] }),
  ],
  [
    "leases",
    "a lease that was given back counts",
    (s) =>
      lease(s)
        .settle({ releases: [leaseId(A)] })
        .ack(A),
  ],
  ["counts", "the counts do not add up", (s) => s.put([A], 1).inspect(there([A, 1]), { put: 1, acked: 1 })],
  ["counts", "a put is not counted", (s) => s.put([A], 1).inspect(there([A, 1]), { put: 0, acked: 0 })],
  ["counts", "the depth is not what is there", (s) => s.put([A], 1).inspect(there([A, 1]), { put: 1, acked: 0 }, { depth: 2 })],
  ["refusals", "the channel is forgotten", (s) => s.fail(s.invokePut([A]), "unknown-channel")],
  [
    "refusals",
    "a lease is not known any more",
    (s) => lease(s).settled(s.invokeSettle({ acks: [leaseId(A)] }), [leaseId(A)], "invalid-lease"),
  ],
];

describe("test/crash/checker", () => {
  test.each(CLEAN)("[G1] no fault when %s", (_name, build) => {
    expect(faultsOf(build)).toEqual({});
  });

  test.each(FAULTS)("[G1] %s: %s", (kind, _name, build) => {
    expect(faultsOf(build)[kind]).toBeGreaterThan(0);
  });

  test("[G1] what is left at the end is counted, lost puts are not", () => {
    const left = verdictOf((s) => void lease(s).ack(A).lostPut([C]));

    expect(left.unsettled).toBe(1);
    expect(left.messages).toEqual({ put: 2, acked: 1, endedUnseen: 0, taken: 0, deadLettered: 0 });
  });

  test("[G1] each fault is told in words that name the message", () => {
    const { examples } = verdictOf((s) => void lease(s).ack(A).ack(A));

    expect(examples).toEqual([`acknowledged twice: c: ${A} was acked (attempt 1), but had ended: acked`]);
  });
});
