// What reads and writes binary frames is loaded while the greeting is under way.
import { beforeEach, describe, expect, test, vi } from "vitest";
import { ChannelSocket } from "../../src/client/channel-socket.ts";
import type { BlockCodec } from "../../src/client/load-block-codec.ts";
import { errorOf } from "../client-calls.ts";
import { BinarySocket, FakeWebSocket, isSettled, lastSocket } from "./client-doubles.ts";

let loading: PromiseWithResolvers<BlockCodec>;

vi.mock("../../src/client/load-block-codec.ts", () => ({ loadBlockCodec: (): Promise<BlockCodec> => loading.promise }));

/** A socket that is greeted. */
function connect(WebSocket: typeof FakeWebSocket): { socket: FakeWebSocket; connecting: Promise<ChannelSocket> } {
  const connecting = ChannelSocket.connect("http://service.test/v1/channels/c/socket", { WebSocket });
  const socket = lastSocket();
  socket.welcome();
  return { socket, connecting };
}

beforeEach(() => {
  loading = Promise.withResolvers();
});

describe("src/client/load-block-codec", () => {
  test("a binary connection is made when it is there, and one in JSON does not ask for it", async () => {
    const { connecting } = connect(BinarySocket);

    expect(await isSettled(connecting)).toBe(false);
    expect(await connect(FakeWebSocket).connecting).toBeInstanceOf(ChannelSocket);
    loading.resolve(await vi.importActual("../../src/client/block-codec.ts"));
    expect(await connecting).toBeInstanceOf(ChannelSocket);
  });

  test("where it cannot be loaded the connection is closed, and may be made again", async () => {
    const { socket, connecting } = connect(BinarySocket);
    const cause = new TypeError("Failed to fetch");
    loading.reject(cause);

    expect(await errorOf(connecting)).toMatchObject({
      kind: "connection-failed",
      origin: "network",
      retryable: true,
      outcome: "not-applied",
      cause,
    });
    expect(socket.readyState).toBe(2);
  });

  test("a connection that is lost meanwhile was not made", async () => {
    const { socket, connecting } = connect(BinarySocket);
    socket.end(1006);

    expect(await errorOf(connecting)).toMatchObject({ kind: "connection-failed", outcome: "not-applied" });
  });
});
