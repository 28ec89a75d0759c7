// Hostile binary frames against the running worker: each is answered by a problem frame or closes its own connection, and the channel
// goes on for all others with exactly what was accepted.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { accept, type Result } from "../../src/base/result.ts";
import { buildWorker, type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";
import { type Channel, EdgeChannel } from "../../src/client/index.ts";
import { CLOSE_CODES } from "../../src/protocol/frames.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { Block } from "../../src/protocol/block.ts";
import { parsePutBody, parsePutFrame } from "../../src/protocol/put-frame.ts";
import { FRAME_MEDIA_TYPE, SUBPROTOCOL_BIN } from "../../src/protocol/version.ts";
import { putFrame, textRecord } from "../binary-frames.ts";
import { MUTATION_NAMES, mutate, SLIGHT_MUTATIONS, TTL_MS, validFrame } from "./hostile/binary-mutations.ts";
import { HostileSocket, type ReceivedFrame } from "./hostile/hostile-socket.ts";
import { chooseSeed, SeededRandom } from "./hostile/seeded-random.ts";

/** Of each kind. */
const FRAMES = 60;
const DURATION_MS_MAX = 60_000;

let dir: string;
let runtime: LocalRuntime;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "hostile-binary-"));
  const { bundle } = await buildWorker({ outDir: join(dir, "bundle") });
  runtime = await startLocalRuntime({ bundle, storageDir: join(dir, "storage"), vars: { DEVELOPMENT: "1" } });
});

