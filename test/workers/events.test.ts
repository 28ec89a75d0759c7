// Server-Sent Events: what `EventSource` gets, resumes from, and is told at the end. SPEC section SB.
import { describe, expect, onTestFinished, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { hibernate } from "./inside.ts";
import { call, createChannel, freshChannel, patchChannel, pathOf, put, putBatch, readProblem, untilChannel } from "./service.ts";

interface SentEvent {
  readonly id?: string;
  readonly event?: string;
  readonly data?: { readonly offset?: number; readonly text?: string; readonly kind?: string };
}

/** Reads a stream as a browser does: lines, and events between empty ones. */
class EventReader {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(reply: Response) {
    if (reply.body === null) throw new Error("No body");
    this.#reader = reply.body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
    onTestFinished(() => this.close());
  }

  /** The next event that is no comment; undefined at the end. */
  async next(): Promise<SentEvent | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n\n");
      if (end >= 0) {
        const lines = this.#text.slice(0, end).split("\n");
        this.#text = this.#text.slice(end + 2);
        const fields = lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)] as const);
        const { retry, "": comment, data, ...event } = Object.fromEntries(fields) as Record<string, string | undefined>;
        const isEvent = retry === undefined && comment === undefined;
        if (isEvent) return { ...event, ...(data !== undefined && { data: JSON.parse(data) as object }) };
        continue;
      }
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#text += value;
    }
  }

  async take(count: number): Promise<SentEvent[]> {
    const events: SentEvent[] = [];
    while (events.length < count) events.push((await this.next()) ?? {});
    return events;
  }

  async close(): Promise<void> {
    await this.#reader.cancel().catch(() => undefined);
  }
}

async function open(channel: string, query = "", lastEventId?: string): Promise<EventReader> {
  const headers = lastEventId === undefined ? {} : { "Last-Event-ID": lastEventId };
  const reply = await call("GET", pathOf(channel, `/events${query}`), { headers });
  expect([reply.status, reply.headers.get("Content-Type")]).toEqual([200, "text/event-stream; charset=utf-8"]);
  return new EventReader(reply);
}

function textsOf(events: readonly SentEvent[]): (string | undefined)[] {
  return events.map(({ data }) => data?.text);
}

describe("GET …/events", () => {
  test("[SB5] messages come as they are put, with ids to resume from", async () => {
    const channel = await createChannel({ retention: "log" });
    const events = await open(channel);
    await putBatch(channel, ["a", "b"]);
    await put(channel, "c");

    const got = await events.take(3);
    expect(textsOf(got)).toEqual(["a", "b", "c"]);
    expect(got.map(({ event }) => event)).toEqual([undefined, undefined, undefined]);
    expect(new Set(got.map(({ id }) => id)).size).toBe(3);
  });

  test("[SB7] after each event reading goes on with the next", async () => {
    const channel = await createChannel({ retention: "log" });
    await putBatch(channel, ["a", "b", "c"]);
    const events = await open(channel, "?start=first");
    const [first, second] = await events.take(2);
    await events.close();

    expect(textsOf(await (await open(channel, "", first?.id)).take(2))).toEqual(["b", "c"]);
    expect(textsOf(await (await open(channel, "?start=first", second?.id)).take(1))).toEqual(["c"]);
  });

  test("[SB5] control records, gaps and the end have names of their own, in the order of offsets", async () => {
    const channel = await createChannel({ retention: "log", maxMessages: 2 });
    await put(channel, "a");
    const early = await open(channel, "?start=first");
    const [{ id } = {}] = await early.take(1);
    await early.close();
    await putBatch(channel, ["b", "c"]);
    await patchChannel(channel, { maxMessages: 3 });
    await putBatch(channel, ["d", "e"]);

    const late = await open(channel, "", id);
    const got = await late.take(5);
    expect(got.map(({ event, data }) => event ?? data?.text)).toEqual(["gap", "c", "control", "d", "e"]);
    await patchChannel(channel, { state: "closed" });
    expect(await late.next()).toMatchObject({ event: "end", data: { kind: "channel-closed" } });
    expect(await late.next()).toBeUndefined();
  });

  test("[SB5] a queue shows what passes, and nothing of it is taken", async () => {
    const channel = await createChannel();
    await put(channel, "before");
    const events = await open(channel);
    await put(channel, "a");
    const [event] = await events.take(1);
    expect(event).toEqual({ data: expect.objectContaining({ offset: 2, text: "a" }) as unknown });
    expect((await untilChannel(channel, () => true)).depth).toBe(2);
  });

  test("[SB6] a filter chooses", async () => {
    const channel = await createChannel({ retention: "log" });
    const filter = encodeURIComponent(JSON.stringify({ keys: ["k"] }));
    const events = await open(channel, `?filter=${filter}`);
    await put(channel, "no");
    await call("POST", pathOf(channel, "/messages"), {
      body: "yes",
      headers: { "Channel-Key": "k", "Content-Type": "text/plain" },
    });
    expect(textsOf(await events.take(1))).toEqual(["yes"]);
  });

  test("[SB2] more than is on the way at once comes as the client reads", async () => {
    const channel = await createChannel({ retention: "log" });
    const texts = Array.from({ length: 2 * LIMITS.eventCreditMessages + 5 }, (_, index) => String(index));
    await putBatch(channel, texts);
    const events = await open(channel, "?start=first");
    expect(textsOf(await events.take(texts.length))).toEqual(texts);
  });

  test("[SB9] [G10] the object may sleep between two events", async () => {
    const channel = await createChannel({ retention: "log" });
    const events = await open(channel);
    await put(channel, "a");
    await hibernate(channel);
    await put(channel, "b");
    expect(textsOf(await events.take(2))).toEqual(["a", "b"]);
  });

  test("[SB8] a client that goes away ends its subscription", async () => {
    const channel = await createChannel({ retention: "log" });
    const events = await open(channel);
    await untilChannel(channel, ({ subscriptions }) => subscriptions.readers === 1);
    await events.close();
    await put(channel, "a");
    const { subscriptions } = await untilChannel(channel, (description) => description.subscriptions.readers === 0);
    expect(subscriptions).toEqual({ members: 0, readers: 0 });
  });

  test("[G11] what cannot be read is refused before any event", async () => {
    const channel = await createChannel({ retention: "log" });
    const refusalOf = (query: string, headers: Record<string, string> = {}) =>
      readProblem(call("GET", pathOf(channel, `/events${query}`), { headers }));
    expect(await refusalOf("?start=7")).toMatchObject({ kind: "seek-out-of-range", status: 416 });
    expect(await refusalOf("?start=middle")).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/query/start" }] });
    expect(await refusalOf("?filter=x")).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/query/filter" }] });
    expect(await refusalOf("?filter=%7B%22keys%22:[]%7D")).toMatchObject({ errors: [{ pointer: "/query/filter/keys" }] });
    expect(await refusalOf("", { "Last-Event-ID": "nonsense" })).toMatchObject({
      kind: "invalid-request",
      errors: [{ pointer: "/header/Last-Event-ID" }],
    });
    expect(await refusalOf("", { "Last-Event-ID": "another-life.1" })).toMatchObject({ kind: "resume-lost", status: 409 });
    const queue = await createChannel();
    expect(await readProblem(call("GET", pathOf(queue, "/events?start=first")))).toMatchObject({ kind: "wrong-retention" });
    expect(await readProblem(call("DELETE", pathOf(freshChannel(), "/events")))).toMatchObject({ kind: "method-not-allowed" });
  });
});
