// What consumers and producers need is loaded with the first of them.
import { describe, expect, test } from "vitest";
import { loadMachinery } from "../../src/client/load-machinery.ts";
import * as machinery from "../../src/client/machinery.ts";
import { Retries } from "../../src/client/retries.ts";
import { errorOf } from "../client-calls.ts";
import { firstSocket, goOffAtOnce, greet, lastSocket, openChannel, settleDown } from "./client-doubles.ts";

describe("src/client/load-machinery", () => {
  test("what could not be loaded is asked for again", async () => {
    const loads = [Promise.reject(new TypeError("Failed to fetch")), Promise.resolve(machinery)];
    const retries = new Retries({ startTimer: goOffAtOnce });

    expect(await loadMachinery(retries, () => loads.shift() ?? Promise.reject(new Error("Loaded too often")))).toBe(machinery);
  });

  test("after as many tries as other calls have, it is told in the client's words", async () => {
    let tries = 0;
    const cause = new TypeError("Failed to fetch");
    const load = (): Promise<never> => {
      tries++;
      return Promise.reject(cause);
    };

    const error = await errorOf(loadMachinery(new Retries({ retries: 2, startTimer: goOffAtOnce }), load));

    expect(error).toMatchObject({ kind: "connection-failed", origin: "network", outcome: "not-applied", cause });
    expect(tries).toBe(3);
  });

  test("puts that were made before keep their order, and come before later ones", async () => {
    const { channel } = openChannel();
    const producer = channel.producer({ maxBatchMessages: 1 });
    for (const body of ["a", "b", "c"]) void producer.put(body);
    await producer.ready();
    void producer.put("d");
    await greet(await firstSocket());
    await settleDown();

    const puts = lastSocket().sent.filter(({ type }) => type === "put-batch");
    expect(puts.map(({ messages }) => messages)).toEqual(["a", "b", "c", "d"].map((text) => [{ text }]));
  });

  test("a consumer that is stopped before takes nothing", async () => {
    const { channel } = openChannel();
    const [abort, consumed] = [new AbortController(), new Set<unknown>()];
    const stopped = channel.consume((message) => void consumed.add(message)).stop();
    const aborted = channel.consume((message) => void consumed.add(message), { signal: abort.signal });
    abort.abort();

    await Promise.all([stopped, aborted.done]);
    expect([...consumed]).toEqual([]);
  });
});