afterAll(async () => {
  await runtime.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Somebody else, over binary sockets too. */
function openBystander(name: string): Channel {
  const client = EdgeChannel.connect(runtime.url, { transport: "socket" });
  onTestFinished(() => client.close());
  return client.channel(name);
}

async function openAttacker(name: string): Promise<HostileSocket> {
  const socket = await HostileSocket.open(runtime.port, name, true, SUBPROTOCOL_BIN);
  onTestFinished(() => socket.drop());
  return socket;
}

/** A valid frame whose messages enter later, or leave by themselves, cannot be counted: another is made then. */
function mutateForGood(make: () => Uint8Array, parse: (bytes: Uint8Array) => Result<Block, unknown>): Uint8Array {
  for (;;) {
    const bytes = make();
    const parsed = parse(bytes);
    if (!parsed.ok) return bytes;
    const block = parsed.value;
    const lives = Array.from({ length: block.count }, (_, place) => block.times(place).ttlMs ?? TTL_MS);
    if (!block.hasDelays && Math.min(...lives) >= TTL_MS) return bytes;
  }
}

function parseFrameBlock(bytes: Uint8Array): Result<Block, unknown> {
  const frame = parsePutFrame(bytes);
  return frame.ok ? accept(frame.value.block) : frame;
}

/** Which answers each mutation got. */
class AnswerKinds {
  readonly #kinds = new Map<string, Set<string | undefined>>();

  note(mutation: string, kind: string | undefined): void {
    this.#kinds.set(mutation, (this.#kinds.get(mutation) ?? new Set()).add(kind));
  }

  of(mutation: string): readonly (string | undefined)[] {
    return [...(this.#kinds.get(mutation) ?? [])];
  }

  /** The mutations of which some were answered so. */
  answeredBy(kind: string): readonly string[] {
    return MUTATION_NAMES.filter((mutation) => this.#kinds.get(mutation)?.has(kind) === true);
  }
}

/** Takes all that is there; the offsets in their order. */
async function takeAll(channel: Channel): Promise<readonly number[]> {
  const taken: number[] = [];
  for (;;) {
    const messages = await channel.getBatch({ max: 500 });
    if (messages.length === 0) return taken.sort((a, b) => a - b);
    taken.push(...messages.map(({ offset }) => offset));
  }
}

const offsetsTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);

function kindOf(frame: ReceivedFrame | undefined): string | undefined {
  const problem = frame?.["problem"] as { readonly kind: string } | undefined;
  return problem?.kind ?? frame?.type;
}

describe("test/e2e/hostile: binary frames", () => {
  test(
    "[RB1] [G11] [G4] whatever bytes come are answered by one frame each, and only what was accepted is there for others",
    { timeout: DURATION_MS_MAX },
    async () => {
      const seed = chooseSeed();
      const random = new SeededRandom(seed);
      const bystander = openBystander("attacked");
      await bystander.create({ maxMessages: 1_000_000 });
      const attacker = await openAttacker("attacked");
      const kinds = new AnswerKinds();
      const surprises: string[] = [];
      let stored = 0;

      for (let id = 1; id <= FRAMES * MUTATION_NAMES.length; id++) {
        const mutation = MUTATION_NAMES[id % MUTATION_NAMES.length] ?? "";
        const bytes = mutateForGood(() => mutate(mutation, id, random), parseFrameBlock);
        attacker.send(bytes);
        const { frames, answer } = await attacker.fence();
        const [kind, more] = [kindOf(frames[0]), frames.length - 1];
        const expected = parsePutFrame(bytes);
        const isTold = expected.ok ? kind === "put-ok" : kind === expected.refusal.refusal.kind;
        if (!isTold || more > 0 || answer?.type !== "stats") surprises.push(`${mutation}: ${JSON.stringify(frames)}`);
        if (kind === "put-ok") stored += Number(frames[0]?.["count"]);
        kinds.note(mutation, kind);
        if (id % 100 !== 0) continue;
        // In between: somebody else, and the attacker when he behaves.
        await bystander.put(`other ${id}`);
        attacker.send(new Uint8Array(validFrame(id, random)));
        const [well] = (await attacker.fence()).frames;
        stored += 1 + Number(well?.["count"]);
      }

      expect(surprises, `seed ${seed}`).toEqual([]);
      // All are refused, but for those that are slight, of which some are valid still.
      expect(kinds.answeredBy("put-ok"), `seed ${seed}`).toEqual(SLIGHT_MUTATIONS);
      expect(kinds.of("an unknown type")).toEqual(["unknown-frame"]);
      expect((await bystander.stats()).counts.put, `seed ${seed}`).toBe(stored);
      expect(await takeAll(bystander), `seed ${seed}`).toEqual(offsetsTo(stored));
    },
  );

  test(
    "[RB1] [G11] [G4] the same as the body of a batch: each is stored whole or refused as a problem, and nothing of it stored",
    { timeout: DURATION_MS_MAX },
    async () => {
      const seed = chooseSeed();
      const random = new SeededRandom(seed);
      const bystander = openBystander("posted");
      await bystander.create({ maxMessages: 1_000_000 });
      const address = `${runtime.url}/v1/channels/posted/messages/batch`;
      const kinds = new AnswerKinds();
      const surprises: string[] = [];
      let stored = 0;

      for (let id = 1; id <= FRAMES * MUTATION_NAMES.length; id++) {
        const mutation = MUTATION_NAMES[id % MUTATION_NAMES.length] ?? "";
        const bytes = mutateForGood(() => mutate(mutation, id, random, {}), parsePutBody);
        const body = new Uint8Array(bytes);
        const reply = await fetch(address, { method: "POST", headers: { "Content-Type": FRAME_MEDIA_TYPE }, body });
        const answer = (await reply.json()) as { readonly count?: number; readonly kind?: string };
        const expected = parsePutBody(bytes);
        const isTold = expected.ok ? reply.status === 201 : reply.status === 400 && answer.kind === expected.refusal.kind;
        if (!isTold) surprises.push(`${mutation}: ${reply.status} ${JSON.stringify(answer)}`);
        stored += answer.count ?? 0;
        kinds.note(mutation, answer.kind ?? "stored");
      }

      expect(surprises, `seed ${seed}`).toEqual([]);
      expect(kinds.answeredBy("stored"), `seed ${seed}`).toEqual(SLIGHT_MUTATIONS);
      expect(kinds.of("an unknown type")).toEqual(["unknown-frame"]);
      expect((await bystander.stats()).counts.put, `seed ${seed}`).toBe(stored);
      expect(await takeAll(bystander), `seed ${seed}`).toEqual(offsetsTo(stored));
    },
  );

  test("[G6] a frame above the limit is refused and closes its connection alone", async () => {
    const bystander = openBystander("above");
    await bystander.create();
    const attacker = await openAttacker("above");
    attacker.send(new Uint8Array(LIMITS.frameBytesMax + 1));
    const { frames, closeCode } = await attacker.untilClosed();

    expect(frames.map(kindOf)).toEqual(["request-too-large"]);
    expect(closeCode).toBe(CLOSE_CODES.frameTooLarge);
    expect((await bystander.put("a")).offset).toBe(1);
  });

  test("[RB1] [G6] a count of billions, and a text of them, take neither time nor memory", async () => {
    const bystander = openBystander("counts");
    await bystander.create();
    const attacker = await openAttacker("counts");
    const startedAtMs = performance.now();
    for (let id = 0; id < 200; id++) {
      const frame = new Uint8Array(putFrame({ id }, [textRecord("a", { key: "k" })]));
      const headEnd = 8 + new DataView(frame.buffer).getUint32(4, true);
      if (id % 2 === 0) new DataView(frame.buffer).setUint32(headEnd + 4, 2 ** 32 - 1, true);
      // The length of the key, in the index.
      else frame[headEnd + 32 + 2] = 0x7f;
      attacker.send(frame);
    }
    const { frames } = await attacker.fence();

    expect(frames.map(kindOf)).toEqual(Array.from({ length: 200 }, () => "invalid-request"));
    expect(frames.map(({ inReplyTo }) => inReplyTo)).toEqual(Array.from({ length: 200 }, (_, id) => id));
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
    expect((await bystander.stats()).depth).toBe(0);
  });

  test("[RB1] before the greeting, and where JSON is spoken, a put in bytes is refused and the connection goes on", async () => {
    const bystander = openBystander("early");
    await bystander.create();
    const early = await HostileSocket.open(runtime.port, "early", false, SUBPROTOCOL_BIN);
    const json = await HostileSocket.open(runtime.port, "early", true);
    const frame = new Uint8Array(putFrame({ id: 1 }, [textRecord("a")]));
    early.send(frame);
    json.send(frame);
    const [greeted, fenced] = [await early.greet(), await json.fence()];
    await Promise.all([early.close(), json.close()]);

    expect([greeted, fenced].map(({ frames }) => frames.map(kindOf))).toEqual([["invalid-request"], ["invalid-request"]]);
    expect([greeted.answer?.type, fenced.answer?.type]).toEqual(["welcome", "stats"]);
    expect((await bystander.stats()).depth).toBe(0);
  });
});
