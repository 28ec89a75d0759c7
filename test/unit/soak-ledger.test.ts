// The soak's books find what must not be.
import { describe, expect, test } from "vitest";
import { EdgeChannelError } from "../../src/client/edge-channel-error.ts";
import { LeasedMessage } from "../../src/client/leased-message.ts";
import type { Channel, ReceivedMessage, SettleReport, SettleRequest } from "../../src/client/index.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { GroupLedger } from "../soak/group-ledger.ts";
import { Faults, makeMessage, ReaderLedger } from "../soak/ledger.ts";

/** Message `index` at the offset behind it. */
function received(index: number, offset = index + 1): ReceivedMessage {
  const { body, key } = makeMessage(index);
  return { offset, putAtMs: 1, contentType: "text/plain", body, ...(key !== undefined && { key }) };
}

describe("test/soak/ledger: a plain reader", () => {
  test.each([
    ["all in order", [0, 1, 2], {}],
    ["one is missing", [0, 2], { lost: 1 }],
    ["the last are missing", [0], { lost: 2 }],
    ["one came twice", [0, 1, 1, 2], { twice: 1, outOfOrder: 1 }],
    ["two changed places", [1, 0, 2], { lost: 1, twice: 1, outOfOrder: 1 }],
  ])("%s", (_, indices, found) => {
    const faults = new Faults();
    const ledger = new ReaderLedger("Reader", faults);
    for (const index of indices) ledger.take(received(index));
    ledger.finish(3);

    expect(faults.counts).toEqual({ lost: 0, twice: 0, outOfOrder: 0, ...found });
  });
});

/** What the service answers to a call. */
type Answer = (request: SettleRequest) => Promise<Pick<SettleReport, "refused">>;

/** A service that refuses the acks of these leases. */
function refuse(refused: Readonly<Record<string, Refusal>>): Answer {
  return async ({ acks = [] }) => ({
    refused: acks.flatMap(({ leaseId }, index) => {
      const refusal = refused[leaseId];
      return refusal === undefined ? [] : [{ pointer: `/acks/${index}/leaseId`, problem: formatProblem(refusal) }];
    }),
  });
}

/** A member of the group: given a message, it acks it by a call of its own. */
function joinMember(group: GroupLedger, answer: Answer = refuse({})): (index: number) => Promise<void> {
  const channel = { transport: { settle: answer } } as unknown as Channel;
  const work = group.join(channel);
  return (index) =>
    work(new LeasedMessage({ ...received(index), leaseId: `l${index}`, attempt: 1, redelivered: false }, channel.transport));
}

