// What Ray's experimental channels promise and their tests assert, here with retention `interest`: a reader is a group, releasing is acking,
// capacity N is maxMessages. The labels are those of Ray's own test list; what is about shared memory and actors is translated.
import { describe, expect, test } from "vitest";
import { hibernate } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  entriesOf,
  type Frame,
  type MessageJson,
  openSocket,
  patchChannel,
  pathOf,
  put,
  putBatch,
  readProblem,
  type TestSocket,
  textsOf,
} from "./service.ts";

const LONG_MS = 60_000;

/** A channel of so many values, with readers that have to release each before its place is free. */
async function createFor(readers: readonly string[], capacity = 1, settings: object = {}): Promise<string> {
  const channel = await createChannel({ retention: "interest", maxMessages: capacity, ...settings });
  for (const reader of readers) await call("PUT", pathOf(channel, `/groups/${reader}`));
  return channel;
}

function namesOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `reader-${index}`);
}

function numbersTo(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

/** Writes values one after another; each waits until all readers released what is in its way. */
class Writer {
  readonly #socket: TestSocket;
  #id = 0;

  private constructor(socket: TestSocket) {
    this.#socket = socket;
  }

  static async open(channel: string): Promise<Writer> {
    return new Writer(await openSocket(channel));
  }

  /** The answer to a write, which it takes room for if it has to wait. */
  async write(form: object, waitMs = LONG_MS): Promise<Frame> {
    const id = ++this.#id;
    const frame = { type: "put", id, waitMs, ...form };
    let reply = await this.#socket.ask(frame);
    if (reply.type === "wait") reply = await this.#socket.next();
    return reply.type === "room" ? this.#socket.ask({ ...frame, promised: true }) : reply;
  }
}

/** Reads a value at a time, and holds it until it is released. */
class Reader {
  readonly socket: TestSocket;
  #nextId = 2;
  #held: readonly MessageJson[] = [];
  /** Values that came before an answer that was awaited. */
  readonly #early: Frame[] = [];

  private constructor(socket: TestSocket) {
    this.socket = socket;
  }

  static async open(channel: string, group: string, credit = 1): Promise<Reader> {
    const socket = await openSocket(channel);
    const reply = await socket.ask({ type: "subscribe", id: 1, group, credit: { messages: credit } });
    if (reply.type !== "subscribed") throw new Error(`Not subscribed: ${JSON.stringify(reply)}`);
    return new Reader(socket);
  }

  /** The next values; `ended` throws. */
  async read(): Promise<readonly MessageJson[]> {
    const { type, messages = [], problem } = this.#early.shift() ?? (await this.socket.next());
    if (type !== "deliver") throw new Error(problem?.kind ?? type);
    this.#held = messages;
    return messages;
  }

  async release(): Promise<void> {
    const credit = { type: "credit", id: 1, messages: this.#held.length };
    this.socket.send({ type: "settle", id: this.#nextId++, acks: entriesOf(this.#held) }, credit);
    let reply = await this.socket.next();
    for (; reply.type === "deliver"; reply = await this.socket.next()) this.#early.push(reply);
    if (reply.acked !== this.#held.length) throw new Error(`Not released: ${JSON.stringify(reply)}`);
  }

  /** Reads and releases so many values. */
  async drain(count: number): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) {
      texts.push(...textsOf([...(await this.read())]));
      await this.release();
    }
    return texts;
  }
}

async function writeAll(channel: string, texts: readonly string[]): Promise<void> {
  const writer = await Writer.open(channel);
  for (const text of texts) expect(await writer.write({ text })).toMatchObject({ type: "put-ok" });
}

async function writeInHundreds(channel: string, texts: readonly string[]): Promise<void> {
  for (let first = 0; first < texts.length; first += 100) {
    await putBatch(channel, texts.slice(first, first + 100), `?waitMs=${LONG_MS}`);
  }
}

describe("Ray's channels: every reader gets every value once and in order", () => {
  test("[ray:C1] a thousand values are written and read, with room for one", { timeout: 60_000 }, async () => {
    const channel = await createFor(["a"]);
    const reader = await Reader.open(channel, "a");
    const texts = numbersTo(1000);
    const [read] = await Promise.all([reader.drain(texts.length), writeAll(channel, texts)]);
    expect(read).toEqual(texts);
  });

  test("[ray:C2] one connection writes and reads", async () => {
    const channel = await createFor(["a"]);
    const { socket } = await Reader.open(channel, "a");
    socket.send({ type: "put", id: 9, text: "own" });
    const frames = await socket.take(2);
    expect(frames.map(({ type }) => type)).toEqual(["put-ok", "deliver"]);
    expect(textsOf(frames[1]?.messages)).toEqual(["own"]);
  });

  test.each([1, 4])(
    "[ray:C8] %i readers get a thousand values of 8 bytes and of 100, and some of each type, in order",
    async (count) => {
      const names = namesOf(count);
      const channel = await createFor(names, 100);
      const readers = await Promise.all(names.map((name) => Reader.open(channel, name, 100)));
      const texts = [8, 100].flatMap((size) => numbersTo(1000).map((text) => text.padStart(size, "-")));
      const [, ...read] = await Promise.all([
        writeInHundreds(channel, texts),
        ...readers.map((reader) => reader.drain(texts.length)),
      ]);
      expect(read).toEqual(names.map(() => texts));

      const writer = await Writer.open(channel);
      const forms = [{ base64: "AAEC" }, { text: "text" }, { json: 7 }, { json: [1.5, null, { list: [] }] }];
      for (const form of forms) {
        await writer.write(form);
        for (const reader of readers) {
          expect(await reader.read()).toEqual([expect.objectContaining(form)]);
          await reader.release();
        }
      }
      expect((await describeChannel(channel)).depth).toBe(0);
    },
  );

  test("[ray:C9] ten readers, three rounds of a thousand writes", async () => {
    const names = namesOf(10);
    const channel = await createFor(names, 100);
    const readers = await Promise.all(names.map((name) => Reader.open(channel, name, 100)));
    for (let round = 0; round < 3; round++) {
      const texts = numbersTo(1000).map((text) => `${round}/${text}`);
      const [, ...read] = await Promise.all([
        writeInHundreds(channel, texts),
        ...readers.map((reader) => reader.drain(texts.length)),
      ]);
      expect(read).toEqual(names.map(() => texts));
    }
  });

  test("[ray:C2] one connection writes and reads what is larger than the buffer, which grows in between", async () => {
    const channel = await createFor(["a"], 1, { maxBytes: 100, growth: { factor: 2, maxMessages: 1, maxBytes: 10_000 } });
    const { socket } = await Reader.open(channel, "a");
    const text = "x".repeat(150);
    socket.send({ type: "put", id: 9, text });
    const [answer, delivered] = await socket.take(2);
    expect(answer).toMatchObject({ type: "put-ok", id: 9 });
    expect(delivered).toMatchObject({ type: "deliver", controls: [{ control: { type: "resize", maxBytes: 200 } }] });
    expect(textsOf(delivered?.messages)).toEqual([text]);
  });

  test("[ray:C5] [ray:C15] values of every type, and errors as values, arrive as they were written", async () => {
    const channel = await createFor(["a"]);
    const [writer, reader] = [await Writer.open(channel), await Reader.open(channel, "a")];
    const forms = [
      { base64: "AAEC" },
      { text: "text" },
      { json: 7 },
      { json: { error: "ValueError" }, headers: { kind: "error" } },
      { json: [1, [2]] },
      { json: { error: "ValueError" }, headers: { kind: "error" } },
    ];
    for (const form of forms) {
      await writer.write(form);
      expect(await reader.read()).toEqual([expect.objectContaining(form)]);
      await reader.release();
    }
  });

  test("[ray:C6] two channels are read in turns", async () => {
    const channels = [await createFor(["a"]), await createFor(["a"])];
    const readers = await Promise.all(channels.map((channel) => Reader.open(channel, "a")));
    for (let turn = 0; turn < 10; turn++) {
      for (const [index, channel] of channels.entries()) await put(channel, `${index}/${turn}`);
      for (const [index, reader] of readers.entries()) expect(await reader.drain(1)).toEqual([`${index}/${turn}`]);
    }
  });

  test("[ray:C17] a write reaches all of five readers, wherever they are", async () => {
    const names = namesOf(5);
    const channel = await createFor(names);
    const readers = await Promise.all(names.map((name) => Reader.open(channel, name)));
    await put(channel, "value");
    expect(await Promise.all(readers.map((reader) => reader.drain(1)))).toEqual(names.map(() => ["value"]));
  });
});

describe("Ray's channels: the writer waits until all readers released", () => {
  test("[ray:C11] [ray:C12] a value stays until the last of two readers released it, and then its place is free", async () => {
    const channel = await createFor(["a", "b"]);
    const [a, b] = [await Reader.open(channel, "a"), await Reader.open(channel, "b")];
    const writer = await Writer.open(channel);
    await writer.write({ text: "first" });
    expect((await writer.write({ text: "too early" }, 0)).problem).toMatchObject({ kind: "channel-full" });

    await a.drain(1);
    expect((await describeChannel(channel)).depth).toBe(1);
    expect((await writer.write({ text: "too early" }, 0)).problem).toMatchObject({ kind: "channel-full" });
    await b.drain(1);
    expect((await describeChannel(channel)).depth).toBe(0);
    expect(await writer.write({ text: "second" }, 0)).toMatchObject({ type: "put-ok" });
  });

  test("[ray:C18] fifteen values go one by one through a buffer of five", async () => {
    const channel = await createFor(["a"], 5);
    const [writer, reader] = [await Writer.open(channel), await Reader.open(channel, "a")];
    for (const text of numbersTo(15)) {
      expect(await writer.write({ text }, 0)).toMatchObject({ type: "put-ok" });
      expect(await reader.drain(1)).toEqual([text]);
    }
  });

  test("[ray:C18] five values fit a buffer of five, a sixth waits; they are read in order, also after the object slept", async () => {
    const channel = await createFor(["a"], 5);
    const writer = await Writer.open(channel);
    for (const text of numbersTo(5)) await writer.write({ text });
    expect((await writer.write({ text: "5" }, 0)).problem).toMatchObject({ kind: "channel-full" });
    const waiting = writer.write({ text: "5" });
    await hibernate(channel);

    const reader = await Reader.open(channel, "a");
    const [read] = await Promise.all([reader.drain(6), waiting]);
    expect(read).toEqual(numbersTo(6));
    reader.socket.send({ type: "get", id: 99, group: "a" });
    expect((await reader.socket.next()).messages).toEqual([]);
  });

  test("[ray:C7] a value that is larger than the buffer makes it grow, in order with the values, and a small one still works", async () => {
    const growth = { factor: 2, maxMessages: 10, maxBytes: 1_000_000 };
    const channel = await createFor(["a"], 10, { maxBytes: 1000, growth });
    const [writer, reader] = [await Writer.open(channel), await Reader.open(channel, "a")];
    for (const size of [10, 5000, 10, 50_000]) {
      expect(await writer.write({ text: "x".repeat(size) })).toMatchObject({ type: "put-ok" });
      const [message] = await reader.read();
      expect(message?.text?.length).toBe(size);
      await reader.release();
    }
    expect((await describeChannel(channel)).limits.maxBytes).toBeGreaterThanOrEqual(50_000);
  });

  test("a reader that joins sees what comes next, and one that leaves holds nothing back", async () => {
    const channel = await createFor(["a"]);
    await put(channel, "before");
    await call("PUT", pathOf(channel, "/groups/b"));
    await (await Reader.open(channel, "a")).drain(1);
    await put(channel, "value");
    expect(await (await Reader.open(channel, "b")).drain(1)).toEqual(["value"]);
    await call("DELETE", pathOf(channel, "/groups/a"));
    expect((await describeChannel(channel)).depth).toBe(0);
    await put(channel, "next");
  });
});

describe("Ray's channels: ends and mistakes", () => {
  test("[ray:C3] closing while a reader waits ends its read, and the next one is refused", async () => {
    for (let times = 0; times < 10; times++) {
      const channel = await createFor(["a"]);
      const reader = await Reader.open(channel, "a");
      await patchChannel(channel, { state: "closed" });
      await expect(reader.read()).rejects.toThrow("channel-closed");
      expect(await readProblem(call("POST", pathOf(channel, "/messages/pull"), { json: { group: "a" } }))).toMatchObject({
        kind: "channel-closed",
      });
    }
  });

  test("[ray:C10] ten readers that wait all return when the channel closes", async () => {
    const names = namesOf(10);
    const channel = await createFor(names);
    const readers = await Promise.all(names.map((name) => Reader.open(channel, name)));
    const reads = readers.map((reader) => reader.read().catch((error: unknown) => String(error)));
    await patchChannel(channel, { state: "closed" });
    expect(await Promise.all(reads)).toEqual(names.map(() => "Error: channel-closed"));
  });

  test("[ray:C4] [ray:C14] who is not a reader of the channel is refused, and a value is not read twice", async () => {
    const channel = await createFor(["a"]);
    const socket = await openSocket(channel);
    const refused = await socket.ask({ type: "subscribe", id: 1, group: "undeclared", credit: { messages: 1 } });
    expect(refused.problem).toMatchObject({ kind: "unknown-group", group: "undeclared" });
    await put(channel, "once");
    expect(await (await Reader.open(channel, "a")).drain(1)).toEqual(["once"]);
    expect(await socket.ask({ type: "get", id: 2, group: "a" })).toMatchObject({ type: "got", messages: [] });
  });

  test("[ray:C4] without a reader nothing can be written", async () => {
    const channel = await createFor([]);
    expect(await readProblem(call("POST", pathOf(channel, "/messages"), { body: "nobody's" }))).toMatchObject({
      kind: "no-readers",
    });
  });

  test("[ray:C13] the writer may be a reader among others", async () => {
    const channel = await createFor(["self", "other"]);
    const [self, other] = [await Reader.open(channel, "self"), await Reader.open(channel, "other")];
    self.socket.send({ type: "put", id: 50, text: "to all" });
    expect((await self.socket.next()).type).toBe("put-ok");
    expect(await Promise.all([self.drain(1), other.drain(1)])).toEqual([["to all"], ["to all"]]);
  });
});
