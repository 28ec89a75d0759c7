// The client in Node against a runtime that wants a token, and that is killed and started again under it.
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type Channel,
  EdgeChannel,
  EdgeChannelError,
  type EdgeChannelOptions,
  type LeasedMessage,
} from "../../src/client/index.ts";
import { TRANSPORTS } from "../client-calls.ts";
import { GuardedRuntime, TOKEN } from "./guarded-runtime.ts";

const runtime = GuardedRuntime.forThisFile();

function openChannel(options: EdgeChannelOptions): Channel {
  const client = EdgeChannel.connect(runtime.url, options);
  onTestFinished(() => client.close());
  return client.channel(`c-${crypto.randomUUID()}`);
}

describe.each(TRANSPORTS)("src/client in Node over %s", (transport) => {
  test("[protocol:authentication] it is served with the token, and told what is wrong without it", async () => {
    const channel = openChannel({ transport, token: TOKEN });
    const receipt = await channel.put({ json: { job: 7 } });

    expect(receipt).toMatchObject({ offset: 1, count: 1 });
    expect(await channel.get({ waitMs: 5_000 })).toMatchObject({ offset: 1, body: { json: { job: 7 } } });
    const refused = openChannel({ transport, retries: 0 }).put("a");
    const error: unknown = await refused.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(EdgeChannelError);
    expect(error).toMatchObject({ kind: "unauthorized", retryable: false, outcome: "not-applied" });
    const consumer = openChannel({ transport, token: "no" }).consume(() => undefined);
    await expect(consumer.done).rejects.toMatchObject({ kind: "unauthorized" });
    const client = EdgeChannel.connect(runtime.url, { transport, token: TOKEN });
    await expect(client.channel("a/b").producer().put("x")).rejects.toMatchObject({
      kind: "invalid-request",
      message: expect.stringMatching(/^\/path\/channel: A channel name has /) as string,
    });
  });

  test("[G9] it goes on where the runtime is killed and started again, and a put with a key is stored once", async () => {
    const channel = openChannel({ transport, token: TOKEN });
    const options = { idempotencyKey: "once" };
    const first = await channel.put("a", options);
    await runtime.kill();
    await runtime.startAgain();

    expect(await channel.put("a", options)).toMatchObject({ offset: first.offset, isDuplicate: true });
    expect((await channel.stats()).counts.put).toBe(1);
    expect((await channel.get()).body).toBe("a");
  });
});

/** Node's own, with the kinds of frames that went each way. */
class ToldSocket extends WebSocket {
  static readonly kinds = new Set<string>();

  constructor(...given: ConstructorParameters<typeof WebSocket>) {
    super(...given);
    this.addEventListener("message", ({ data }) => ToldSocket.kinds.add(`came: ${typeof data}`));
  }

  override send(data: string | Uint8Array<ArrayBuffer>): void {
    ToldSocket.kinds.add(`went: ${typeof data}`);
    super.send(data);
  }
}

describe.each(["binary", "json"] as const)("src/client in Node over %s sockets", (socketFormat) => {
  test("[RB1] [RB3] a batch comes back as it was put, with the runtime killed in between, and is acked", async () => {
    ToldSocket.kinds.clear();
    const channel = openChannel({ transport: "socket", token: TOKEN, WebSocket: ToldSocket, socketFormat });
    const facts = { key: "k", messageId: "m", headers: { trace: "ü" }, ttlMs: 600_000 };
    const producer = channel.producer();
    await producer.ready();
    await Promise.all([producer.put({ body: "text", ...facts }), producer.put(new Uint8Array([0, 255]))]);
    await runtime.kill();
    await runtime.startAgain();
    await Promise.all([producer.put({ json: { a: 1 } }), producer.put("last")]);
    const messages: LeasedMessage[] = [];
    await channel.consume((message) => void messages.push(message), { untilEmpty: true }).done;

    expect(messages.map(({ body }) => body)).toEqual(["text", new Uint8Array([0, 255]), { json: { a: 1 } }, "last"]);
    expect(messages[0]).toMatchObject(facts);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { put: 4, acked: 4 } });
    const ofBytes = socketFormat === "binary" ? ["came: object", "went: object"] : [];
    expect([...ToldSocket.kinds].sort()).toEqual([...ofBytes, "came: string", "went: string"].sort());
  });
});