describe("test/soak/group-ledger", () => {
  test("an ack that is refused does not count, and the next delivery may be acked", async () => {
    const faults = new Faults();
    const group = new GroupLedger(2, faults);
    const one = joinMember(group, refuse({ l0: { kind: "lease-lost", offset: 1, cause: "disconnected" } }));
    const other = joinMember(group);
    await one(1);
    await one(0);
    await other(0);
    group.finish();

    expect([group.accepted, group.done, group.deliveries, group.refused, faults.total]).toEqual([2, 2, 3, 1, 0]);
  });

  test("two accepted acks of a message and one that is missing are found, with what happened to it", async () => {
    const faults = new Faults();
    const group = new GroupLedger(2, faults);
    const work = joinMember(group);
    await work(1);
    await work(1);
    group.finish();

    expect(faults.counts).toEqual({ lost: 1, twice: 1, outOfOrder: 0 });
    expect(faults.examples[0]).toMatch(
      /Two acks of message 1.*\n.*\n.*given to member 1.*\n.*ack sent.*\n.*accepted.*\n.*given to member 1/,
    );
    expect(faults.examples[1]).toMatch(/never done with message 0\n.*\n.*never given to anybody/);
  });

  test("one that is given before the ack of the one before it of its key is sent is found", async () => {
    const faults = new Faults();
    const group = new GroupLedger(130, faults);
    const work = joinMember(group);
    // 0, 64 and 128 have one key.
    for (const index of [0, 128]) await work(index);

    expect(faults.counts).toEqual({ lost: 0, twice: 0, outOfOrder: 1 });
    expect(faults.examples[0]).toContain("Message 128 was given before an ack was sent of 64");
  });

  test("an ack that is accepted though it was sent after a later one of its key was accepted is found", async () => {
    const faults = new Faults();
    const group = new GroupLedger(130, faults);
    const one = joinMember(group, refuse({ l0: { kind: "lease-lost", offset: 1, cause: "disconnected" } }));
    const other = joinMember(group);
    await one(0);
    await other(64);
    await other(0);

    expect(faults.counts).toEqual({ lost: 0, twice: 0, outOfOrder: 1 });
    expect(faults.examples[0]).toContain("An ack of message 0 of key k0 was accepted that was sent after that of 64 was");
  });

  test("what one member reads before another does not tell what came first", async () => {
    const faults = new Faults();
    const group = new GroupLedger(130, faults);
    const answer = Promise.withResolvers<Pick<SettleReport, "refused">>();
    const slow = joinMember(group, () => answer.promise)(0);
    await joinMember(group)(64);
    answer.resolve({ refused: [] });
    await slow;

    expect([group.accepted, faults.total]).toEqual([2, 0]);
  });

  test("each lease of an entry counts by itself", async () => {
    const faults = new Faults();
    const group = new GroupLedger(4, faults);
    const problem = formatProblem({ kind: "lease-lost", offset: 2, cause: "expired" });
    const channel = {
      transport: { settle: async () => ({ refused: [{ pointer: "/acks/0/leaseId", problem }] }) },
    } as unknown as Channel;
    const work = group.join(channel);
    const settled = Promise.withResolvers<Pick<SettleReport, "refused">>();
    const works = [0, 1, 2].map((index) => {
      const facts = { leaseId: `1-${index + 1}-1-holder-seal`, attempt: 1, redelivered: false };
      return work(new LeasedMessage({ ...received(index), ...facts }, { settle: () => settled.promise }));
    });
    await channel.transport.settle({ acks: [{ leaseId: "1-1-1-holder-seal", count: 3 }] });
    const { accepted } = group;
    settled.resolve({ refused: [] });
    await Promise.all(works);

    expect([accepted, faults.total]).toEqual([2, 0]);
  });

  test("what a repeated ack is told was done is done, and once", async () => {
    const faults = new Faults();
    const group = new GroupLedger(1, faults);
    const work = group.join({ transport: { settle: refuse({}) } } as unknown as Channel);
    // The consumer takes the refusal of a repeated ack for what its first try left behind.
    const settler = { settle: async () => ({ refused: [] }) };
    await work(new LeasedMessage({ ...received(0), attempt: 1, redelivered: false, leaseId: "l1" }, settler));
    await joinMember(group)(0);
    group.finish();

    expect([group.accepted, group.done, faults.total]).toEqual([1, 1, 0]);
  });

  test("a lease that comes again while its message is worked on may be acked", async () => {
    const faults = new Faults();
    const group = new GroupLedger(1, faults);
    const answers = [
      Promise.withResolvers<Pick<SettleReport, "refused">>(),
      Promise.withResolvers<Pick<SettleReport, "refused">>(),
    ];
    let calls = 0;
    const work = joinMember(group, () => answers[calls++]?.promise ?? Promise.reject(new Error("Too many calls")));
    const works = [work(0), work(0)];
    const lost = { kind: "lease-lost", offset: 1, cause: "disconnected" } as const;
    answers[0]?.resolve({ refused: [{ pointer: "/acks/0/leaseId", problem: formatProblem(lost) }] });
    await works[0];
    answers[1]?.resolve({ refused: [] });
    await works[1];
    group.finish();

    expect([group.accepted, group.refused, faults.total]).toEqual([1, 1, 0]);
  });

  test("what is no refusal ends the soak", async () => {
    const facts = { kind: "connection-closed", origin: "client", retry: "never", outcome: "unknown" } as const;
    const work = joinMember(new GroupLedger(1, new Faults()), () => Promise.reject(new EdgeChannelError("Closed", facts)));

    await expect(work(0)).rejects.toThrow("Closed");
  });
});
