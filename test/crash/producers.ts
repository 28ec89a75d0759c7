// The producers: pipelined puts over a WebSocket, and batches over HTTP; most wait for room, some do not and are refused.
import { setTimeout as delay } from "node:timers/promises";
import type { SeededRandom } from "../e2e/hostile/seeded-random.ts";
import { type Load, whereOf } from "./load.ts";
import { formatName } from "./payload.ts";
import type { Port } from "./port.ts";

const WINDOW = 24;
const KEYS = 200;
const KEYED_SHARE = 0.4;
const WAIT_MS_MAX = 3000;
const BATCH_SHARE = 0.15;
const BATCH_MAX = 8;
const FULL_PAUSE_MS = 10;

/** The names that one producer gives to its messages, over all lives of the runtime. */
export class Names {
  readonly #producer: string;
  readonly #random: SeededRandom;
  #number = 0;

  constructor(producer: string, random: SeededRandom) {
    this.#producer = producer;
    this.#random = random;
  }

  take(count: number): string[] {
    return Array.from({ length: count }, () => {
      this.#number += 1;
      const key = this.#random.chance(KEYED_SHARE) ? `k${this.#random.int(1, KEYS)}` : undefined;
      return formatName(this.#producer, this.#number, key);
    });
  }
}

/** Keeps puts in flight until the load is over. */
export async function runSocketProducer(load: Load, port: Port, names: Names): Promise<void> {
  await Promise.all(Array.from({ length: WINDOW }, () => runLane(load, port, names)));
}

/** One request after another. */
export function runHttpProducer(load: Load, port: Port, names: Names): Promise<void> {
  return runLane(load, port, names);
}

async function runLane({ recorder, random, isOver }: Load, port: Port, names: Names): Promise<void> {
  while (!isOver() && port.isOpen) {
    const count = random.chance(BATCH_SHARE) ? random.int(2, BATCH_MAX) : 1;
    const waitMs = random.chance(0.1) ? 0 : random.int(500, WAIT_MS_MAX);
    const messages = names.take(count);
    const reply = await recorder.record(whereOf(port), { f: "put", messages, waitMs }, () => port.put(messages, { waitMs }));
    if (reply.type === "fail") await delay(FULL_PAUSE_MS);
  }
}
