// A connection with very many requests and the others. Rule CN7 of src/channel/SPEC.md; the loop itself is in commit-loop.test.ts.
import { expect, test } from "vitest";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { Chance } from "../../../src/testing/chance.ts";
import { Clock } from "../../../src/testing/clock.ts";
import { MemoryObject } from "../../../src/testing/memory-object.ts";

interface Answer {
  readonly type: string;
  readonly id: number;
  readonly offset: number;
}

async function open(object: MemoryObject, clock: Clock) {
  const reply = await object.connect(new Request("http://service.test/socket", { headers: { Upgrade: "websocket" } }));
  const { webSocket: socket } = reply as unknown as { readonly webSocket: WebSocket };
  const answers: Answer[] = [];
  socket.addEventListener("message", ({ data }) => {
    const answer = JSON.parse(String(data)) as Answer;
    if (answer.type === "put-ok") answers.push(answer);
  });
  (socket as unknown as { accept(): void }).accept();
  socket.send('{"type":"hello","versions":[1]}');
  await clock.settle();
  const put = (id: number): void => socket.send(JSON.stringify({ type: "put", id, text: "a" }));
  return { answers, put };
}

test("[CN7][OR3] a put of another connection does not wait for all that one asks for, whose puts keep their order", async () => {
  const clock = new Clock(1_800_000_000_000);
  const object = new MemoryObject({ name: "c", clock, chance: new Chance(1), mayCreate: true });
  const [busy, other] = [await open(object, clock), await open(object, clock)];
  const count = LIMITS.commitQueueOperationsMax - 1;

  for (let id = 1; id <= count; id++) busy.put(id);
  other.put(1);
  await clock.settle();

  expect(other.answers).toHaveLength(1);
  expect(other.answers[0]?.offset).toBeLessThan(2 * LIMITS.turnOperationsMax);
  expect(busy.answers.map(({ id }) => id)).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  expect(busy.answers.map(({ offset }) => offset)).toEqual(busy.answers.map(({ offset }) => offset).toSorted((a, b) => a - b));
});
