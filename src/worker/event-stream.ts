// Server-Sent Events: a plain reader's stream for `EventSource`. The worker holds the connection and passes on what the object sends over
// a socket, so that the object sleeps while nothing comes. Credit is granted as the client reads, so a slow one costs no memory.
import type { Env } from "../object/env.ts";
import type { ServerFrame } from "../protocol/frames.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Place } from "../protocol/place.ts";
import type { Refusal } from "../protocol/problems.ts";
import { formatResume, parseResume, type MessageFilter } from "../protocol/stream-frames.ts";
import { PROTOCOL_VERSIONS } from "../protocol/version.ts";
import { makeUpgrade } from "./object-socket.ts";
import { fetchPlain } from "./plain-socket.ts";
import { RefusalError } from "./refusal-error.ts";

type DeliverFrame = Extract<ServerFrame, { type: "deliver" }>;

/** What is read: from a place of a log, or what comes next through any other channel. */
export type EventSubscription = {
  readonly filter?: MessageFilter;
} & ({ readonly from: object } | { readonly tap: true });

/** The only request of the stream's socket. */
const SUBSCRIPTION = 1;
const UNREACHABLE: Refusal = { kind: "unavailable", outcome: "not-applied", retryAfterMs: 1000 };

/** Subscribes and answers with the stream of events. Throws the refusal of the subscription. Aborting `signal` ends it. */
export async function openEventStream(
  env: Env,
  channel: string,
  {
    subscription,
    place,
    signal,
  }: {
    readonly subscription: EventSubscription;
    /** Where the client is. */
    readonly place: Place | undefined;
    readonly signal: AbortSignal;
  },
): Promise<Response> {
  const { webSocket: socket } = await fetchPlain(env, channel, makeUpgrade(), place);
  if (socket === null) throw new RefusalError(UNREACHABLE);
  const { readable, writable } = new IdentityTransformStream();
  const events = new EventWriter(socket, writable.getWriter());
  signal.addEventListener("abort", () => events.close(), { once: true });
  try {
    await subscribe(socket, subscription, events);
  } catch (error) {
    events.close();
    throw error;
  }
  const headers = { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform" };
  return new Response(readable, { headers });
}

/** Resolves when the object has accepted the subscription; what it sends from then on goes to `events`. */
function subscribe(socket: WebSocket, subscription: EventSubscription, events: EventWriter): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.addEventListener("message", ({ data }) => {
      const frame = JSON.parse(String(data)) as ServerFrame;
      if (frame.type === "echo") socket.send(String(data));
      if (frame.type === "problem") reject(new RefusalError(frame.problem));
      if (frame.type === "subscribed") resolve();
      if (frame.type === "deliver") events.deliver(frame);
      if (frame.type === "ended") events.end(frame.problem ?? UNREACHABLE);
    });
    socket.addEventListener("close", () => {
      events.close();
      reject(new RefusalError(UNREACHABLE));
    });
    socket.accept();
    const credit = { messages: LIMITS.eventCreditMessages, bytes: LIMITS.eventCreditBytes };
    socket.send(JSON.stringify({ type: "hello", versions: PROTOCOL_VERSIONS }));
    socket.send(JSON.stringify({ type: "subscribe", id: SUBSCRIPTION, credit, ...subscription }));
  });
}

class EventWriter {
  readonly #socket: WebSocket;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new TextEncoder();
  readonly #keepAlive: ReturnType<typeof setInterval>;
  /** Settles when all that was written so far has been read. */
  #written = Promise.resolve();
  #pending = 0;
  #isClosed = false;

  constructor(socket: WebSocket, writer: WritableStreamDefaultWriter<Uint8Array>) {
    this.#socket = socket;
    this.#writer = writer;
    this.#write(`retry: ${LIMITS.eventRetryMs}\n\n`);
    this.#keepAlive = setInterval(() => {
      if (this.#pending === 0) this.#write(": keep-alive\n\n");
    }, LIMITS.eventKeepAliveMs);
  }

  /** Writes the events of a frame, and grants as much credit again when they were read. */
  deliver(frame: DeliverFrame): void {
    const { messages, bytes } = frame;
    this.#write(formatEvents(frame), () => {
      if (messages.length > 0) this.#send({ type: "credit", id: SUBSCRIPTION, messages: messages.length, bytes });
    });
  }

  /** Tells the client why nothing more comes. If it asks again, it is refused with that, and gives up. */
  end(problem: object): void {
    this.#write(formatEvent({ event: "end", data: problem }), () => this.close());
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#keepAlive);
    this.#socket.close(1000, "Done");
    // Whoever reads gets what was written; one that is gone has closed it already.
    this.#written = this.#written.then(() => this.#writer.close()).catch(() => undefined);
  }

  #write(text: string, then: () => void = () => undefined): void {
    if (this.#isClosed) return;
    this.#pending += 1;
    this.#written = this.#written
      .then(() => this.#writer.write(this.#encoder.encode(text)))
      .then(() => {
        this.#pending -= 1;
        then();
      })
      // The client is gone.
      .catch(() => this.close());
  }

  #send(frame: object): void {
    if (!this.#isClosed) this.#socket.send(JSON.stringify(frame));
  }
}

/** The events of a frame in the order of offsets: what was missed, messages, and control records. */
function formatEvents({ messages, controls = [], gap, resume }: DeliverFrame): string {
  const life = resume === undefined ? undefined : parseResume(resume)?.life;
  const idAfter = (offset: number): string | undefined => life && formatResume(life, offset + 1);
  const records = [
    ...messages.map((message) => ({ record: message as { readonly offset: number }, event: undefined })),
    ...controls.map((control) => ({ record: control as { readonly offset: number }, event: "control" })),
  ].sort((a, b) => a.record.offset - b.record.offset);
  const events = records.map(({ record, event }) => formatEvent({ id: idAfter(record.offset), event, data: record }));
  if (gap !== undefined) events.unshift(formatEvent({ id: idAfter(gap.toOffset), event: "gap", data: gap }));
  // A search that found nothing still tells how far it came.
  return events.length === 0 ? `id: ${resume ?? ""}\n\n` : events.join("");
}

/** JSON has no line breaks, so each event has one line of data. */
function formatEvent({
  id,
  event,
  data,
}: {
  readonly id?: string | undefined;
  readonly event?: string | undefined;
  readonly data: object;
}): string {
  const lines = [
    id === undefined ? [] : [`id: ${id}`],
    event === undefined ? [] : [`event: ${event}`],
    [`data: ${JSON.stringify(data)}`],
  ];
  return `${lines.flat().join("\n")}\n\n`;
}
