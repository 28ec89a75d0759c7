// Crashes under producers that repeat whatever was not answered: workerd is killed in the middle of their work, they send again, and
// each put is stored once, in order, with one outcome (G9).
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { buildWorker, type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";
import { chooseSeed, SeededRandom } from "./hostile/seeded-random.ts";

const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
const ROUNDS = 8;
const IN_FLIGHT = 48;
/** The kill of a round comes behind so many answers, whatever the speed of the machine. */
const ANSWERS_MIN = 300;
const ANSWERS_MAX = 2_000;
const PRODUCERS = ["numbered-0", "numbered-1", "keyed-0", "keyed-1"];

interface PutOk {
  readonly type: string;
  readonly id: number;
  readonly offset: number;
  readonly duplicate?: true;
  readonly problem?: { readonly kind: string };
}

/** One producer: its puts are numbered from 1, or named by keys, and each is sent until it is answered. */
class Producer {
  readonly name: string;
  /** The offsets that were answered, by number. */
  readonly offsets = new Map<number, number>();
  readonly violations: string[] = [];
  duplicates = 0;
  /** The last number that was ever sent. */
  #sent = 0;
  #socket: WebSocket | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Sends again what was not answered, and some of what was; then goes on until the connection ends, which may be before it is open. */
  async run(address: string, random: SeededRandom, onAnswer: () => void): Promise<void> {
    const socket = new WebSocket(address, "channel.v1.json", { perMessageDeflate: false });
    this.#socket = socket;
    socket.on("error", () => undefined);
    socket.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as PutOk;
      if (frame.type === "echo") return socket.send(data.toString());
      this.#take(frame);
      onAnswer();
    });
    socket.on("open", () => this.#begin(socket, random));
    await new Promise((settle) => socket.on("close", settle));
  }

  #begin(socket: WebSocket, random: SeededRandom): void {
    socket.send('{"type":"hello","versions":[1]}');
    for (let number = Math.max(1, this.offsets.size - random.int(0, 20)); number <= this.#sent; number += 1) this.#put(number);
    while (this.#sent - this.offsets.size < IN_FLIGHT) this.#put((this.#sent += 1));
  }

  get sent(): number {
    return this.#sent;
  }

  #put(number: number): void {
    const [kind] = this.name.split("-");
    const way =
      kind === "keyed" ? { idempotencyKey: `${this.name}/${number}` } : { producer: { id: this.name, epoch: 1, seq: number } };
    const text = `${this.name}/${number}/${"x".repeat(number % 300)}`;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: "put", id: number, text, ...way }));
  }

  #take({ type, id: number, offset, duplicate, problem }: PutOk): void {
    if (type === "welcome") return;
    if (type !== "put-ok") {
      this.violations.push(`${this.name}/${number} was answered ${type} ${problem?.kind ?? ""}`);
      return;
    }
    const known = this.offsets.get(number);
    if (known !== undefined && known !== offset) this.violations.push(`${this.name}/${number} is at ${known} and at ${offset}`);
    if (known !== undefined && duplicate !== true) this.violations.push(`${this.name}/${number} was stored twice`);
    if (duplicate === true) this.duplicates += 1;
    this.offsets.set(number, offset);
    if (known === undefined) this.#put((this.#sent += 1));
  }
}

/** Each message's place by its name, in the order of offsets. */
async function browseAll(runtime: LocalRuntime): Promise<Map<string, number[]>> {
  const places = new Map<string, number[]>();
  for (let from: number | null = 1; from !== null;) {
    const reply = await fetch(`${runtime.url}/v1/channels/kill/messages?from=${from}&limit=1000`);
    const page = (await reply.json()) as { messages: { offset: number; text: string }[]; next: number | null };
    for (const { offset, text } of page.messages) {
      const name = text.slice(0, text.lastIndexOf("/"));
      places.set(name, [...(places.get(name) ?? []), offset]);
    }
    from = page.next;
  }
  return places;
}

/** What is wrong with the messages of a producer: each is there once, at its answered offset, and behind the one before. */
function findViolations(producer: Producer, places: ReadonlyMap<string, number[]>): string[] {
  const violations = [...producer.violations];
  let last = 0;
  for (let number = 1; number <= producer.sent; number += 1) {
    const offsets = places.get(`${producer.name}/${number}`) ?? [];
    const answered = producer.offsets.get(number);
    const [offset = 0] = offsets;
    if (offsets.length > 1 || (answered !== undefined && answered !== offset)) {
      violations.push(`${producer.name}/${number} is at ${offsets.join()} and was answered ${answered ?? "nothing"}`);
    }
    if (offset > 0 && offset < last) violations.push(`${producer.name}/${number} is before the one before it`);
    last = Math.max(last, offset);
  }
  return violations;
}

describe("test/e2e/kill-dedup", () => {
  test(
    "[G9] puts that are sent again after SIGKILL are stored once, in order, with one outcome",
    { timeout: 120_000 },
    async () => {
      const seed = chooseSeed();
      const random = new SeededRandom(seed);
      await mkdir(CACHE_DIR, { recursive: true });
      const dir = await mkdtemp(join(CACHE_DIR, "kill-dedup-"));
      const { bundle } = await buildWorker({ outDir: join(dir, "bundle") });
      const producers = PRODUCERS.map((name) => new Producer(name));
      const violations: string[] = [];

      for (let round = 1; round <= ROUNDS; round += 1) {
        const runtime = await startLocalRuntime({ bundle, storageDir: join(dir, "storage"), vars: { DEVELOPMENT: "1" } });
        if (round === 1) await fetch(`${runtime.url}/v1/channels/kill`, { method: "PUT" });
        const address = `ws://127.0.0.1:${runtime.port}/v1/channels/kill/socket`;
        let left = random.int(ANSWERS_MIN, ANSWERS_MAX);
        const running = producers.map((producer) =>
          producer.run(address, random, () => {
            if ((left -= 1) === 0) process.kill(runtime.pid, "SIGKILL");
          }),
        );
        await Promise.all(running);
        await runtime.kill();
      }
      const runtime = await startLocalRuntime({ bundle, storageDir: join(dir, "storage"), vars: { DEVELOPMENT: "1" } });
      const places = await browseAll(runtime);
      await runtime.stop();
      await rm(dir, { recursive: true, force: true });

      for (const producer of producers) violations.push(...findViolations(producer, places));
      const answered = producers.reduce((sum, producer) => sum + producer.offsets.size, 0);
      const duplicates = producers.map((producer) => producer.duplicates);
      console.log(JSON.stringify({ seed, answered, duplicates }));
      expect(violations, `seed ${seed}`).toEqual([]);
      expect(answered).toBeGreaterThan(ROUNDS * 100);
      expect(Math.min(...duplicates)).toBeGreaterThan(0);
    },
  );
});
