// Connections whose clients are gone without a word. Rules CN5 and CN6 of src/channel/SPEC.md.
import { beforeEach, describe, expect, test } from "vitest";
import { Pings } from "../../../src/object/pings.ts";
import { CLOSE_CODES } from "../../../src/protocol/frames.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { PING_FRAME, PONG_FRAME } from "../../../src/protocol/version.ts";
import { Chance } from "../../../src/testing/chance.ts";
import { Clock } from "../../../src/testing/clock.ts";
import { MemoryObject } from "../../../src/testing/memory-object.ts";

const { silenceMsMax, silenceLookMs, silenceAlarmMs } = LIMITS;
const START_MS = 1_800_000_000_000;

describe("src/object/pings", () => {
  test("[CN5] who was heard neither by a frame nor by a ping for longer than the limit is silent", () => {
    const pings = new Pings("c");
    for (const connection of [1, 2, 3]) pings.begin(connection, START_MS);
    pings.begin(2, START_MS + 1);
    const pingedAtMs = new Map([[3, START_MS + 1]]);
    const find = (nowMs: number): readonly number[] => pings.findSilent(nowMs, (connection) => pingedAtMs.get(connection) ?? 0);

    expect(find(START_MS + silenceMsMax)).toEqual([]);
    expect(find(START_MS + silenceMsMax + 1)).toEqual([1]);
    expect(find(START_MS + silenceMsMax + 2)).toEqual([1, 2, 3]);
    pings.end(1);
    expect(find(START_MS + silenceMsMax + 2)).toEqual([2, 3]);
  });

  test("[CN6] the looks are so far apart, at the same times whenever that is asked, and not at those of other channels", () => {
    const pings = new Pings("c");
    expect(pings.nextLookAtMs(START_MS)).toBeUndefined();
    pings.begin(1, START_MS);
    const atMs = pings.nextLookAtMs(START_MS) ?? 0;

    expect(atMs).toBeGreaterThan(START_MS);
    expect(atMs).toBeLessThanOrEqual(START_MS + silenceAlarmMs);
    expect([pings.nextLookAtMs(atMs - 1), pings.nextLookAtMs(atMs)]).toEqual([atMs, atMs + silenceAlarmMs]);
    const other = new Pings("d");
    other.begin(1, START_MS);
    expect(other.nextLookAtMs(START_MS)).not.toBe(atMs);
    pings.end(1);
    expect(pings.nextLookAtMs(START_MS)).toBeUndefined();
  });
});

describe("src/object/channel-host: clients that are gone without a word", () => {
  let clock: Clock;
  let object: MemoryObject;

  beforeEach(() => {
    clock = new Clock(START_MS);
    object = new MemoryObject({ name: "c", clock, chance: new Chance(1), mayCreate: true });
  });

  async function open({ pings }: { readonly pings: boolean }) {
    const reply = await object.connect(new Request("http://service.test/socket", { headers: { Upgrade: "websocket" } }));
    const { webSocket: socket } = reply as unknown as { readonly webSocket: WebSocket };
    const seen = { frames: [] as string[], closeCode: undefined as number | undefined };
    socket.addEventListener("message", ({ data }) => seen.frames.push(String(data)));
    socket.addEventListener("close", ({ code }) => (seen.closeCode = code));
    (socket as unknown as { accept(): void }).accept();
    socket.send(JSON.stringify({ type: "hello", versions: [1], ...(pings && { pings }) }));
    socket.send('{"type":"put","id":1,"text":"a"}');
    await clock.settle();
    return { seen, send: (frame: string) => socket.send(frame) };
  }

  test("[CN5] [CN6] the alarm ends who should ping and does not, and nobody else", async () => {
    const [gone, pinging, quiet] = [await open({ pings: true }), await open({ pings: true }), await open({ pings: false })];
    for (let passedMs = 0; passedMs <= silenceAlarmMs; passedMs += silenceMsMax) {
      pinging.send(PING_FRAME);
      await clock.advance(silenceMsMax);
    }

    expect([gone, pinging, quiet].map(({ seen }) => seen.closeCode)).toEqual([CLOSE_CODES.silent, undefined, undefined]);
    expect(pinging.seen.frames.at(-1)).toBe(PONG_FRAME);
    quiet.send('{"type":"stats","id":2}');
    await clock.settle();
    expect(JSON.parse(quiet.seen.frames.at(-1) ?? "")).toMatchObject({ stats: { connections: 2 } });
  });

  test("[CN6] a commit finds it sooner, and not every commit looks", async () => {
    const gone = await open({ pings: true });
    const other = await open({ pings: false });
    const put = async (): Promise<void> => {
      other.send('{"type":"put","id":1,"text":"a"}');
      await clock.settle();
    };
    await clock.advance(silenceMsMax - 1);
    await put();
    await clock.advance(2);
    await put();
    expect(gone.seen.closeCode).toBeUndefined();
    await clock.advance(silenceLookMs);
    await put();

    expect(gone.seen.closeCode).toBe(CLOSE_CODES.silent);
  });

  test("[CN5] a frame shows that a client is there, also the one whose commit looks", async () => {
    const late = await open({ pings: true });
    await clock.advance(silenceMsMax + 1);
    late.send('{"type":"put","id":1,"text":"a"}');
    await clock.settle();

    expect(late.seen.closeCode).toBeUndefined();
  });

  test("[CN5] [LS9] what it held is kept for the grace, as of one that was cut off", async () => {
    const gone = await open({ pings: true });
    gone.send(`{"type":"pull","id":2,"leaseMs":${LIMITS.leaseMsMax}}`);
    await clock.advance(silenceMsMax + 1);
    const other = await open({ pings: false });
    const pull = async (): Promise<unknown> => {
      other.send('{"type":"pull","id":3,"max":1}');
      await clock.settle();
      return JSON.parse(other.seen.frames.at(-1) ?? "");
    };

    expect(gone.seen.closeCode).toBe(CLOSE_CODES.silent);
    expect(await pull()).toMatchObject({ messages: [{ offset: 2 }] });
    await clock.advance(LIMITS.resumeGraceMs);
    expect(await pull()).toMatchObject({ messages: [{ offset: 1, attempt: 2, redelivered: true }] });
  });
});
