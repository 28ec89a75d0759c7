// The soak's books find what must not be.
import { describe, expect, test } from "vitest";
import { EdgeChannelError } from "../../src/client/edge-channel-error.ts";
import { LeasedMessage } from "../../src/client/leased-message.ts";
import type { Channel, ReceivedMessage, SettleReport, SettleRequest } from "../../src/client/index.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { Faults, GroupLedger, makeMessage, ReaderLedger } from "../soak/ledger.ts";

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

/** A channel whose service refuses the acks of these leases. */
function channelOf(refused: Readonly<Record<string, Refusal>>): Channel {
  const settle = async ({ acks = [] }: SettleRequest): Promise<Pick<SettleReport, "refused">> => ({
    refused: acks.flatMap(({ leaseId }, index) => {
      const refusal = refused[leaseId];
      return refusal === undefined ? [] : [{ pointer: `/acks/${index}/leaseId`, problem: formatProblem(refusal) }];
    }),
  });
  return { transport: { settle } } as unknown as Channel;
}

/** The group works on these messages one after the other. */
async function workOn(
  group: GroupLedger,
  indices: readonly number[],
  refused: Readonly<Record<string, Refusal>> = {},
): Promise<void> {
  const channel = channelOf(refused);
  group.watch(channel);
  for (const index of indices) {
    const message = new LeasedMessage(
      { ...received(index), leaseId: `l${index}`, attempt: 1, redelivered: false },
      channel.transport,
    );
    await group.work(message);
  }
}

describe("test/soak/ledger: a group", () => {
  test("an ack that is refused does not count, and the next delivery may be acked", async () => {
    const faults = new Faults();
    const group = new GroupLedger(2, faults);
    await workOn(group, [1, 0], { l0: { kind: "lease-lost", offset: 1, cause: "disconnected" } });
    await workOn(group, [0]);
    group.finish();

    expect([group.accepted, group.done, group.deliveries, group.refused, faults.total]).toEqual([2, 2, 3, 1, 0]);
  });

  test("two accepted acks of a message, one that is missing, and a key out of order are found", async () => {
    const faults = new Faults();
    const group = new GroupLedger(130, faults);
    // 0, 64 and 128 have one key.
    await workOn(group, [0, 0, 128, 64]);
    group.finish();

    expect(faults.counts).toEqual({ lost: 127, twice: 1, outOfOrder: 1 });
  });

  test("what a repeated ack is told was done is done, and once", async () => {
    const faults = new Faults();
    const group = new GroupLedger(1, faults);
    // The consumer takes the refusal of a repeated ack for what its first try left behind.
    const settler = { settle: async () => ({ refused: [] }) };
    const facts = { attempt: 1, redelivered: false };
    await group.work(new LeasedMessage({ ...received(0), ...facts, leaseId: "l1" }, settler));
    await workOn(group, [0]);
    group.finish();

    expect([group.accepted, group.done, faults.total]).toEqual([1, 1, 0]);
  });

  test("what is no refusal ends the soak", async () => {
    const group = new GroupLedger(1, new Faults());
    const facts = { kind: "connection-closed", origin: "client", retry: "never", outcome: "unknown" } as const;
    const settler = { settle: () => Promise.reject(new EdgeChannelError("Closed", facts)) };
    const message = new LeasedMessage({ ...received(0), leaseId: "l0", attempt: 1, redelivered: false }, settler);

    await expect(group.work(message)).rejects.toThrow("Closed");
  });
});
