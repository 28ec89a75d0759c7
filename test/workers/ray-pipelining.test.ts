// What Ray's async actors and its pipelining pattern promise, here for consumers of the client against the real worker. The labels are those
// of Ray's list of cases: an actor that waits is a consumer at work, an item that is fetched ahead is one within `prefetch`.
import { describe, expect, onTestFinished, test } from "vitest";
import { type Channel, EdgeChannel, type ReceivedMessage, upgradeWith, type WebSocketLike } from "../../src/client/index.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { passTime } from "./inside.ts";
import { fetchFromWorker, freshChannel, ORIGIN, untilChannel } from "./service.ts";

const LONG_MS = 60_000;
/** As when a process is killed: nobody has said that it ends. */
const GOING_AWAY = 1001;

interface Opened {
  readonly channel: Channel;
  /** Ends the connection as the death of its process does: it is not made again. */
  readonly kill: () => void;
  /** From now on what the client sends is held back, until the function that is returned is called. */
  readonly holdBack: () => () => void;
}

/** A program with a connection of its own. */
function open(name = freshChannel()): Opened {
  const sockets: WebSocketLike[] = [];
  let isAlive = true;
  let held: (() => void)[] | undefined;
  const client = EdgeChannel.connect(ORIGIN, {
    transport: "socket",
    fetch: fetchFromWorker,
    openSocket: async (url, headers, protocols) => {
      if (!isAlive) throw new Error("The program is dead");
      const socket = await upgradeWith(fetchFromWorker)(url, headers, protocols);
      sockets.push(socket);
      const send = socket.send.bind(socket);
      socket.send = (data) => {
        if (held === undefined) send(data);
        else held.push(() => send(data));
      };
      return socket;
    },
  });
  onTestFinished(() => client.close());
  return {
    channel: client.channel(name),
    kill: () => {
      isAlive = false;
      for (const socket of sockets) socket.close(GOING_AWAY);
    },
    holdBack: () => {
      const sends: (() => void)[] = [];
      held = sends;
      return () => {
        held = undefined;
        for (const send of sends) send();
      };
    },
  };
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

function textOf({ body }: ReceivedMessage): string {
  return typeof body === "string" ? body : "no text";
}

describe("Ray's async actors and pipelining, by consumers", () => {
  test("[ray:A1] over one connection the state is told while a message is worked on and a get waits", async () => {
    const { channel } = open();
    await channel.put("item");
    const [begun, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const consumer = channel.consume(() => {
      begun.resolve();
      return finish.promise;
    });
    await begun.promise;
    const waiting = channel.get({ waitMs: LONG_MS });

    // Neither can end before it is answered.
    expect(await channel.stats()).toMatchObject({ depth: 1, waiters: 1 });

    finish.resolve();
    await consumer.stop();
    await channel.put("late");
    expect(await waiting).toMatchObject({ body: "late" });
  });

  test.each([1, 2, 5])(
    "[ray:A2] with a prefetch of %i so many items are worked off while what fetches more is on its way",
    async (prefetch) => {
      const { channel, holdBack } = open();
      await channel.putBatch(numbers(10));
      const begun: string[] = [];
      const steps = numbers(10).map(() => Promise.withResolvers<void>());
      const first = Promise.withResolvers<void>();
      const idle = Promise.withResolvers<void>();
      const consumer = channel.consume(
        async (message) => {
          const step = begun.push(textOf(message));
          first.resolve();
          await steps[step - 1]?.promise;
          if (step === prefetch) idle.resolve();
        },
        { prefetch },
      );
      await first.promise;
      const letGo = holdBack();
      for (const step of steps) step.resolve();
      await idle.promise;
      await new Promise(setImmediate);

      expect(begun).toEqual(numbers(prefetch));
      letGo();
      await consumer.stop();
    },
  );

  test("[ray:A3] one worker gets all items once and in order, with some fetched ahead", async () => {
    const { channel } = open();
    const producer = open(channel.name).channel;
    const items = numbers(500);
    const seen: string[] = [];
    const done = Promise.withResolvers<void>();
    const consumer = channel.consume(
      (message) => {
        if (seen.push(textOf(message)) === items.length) done.resolve();
      },
      { prefetch: 8 },
    );
    for (let first = 0; first < items.length; first += 50) await producer.putBatch(items.slice(first, first + 50));
    await done.promise;
    await consumer.stop();

    expect(seen).toEqual(items);
    expect((await channel.stats()).depth).toBe(0);
  });

  test("[ray:A4] [LS9] a worker that is killed with fetched items loses none: the others get all that it had not acked, in order", async () => {
    passTime(0);
    const victim = open();
    await victim.channel.putBatch(numbers(10));
    const stuck = Promise.withResolvers<void>();
    victim.channel.consume(
      (message) => {
        if (textOf(message) === "0") return undefined;
        stuck.resolve();
        return new Promise(() => undefined);
      },
      { prefetch: 4 },
    );
    await stuck.promise;
    await untilChannel(victim.channel.name, ({ counts }) => counts.acked === 1);
    victim.kill();
    await untilChannel(victim.channel.name, ({ connections }) => connections === 0);
    passTime(LIMITS.resumeGraceMs);

    const { channel } = open(victim.channel.name);
    const seen: string[] = [];
    const done = Promise.withResolvers<void>();
    const heir = channel.consume((message) => {
      seen.push(`${textOf(message)}${message.redelivered ? " again" : ""}`);
      if (seen.length === 9) done.resolve();
    });
    await done.promise;
    await heir.stop();

    const fetched = ["1 again", "2 again", "3 again", "4 again"];
    expect(seen).toEqual([...fetched, "5", "6", "7", "8", "9"]);
    expect((await channel.stats()).depth).toBe(0);
  });

  test("[ray:A5] draining ends every worker, behind the last item", async () => {
    const { channel } = open();
    await channel.putBatch(numbers(30));
    const seen: string[] = [];
    const consumers = [open(channel.name), open(channel.name), open(channel.name)].map((worker) =>
      worker.channel.consume((message) => void seen.push(textOf(message)), { prefetch: 4 }),
    );
    const ends = Promise.allSettled(consumers.map(({ done }) => done));
    await channel.drain();

    const closed = { status: "rejected", reason: { kind: "channel-closed" } };
    expect(await ends).toMatchObject([closed, closed, closed]);
    expect(seen.toSorted((a, b) => Number(a) - Number(b))).toEqual(numbers(30));
  });
});
