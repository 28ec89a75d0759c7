// Who reads a channel, told over sockets and timers that the test drives by hand. Rules RG7 to RG11.
import { assert, describe, expect, test } from "vitest";
import type { Channel, Presence, PresenceEvent, PresenceOptions } from "../../src/client/index.ts";
import { errorOf } from "../client-calls.ts";
import {
  FakeWebSocket,
  firstSocket,
  greet,
  isSettled,
  KEEP_ALIVE_TIMERS,
  lastSocket,
  loseConnection,
  openChannel,
  openTimedChannel,
  reconnect,
  settleDown,
} from "./client-doubles.ts";

const COLOS = [
  { colo: "FRA", readers: 2 },
  { colo: null, readers: 1 },
];
const PRESENT = { type: "present", readers: 3, colos: COLOS };
const EVENTS_MAX = 1000;

function present(id = 1): object {
  return { ...PRESENT, id };
}

/** As the server tells it, each as `join a FRA`. */
function changed(...texts: readonly string[]): object {
  const changes = texts.map((text) => {
    const [change, reader, colo = null] = text.split(" ");
    return { change, reader, colo };
  });
  return { type: "presence", id: 1, changes };
}

/** Watches, to where the server is asked; the first event is asked for. */
async function watch(options: PresenceOptions = {}) {
  const { channel, timers } = openTimedChannel();
  const presence = channel.presence(options);
  const first = presence.next();
  await greet(await firstSocket());
  return { channel, presence, first, timers };
}

async function take(presence: Presence, count: number): Promise<unknown[]> {
  const events: unknown[] = [];
  while (events.length < count) events.push(textOf((await presence.next()).value ?? undefined));
  return events;
}

function textOf(event: PresenceEvent | undefined): unknown {
  if (event === undefined) return "over";
  return event.type === "present" ? event.readers : `${event.type} ${event.reader} ${event.colo ?? "?"}`;
}

function halfOfMost(name: string): string[] {
  return Array.from({ length: EVENTS_MAX / 2 }, (_, index) => `join ${name}${index} FRA`);
}

async function another(channel: Channel): Promise<{ presence: Presence; first: Promise<IteratorResult<PresenceEvent, void>> }> {
  const presence = channel.presence();
  const first = presence.next();
  await settleDown();
  return { presence, first };
}

