// What a consumer settles, in how few calls, and what it is told of it.
import { describe, expect, test } from "vitest";
import { errorOf } from "../client-calls.ts";
import { firstSocket, greet, lastSocket, loseConnection, reconnect, settleDown, STATE } from "./client-doubles.ts";
import { LEASE_MS, RENEWAL_MS, FACTS, open, begin, deliver, sent, settles, answer, Handlers } from "./consumer-driver.ts";

/** Tells when a call ends: its name, and the kind of the error that it ends with. */
function noteIn(told: string[]): (name: string, call: Promise<void>) => void {
  return (name, call) => {
    call.then(
      () => told.push(name),
      ({ kind }: { readonly kind: string }) => told.push(`${name} ${kind}`),
    );
  };
}

describe("src/client/settle-queue", () => {
  test("acks of one tick go in one frame, those made meanwhile in the next, and credit as it is worked off", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 4, prefetch: 8, group: "g", reader: "r" });
    await greet(await firstSocket());
    const terms = { group: "g", leaseMs: LEASE_MS, reader: "r", credit: { messages: 8, bytes: 8 * 1024 * 1024 } };
    expect(sent().at(-1)).toMatchObject({ type: "subscribe", ...terms });
    await begin();
    await deliver(["1", "2", "3", "4", "5", "6"]);
    expect(handlers.names).toEqual(["1", "2", "3", "4"]);
    await handlers.end("1", "2");
    await handlers.end("3");
    await handlers.end("4");

    expect(settles()).toEqual([["acks l1", "acks l2"]]);
    await answer();
    expect(settles().slice(1)).toEqual([["acks l3", "acks l4"]]);
    const granted = sent().filter(({ type }) => type === "credit");
    expect(granted.reduce((sum, { messages }) => sum + Number(messages), 0)).toBe(4);
  });

  test("[LS14] acks of leases in a row go in one entry, and a problem in it finds its message by the offset", async () => {
    const { channel } = open();
    const problems: unknown[] = [];
    channel.consume(
      (messages) => void Promise.all(messages.map((message) => message.ack().catch((error) => problems.push(error)))),
      {
        batchSize: 5,
      },
    );
    await begin();
    const leaseIds = ["0-8-1-h-s", "0-9-1-h-s", "0-10-1-h-s", "0-4-2-h-s", "0-12-1-h-s"];
    const messages = leaseIds.map((leaseId) => ({ ...FACTS, offset: Number(leaseId.split("-")[1]), leaseId, text: "a" }));
    lastSocket().receive({ type: "deliver", id: 1, messages, bytes: 5, leaseUntilMs: 9, state: STATE });
    await settleDown();

    const acks = [{ leaseId: leaseIds[0], count: 3 }, { leaseId: leaseIds[3] }, { leaseId: leaseIds[4] }];
    expect(sent().findLast(({ type }) => type === "settle")).toMatchObject({ acks });
    await answer({ "/acks/0/leaseId": { kind: "lease-lost", offset: 9, cause: "expired" } });
    expect(problems).toMatchObject([{ kind: "lease-lost", problem: { offset: 9 } }]);
  });

  test("leases are renewed while a third of them is left, what runs and what waits alike", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, {});
    await begin();
    await deliver(["1", "2"]);
    timers.fire(RENEWAL_MS);
    await settleDown();
    expect(settles()).toEqual([]);
    timers.fire(RENEWAL_MS);
    await settleDown();
    expect(settles()).toEqual([["extends l1", "extends l2"]]);
    const lost = { kind: "lease-lost", offset: 1, cause: "expired" } as const;
    await answer({ "/extends/0/leaseId": lost, "/extends/1/leaseId": { ...lost, offset: 2 } });

    expect(handlers.get("1").signal.aborted).toBe(true);
    await handlers.end("1");
    // Neither is acked, and the one that waited is not begun.
    expect([settles().length, handlers.names]).toEqual([1, []]);
  });

  test("an ack that is out of order gives its message back", async () => {
    const { channel } = open();
    channel.consume(() => undefined);
    await begin();
    await deliver(["2"], ["k"]);
    await answer({ "/acks/0/leaseId": { kind: "out-of-order", offset: 2, openOffset: 1 } });

    expect(settles()).toEqual([["acks l2"], ["releases l2"]]);
  });

  test("an extension whose place is taken by what comes later is answered with that", async () => {
    const { channel } = open();
    const answers: string[] = [];
    const note = noteIn(answers);
    channel.consume(async (message) => {
      note("first", message.extend(1_000));
      await settleDown();
      note("second", message.extend(2_000));
      note("third", message.extend(3_000));
      await new Promise(() => undefined);
    });
    await begin();
    await deliver(["1"]);
    await answer();
    expect(answers).toEqual(["first"]);
    await answer({ "/extends/0/leaseId": { kind: "lease-lost", offset: 1, cause: "expired" } });

    expect(answers.toSorted()).toEqual(["first", "second lease-lost", "third lease-lost"]);
  });

  test("an extension does not take the place of an ack: it is asked for behind it", async () => {
    const { channel } = open();
    const told: string[] = [];
    const note = noteIn(told);
    channel.consume(
      async (message) => {
        // The call that is on the way.
        if (message.body === "1") await message.extend(1_000);
        else {
          await settleDown();
          note("ack", message.ack());
          note("extension", message.extend(1_000));
        }
        await new Promise(() => undefined);
      },
      { concurrency: 2 },
    );
    await begin();
    await deliver(["1", "2"]);
    await answer();
    expect(settles()).toEqual([["extends l1"], ["acks l2"]]);
    await answer();
    expect(settles().slice(2)).toEqual([["extends l2"]]);
    await answer({ "/extends/0/leaseId": { kind: "lease-lost", offset: 2, cause: "settled" } });

    expect(told).toEqual(["ack", "extension lease-lost"]);
  });

  test("an extension of no length, or of one that the server would refuse, is refused and goes with no other settling", async () => {
    const { channel } = open();
    const refused: string[] = [];
    channel.consume(async (message) => {
      for (const leaseMs of [undefined, 999, 43_200_001, Number.NaN]) {
        await message.extend(leaseMs as number).catch(({ kind, message: text }: Error & { kind: string }) => {
          refused.push(`${kind}: ${text}`);
        });
      }
    });
    await begin();
    await deliver(["1"]);

    expect(refused).toEqual(
      ["NaN", "999", "43200001", "NaN"].map(
        (found) => `invalid-request: Cannot take ${found} as leaseMs: expected a whole number from 1000 to 43200000`,
      ),
    );
    expect(settles()).toEqual([["acks l1"]]);
  });

  test("a settle call that was lost is sent again; that its leases are over by then is no fault", async () => {
    const { channel, timers } = open();
    const consumer = channel.consume((message) => message.ack());
    await begin();
    await deliver(["1"]);
    await reconnect(timers);
    expect(settles()).toEqual([["acks l1"]]);
    await answer({ "/acks/0/leaseId": { kind: "lease-lost", offset: 1, cause: "settled" } });
    await consumer.stop();
  });

  test.each(["released", "retried"] as const)(
    "an ack that was sent again is not told as done where the message was %s meanwhile: nobody has done it",
    async (cause) => {
      const { channel, timers } = open();
      const told: string[] = [];
      channel.consume((message) =>
        message.ack().then(
          () => void told.push("done"),
          ({ kind }: { readonly kind: string }) => void told.push(kind),
        ),
      );
      await begin();
      await deliver(["1"]);
      await reconnect(timers);
      expect(settles()).toEqual([["acks l1"]]);
      await answer({ "/acks/0/leaseId": { kind: "lease-lost", offset: 1, cause } });

      expect(told).toEqual(["lease-lost"]);
    },
  );

  test("what cannot be settled when it stops is given up after some tries, and told", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    const consumer = channel.consume(handlers.handle);
    await begin();
    await deliver(["1"]);
    const stopping = errorOf(consumer.stop());
    await handlers.end("1");
    for (let tries = 0; tries < 3; tries++) {
      await loseConnection();
      timers.fire();
      await settleDown();
    }

    expect(await stopping).toMatchObject({ kind: "connection-failed" });
  });
});
