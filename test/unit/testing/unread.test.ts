// Connections that do not read what they are sent. Rules CN of src/channel/SPEC.md.
import { assert, beforeEach, describe, expect, test } from "vitest";
import { HeldFrames } from "../../../src/object/held-frames.ts";
import { Unread } from "../../../src/object/unread.ts";
import { CLOSE_CODES } from "../../../src/protocol/frames.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { Chance } from "../../../src/testing/chance.ts";
import { Clock } from "../../../src/testing/clock.ts";
import { MemoryObject } from "../../../src/testing/memory-object.ts";

const { echoAfterBytes, unreadBytesMax, unreadMsMax, heldFramesMax, heldBytesMax } = LIMITS;

describe("src/object/unread", () => {
  test("[CN1] an echo is asked for when so much was sent, and the next one when that came back", () => {
    const unread = new Unread();
    unread.note(echoAfterBytes - 1);
    expect(unread.isDue).toBe(false);
    unread.note(1);
    expect(unread.isDue).toBe(true);
    unread.ask(7);
    unread.note(echoAfterBytes);
    expect(unread.isDue).toBe(false);
    unread.hear(8);
    expect(unread.isDue).toBe(false);
    unread.hear(7);
    expect([unread.isDue, unread.echoes]).toEqual([true, 1]);
  });

  test("[CN2] what was sent before an echo that came back is read, what came after it is not", () => {
    const unread = new Unread();
    unread.note(unreadBytesMax - 1);
    unread.ask(7);
    expect(unread.isTooMuch).toBe(false);
    unread.note(1);
    expect(unread.isTooMuch).toBe(true);
    unread.hear(7);
    expect(unread.isTooMuch).toBe(false);
    unread.note(unreadBytesMax - 1);
    expect(unread.isTooMuch).toBe(true);
  });

  test("[CN4] what is unread is carried on, and the echo that is asked for is still good", () => {
    const unread = new Unread();
    unread.note(unreadBytesMax);
    expect(unread.pack()).toBeUndefined();
    unread.ask(7);
    expect(unread.note(echoAfterBytes - 1)).toBe(false);
    expect(unread.note(1)).toBe(true);
    const packed = unread.pack();
    assert(packed !== undefined);
    const woken = Unread.unpack(packed);
    expect(woken.isTooMuch).toBe(true);
    woken.hear(7);
    expect([woken.isTooMuch, woken.isDue]).toEqual([false, true]);
  });
});

function nothing(): void {}

describe("src/object/held-frames", () => {
  test("[CN2] what is held is done in its order, as far as it may be", () => {
    const held = new HeldFrames();
    const done: number[] = [];
    for (const number of [1, 2, 3]) held.add(1, () => void done.push(number), 10);
    held.release(1, () => done.length < 2);
    expect([done, held.has(1)]).toEqual([[1, 2], true]);
    held.release(1, () => true);
    expect([done, held.has(1)]).toEqual([[1, 2, 3], false]);
  });

  test("[CN3] [G6] only so many frames and bytes are held", () => {
    const held = new HeldFrames();
    for (let frame = 0; frame < heldFramesMax; frame++) expect(held.add(1, nothing, 1)).toBe(true);
    expect(held.add(1, nothing, 1)).toBe(false);
    expect(held.add(2, nothing, heldBytesMax)).toBe(true);
    expect(held.add(2, nothing, 1)).toBe(false);
    held.drop(2);
    expect(held.add(2, nothing, 1)).toBe(true);
  });
});

describe("src/object/channel-host: a connection that does not read", () => {
  const STATS = '{"type":"stats","id":1}';
  let clock: Clock;
  let object: MemoryObject;

  beforeEach(() => {
    clock = new Clock(1_800_000_000_000);
    object = new MemoryObject({ name: "c", clock, chance: new Chance(1), mayCreate: true });
  });

  async function open() {
    const reply = await object.connect(new Request("http://service.test/socket", { headers: { Upgrade: "websocket" } }));
    const { webSocket: socket } = reply as unknown as { readonly webSocket: WebSocket };
    const seen = { answers: 0, echoes: [] as string[], closeCode: undefined as number | undefined };
    socket.addEventListener("message", ({ data }) => {
      const { type } = JSON.parse(String(data)) as { readonly type: string };
      if (type === "echo") seen.echoes.push(String(data));
      else seen.answers += 1;
    });
    socket.addEventListener("close", ({ code }) => (seen.closeCode = code));
    (socket as unknown as { accept(): void }).accept();
    socket.send('{"type":"hello","versions":[1]}');
    socket.send('{"type":"put","id":1,"text":"a"}');
    await clock.settle();
    seen.answers = 0;
    return { socket, seen };
  }

  /** Asks until nothing is answered any more, and returns how much was. */
  async function flood({ socket, seen }: Awaited<ReturnType<typeof open>>): Promise<number> {
    for (let before = -1; before < seen.answers;) {
      before = seen.answers;
      for (let count = 0; count < 2_000; count++) socket.send(STATS);
      await clock.settle();
    }
    return seen.answers;
  }

  test("[CN2] is answered no more, others are, and when it reads on it gets all of its answers", async () => {
    const [deaf, other] = [await open(), await open()];
    const answered = await flood(deaf);
    expect(deaf.seen.echoes).toHaveLength(1);
    other.socket.send(STATS);
    deaf.socket.send('{"type":"echo","echo":1}');
    await clock.settle();
    expect([other.seen.answers, deaf.seen.answers]).toEqual([1, answered]);
    for (let echo = 0; echo < deaf.seen.echoes.length; echo++) {
      deaf.socket.send(deaf.seen.echoes[echo] ?? "");
      await clock.settle();
    }
    expect(deaf.seen.answers % 2_000).toBe(0);
    expect(deaf.seen.answers).toBeGreaterThan(answered);
    expect(deaf.seen.closeCode).toBeUndefined();
  });

  test("[CN3] is closed when it has shown nothing for so long while it asks for more", async () => {
    const deaf = await open();
    await flood(deaf);
    await clock.advance(unreadMsMax - 1);
    expect(deaf.seen.closeCode).toBeUndefined();
    await clock.advance(1);
    expect(deaf.seen.closeCode).toBe(CLOSE_CODES.framesUnread);
  });

  test("[CN3] is closed when it asks for more than is held", async () => {
    const deaf = await open();
    await flood(deaf);
    for (let count = 0; count < heldFramesMax; count++) deaf.socket.send(STATS);
    await clock.settle();
    expect(deaf.seen.closeCode).toBe(CLOSE_CODES.framesUnread);
  });
});