describe("src/client/presence", () => {
  test("[RG7] [RG8] how many there are comes first, then each change by itself and in order", async () => {
    const { presence, first } = await watch();
    expect(lastSocket().sent.slice(1)).toEqual([{ type: "presence", id: 1 }]);
    lastSocket().receive(present());
    lastSocket().receive(changed("join a FRA", "leave ~2"));
    lastSocket().receive(changed("expiry p GRU"));

    expect(await first).toEqual({ done: false, value: PRESENT });
    expect(await take(presence, 3)).toEqual(["join a FRA", "leave ~2 ?", "expiry p GRU"]);
    expect(await isSettled(presence.next())).toBe(false);
  });

  test("[RG10] the counts come again when the server tells them, and over the next connection", async () => {
    const errors: string[] = [];
    const { presence, timers } = await watch({ onReconnect: ({ kind }) => errors.push(kind) });
    lastSocket().receive(present());
    lastSocket().receive({ ...present(), readers: 9 });
    await reconnect(timers);
    expect(lastSocket().sent.slice(1)).toEqual([{ type: "presence", id: 1 }]);
    lastSocket().receive({ ...present(), readers: 4 });
    lastSocket().receive(changed("join a FRA"));

    expect(await take(presence, 3)).toEqual([9, 4, "join a FRA"]);
    expect(errors).toEqual(["connection-lost"]);
  });

  test("[RG9] of more events than may lie here only the counts behind them are told", async () => {
    const { presence, first } = await watch();
    lastSocket().receive(present());
    await first;
    for (const name of ["a", "b"]) lastSocket().receive(changed(...halfOfMost(name)));
    expect(await take(presence, 1)).toEqual(["join a0 FRA"]);
    lastSocket().receive(changed("join c SIN", "leave ~2"));
    lastSocket().receive(changed("expiry p SIN"));

    expect(await presence.next()).toEqual({
      done: false,
      value: {
        type: "present",
        readers: 1003,
        colos: [
          { colo: "FRA", readers: 1002 },
          { colo: "SIN", readers: 1 },
        ],
      },
    });
    expect(await take(presence, 1)).toEqual(["expiry p SIN"]);
  });

  test("[RG11] all who watch share one watch, each is told how many there are when it comes, and the last one ends it", async () => {
    const { channel, presence, first } = await watch();
    lastSocket().receive(present());
    lastSocket().receive(changed("join a FRA"));
    await first;
    const other = await another(channel);
    expect(await other.first).toEqual({
      done: false,
      value: {
        type: "present",
        readers: 4,
        colos: [
          { colo: "FRA", readers: 3 },
          { colo: null, readers: 1 },
        ],
      },
    });
    await presence.return();
    lastSocket().receive(changed("leave a FRA"));
    expect(await take(other.presence, 1)).toEqual(["leave a FRA"]);
    expect(lastSocket().sent).toHaveLength(2);
    await other.presence.return();
    expect(lastSocket().sent.slice(2)).toEqual([{ type: "unsubscribe", id: 1 }]);

    const third = await another(channel);
    expect(lastSocket().sent.at(-1)).toEqual({ type: "presence", id: 2 });
    lastSocket().receive({ type: "ended", id: 1 });
    lastSocket().receive({ ...present(2), readers: 7 });
    expect(textOf((await third.first).value ?? undefined)).toBe(7);
  });

  test("[RG11] who comes while the connection is lost is told nothing that is no longer known", async () => {
    const { channel, first, timers } = await watch();
    lastSocket().receive(present());
    await first;
    await loseConnection();
    const other = await another(channel);
    expect(await isSettled(other.first)).toBe(false);
    timers.fire(50);
    await settleDown();
    await greet(lastSocket());
    lastSocket().receive({ ...present(), readers: 5 });

    expect(textOf((await other.first).value ?? undefined)).toBe(5);
  });

  test("[RG11] aborting ends it cleanly, also while it waits, and drops what was not taken", async () => {
    const abort = new AbortController();
    const { presence, first, timers } = await watch({ signal: abort.signal });
    lastSocket().receive(present());
    await first;
    const waiting = presence.next();
    abort.abort();
    lastSocket().receive(changed("join a FRA"));

    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(await presence.next()).toEqual({ done: true, value: undefined });
    expect([lastSocket().sent.at(-1), timers.count]).toEqual([{ type: "unsubscribe", id: 1 }, KEEP_ALIVE_TIMERS]);
  });

  test("[RG11] leaving a loop, or the scope, ends it while another call waits", async () => {
    const { presence, first } = await watch();
    lastSocket().receive(present());
    await first;
    const waiting = presence.next();
    await presence[Symbol.asyncDispose]();

    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(lastSocket().sent.at(-1)).toEqual({ type: "unsubscribe", id: 1 });
  });

  test("[RG11] one that is ended before it begins asks for nothing", async () => {
    const { channel } = openChannel();
    const aborted = channel.presence({ signal: AbortSignal.abort() });
    const left = channel.presence();
    await left.return();

    expect([await aborted.next(), await left.next()]).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
    expect(FakeWebSocket.last).toBeUndefined();
  });

  test("[RG11] what the server ends it for comes behind the last event, and a refusal at once, to all who watch", async () => {
    const { channel, presence, first } = await watch();
    lastSocket().receive(present());
    await first;
    const other = await another(channel);
    await other.first;
    lastSocket().receive(changed("leave a FRA"));
    lastSocket().endStream(1, { kind: "channel-closed" });
    for (const each of [presence, other.presence]) {
      expect(await take(each, 1)).toEqual(["leave a FRA"]);
      expect(await errorOf(each.next())).toMatchObject({ kind: "channel-closed", status: 410 });
      expect(await each.next()).toEqual({ done: true, value: undefined });
    }
    const refused = await another(channel);
    lastSocket().refuse(2, { kind: "channel-closed" });

    expect(await errorOf(refused.first)).toMatchObject({ kind: "channel-closed", outcome: "not-applied" });
  });

  test("[RG7] over HTTP it is refused at once", () => {
    const { channel } = openChannel({ transport: "http" });

    assert.throws(() => channel.presence(), /Cannot watch presence over HTTP: expected transport "socket"/);
  });
});
