// Requests that wait while the object hibernates. SPEC section WT.
import { describe, expect, test } from "vitest";
import { hibernate, passTime, restart } from "./inside.ts";
import { createChannel, describeChannel, openSocket, pull, pullTexts, put, putBatch, textsOf, untilWaiting } from "./service.ts";
import { holdReservationTimers, openSockets, startPull, startPut, textsIn, waitForMessages, waitForRoom } from "./waiting.ts";

describe("src/object/connections: waiting through hibernation", () => {
  test("[WT8] gets are found again in the order of arrival", async () => {
    const channel = await createChannel();
    const sockets = await openSockets(channel, 3);
    for (const [index, socket] of sockets.entries()) await waitForMessages(socket, index);
    for (const [index, socket] of sockets.toReversed().entries()) await waitForMessages(socket, 10 + index);

    await hibernate(channel);
    await putBatch(channel, ["a", "b", "c"]);
    await hibernate(channel);
    await putBatch(channel, ["d", "e", "f"]);

    const served = await Promise.all(sockets.map((socket) => socket.take(2)));
    expect(served.map((frames) => frames.map(textsIn).flat())).toEqual([
      ["a", "f"],
      ["b", "e"],
      ["c", "d"],
    ]);
  });

  test("[WT8] puts are found again in the order of arrival, and with them what was promised", async () => {
    holdReservationTimers();
    const channel = await createChannel({ maxMessages: 2 });
    const [first, second, other] = await openSockets(channel, 3);
    if (first === undefined || second === undefined || other === undefined) return;
    await putBatch(channel, ["a", "b"]);
    await waitForRoom(first, 1, ["c"]);
    await waitForRoom(second, 1, ["d"]);

    await hibernate(channel);
    await pull(channel);
    expect(await first.next()).toMatchObject({ type: "room", id: 1 });
    await hibernate(channel);
    expect((await other.ask({ type: "put", id: 1, text: "x" })).problem?.kind).toBe("channel-full");
    expect(await second.settle()).toEqual([]);

    expect(await first.ask({ type: "put", id: 1, text: "c", promised: true })).toMatchObject({ type: "put-ok", offset: 3 });
    await pull(channel);
    expect(await second.next()).toMatchObject({ type: "room", id: 1 });
  });

  test("[WT8] who comes after hibernation is served after those from before", async () => {
    const channel = await createChannel();
    const [early, late] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(early, 1);

    await hibernate(channel);
    await waitForMessages(late, 1);
    await hibernate(channel);
    await waitForMessages(early, 2);
    await putBatch(channel, ["a", "b", "c"]);

    expect((await early.take(2)).map(textsIn)).toEqual([["a"], ["c"]]);
    expect(textsIn(await late.next())).toEqual(["b"]);
  });

  test("[WT8] a request that waits through hibernation can be cancelled and its id is in use", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1);
    await hibernate(channel);

    expect((await socket.ask({ type: "get", id: 1 })).problem?.kind).toBe("request-in-use");
    socket.send({ type: "cancel", id: 1 });

    expect(await socket.next()).toMatchObject({ type: "got", id: 1, messages: [] });
    expect((await describeChannel(channel)).waiters).toBe(0);
  });

  test("[WT8] a deadline that passes during hibernation holds", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1, { waitMs: 1000 });
    await hibernate(channel);

    passTime(1000);
    await put(channel, "a");

    expect(textsIn(await socket.next())).toEqual([]);
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[WT8] a connection that closed before hibernation does not come back", async () => {
    const channel = await createChannel();
    const [gone, staying] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(gone, 1);
    await waitForMessages(staying, 1);
    gone.close();
    await untilWaiting(channel, 1);

    await hibernate(channel);

    expect(await describeChannel(channel)).toMatchObject({ waiters: 1, connections: 1 });
    await put(channel, "a");
    expect(textsIn(await staying.next())).toEqual(["a"]);
  });

  test("[WT6] a connection that closes during hibernation takes nothing", async () => {
    const channel = await createChannel();
    const [gone, staying] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(gone, 1);
    await waitForMessages(staying, 1);
    await hibernate(channel);

    gone.close();
    await untilWaiting(channel, 1);
    await put(channel, "a");

    expect(textsIn(await staying.next())).toEqual(["a"]);
    expect((await describeChannel(channel)).depth).toBe(0);
  });

  test("[WT8] a long poll waits through hibernation", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const { reply: pulled } = await startPull(channel, 1);
    await hibernate(channel);
    await put(channel, "a");
    expect(textsOf((await pulled).messages)).toEqual(["a"]);

    await put(channel, "b");
    const { reply: stored } = await startPut(channel, 1, "c");
    await hibernate(channel);
    await pull(channel);

    expect(await stored).toMatchObject({ offset: 3 });
    expect(await pullTexts(channel)).toEqual(["c"]);
  });

  test("[WT8] sockets that are closed take their waiting requests with them", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1);

    await restart(channel);
    await socket.closed;

    expect(await describeChannel(channel)).toMatchObject({ waiters: 0, connections: 0 });
  });
});
