// Rounds in which a relay, the channel and readers are ended at random under load. SPEC RY8. Few here; `npm run soak:relays` plays 100.
import { env } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { formatRelayObject } from "../../src/object/relay-name.ts";
import type { RelayObject } from "../../src/object/relay-object.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { Random } from "../simulation/random.ts";
import { hibernate, passTime, restart, silenceWarnings } from "./inside.ts";
import { createChannel, describeChannel, openSocket, putBatch, type TestSocket } from "./service.ts";

const ROUNDS = Number(env.RELAY_ROUNDS);
const COLOS = ["LHR", "FRA"];
const READERS = 6;
const CREDIT = 50;

/** Reads on over connections that come and go. */
class KeptReader {
  readonly offsets: number[] = [];
  readonly #channel: string;
  readonly #colo: string;
  #socket: TestSocket | undefined;
  #resume: string | undefined;
  #isStopped = false;
  connections = 0;
  readonly done: Promise<void>;

  constructor(channel: string, colo: string) {
    this.#channel = channel;
    this.#colo = colo;
    this.done = this.#run();
  }

  cut(): void {
    this.#socket?.close();
  }

  stop(): void {
    this.#isStopped = true;
    this.cut();
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        await this.#read();
      } catch {
        // The connection was lost, or could not be made: the next one goes on.
      }
    }
  }

  async #read(): Promise<void> {
    const socket = await openSocket(this.#channel, { colo: this.#colo, read: "plain" });
    this.#socket = socket;
    this.connections += 1;
    const from = this.#resume === undefined ? { at: "first" } : { resume: this.#resume };
    socket.send({ type: "subscribe", id: 1, credit: { messages: CREDIT }, from });
    while (!this.#isStopped) {
      const { type, messages = [], resume } = await socket.next();
      if (type === "problem" || type === "ended") throw new Error(`Unexpected ${type}`);
      this.offsets.push(...messages.map(({ offset }) => offset));
      this.#resume = resume ?? this.#resume;
      if (messages.length > 0) socket.send({ type: "credit", id: 1, messages: messages.length });
    }
  }
}

function relayOf(channel: string, colo: string): DurableObjectStub {
  const { RELAYS } = env;
  if (RELAYS === undefined) throw new Error("The worker under test has relays");
  return RELAYS.getByName(formatRelayObject({ channel, relay: `${colo}/0`, jurisdiction: undefined }));
}

/** Lets the relay part with its channel and hibernate; where messages flow it does not. */
async function putToSleep(channel: string, colo: string): Promise<void> {
  passTime(LIMITS.relayIdleMs);
  await runInDurableObject<RelayObject, void>(relayOf(channel, colo), (relay) => relay.alarm());
}

async function happen(random: Random, channel: string, readers: readonly KeptReader[]): Promise<void> {
  const colo = random.pick(COLOS) ?? "";
  const event = random.pick(["kill relay", "kill channel", "hibernate channel", "cut reader", "cut readers", "sleep"]);
  if (event === "kill relay") {
    await runInDurableObject(relayOf(channel, colo), (_, context) => context.abort("Killed by the test")).catch(() => undefined);
  } else if (event === "kill channel") await restart(channel);
  else if (event === "hibernate channel") await hibernate(channel);
  else if (event === "cut reader") random.pick(readers)?.cut();
  else if (event === "cut readers") for (const reader of readers) reader.cut();
  else await putToSleep(channel, colo);
}

describe("src/object: relays that die", () => {
  silenceWarnings();

  test(
    "[RY8] every reader that comes back has every message once, in order",
    async () => {
      const seed = Number(env.RELAY_SEED) || Math.floor(Math.random() * 2 ** 31);
      const random = new Random(seed);
      const channel = await createChannel({ retention: "log", relays: { from: 1 } });
      const readers = Array.from({ length: READERS }, (_, index) => new KeptReader(channel, COLOS[index % COLOS.length] ?? ""));
      let count = 0;
      const putSome = async (): Promise<void> => {
        const texts = Array.from({ length: 1 + random.below(20) }, (_, index) => `${count + index}`);
        // Where the channel ended meanwhile nobody knows whether it was put: the count is the channel's.
        await putBatch(channel, texts).catch(() => undefined);
        count += texts.length;
      };
      for (let round = 0; round < ROUNDS; round++) {
        await putSome();
        await Promise.all([putSome(), happen(random, channel, readers)]);
        await putSome();
      }
      const { nextOffset } = await describeChannel(channel);
      const expected = Array.from({ length: nextOffset - 1 }, (_, index) => index + 1);
      while (readers.some(({ offsets }) => offsets.length < expected.length)) await describeChannel(channel);
      for (const reader of readers) reader.stop();
      await Promise.all(readers.map(({ done }) => done));

      for (const { offsets } of readers) expect(offsets, `seed ${seed}`).toEqual(expected);
    },
    20_000 + ROUNDS * 2000,
  );
});
