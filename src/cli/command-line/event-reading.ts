// Watches a channel without taking, by Server-Sent Events (PROTOCOL.md, Events), and goes on where it was when the connection is lost.
import { setTimeout as delay } from "node:timers/promises";
import { LIMITS } from "../../protocol/limits.ts";
import type { Problem } from "../../protocol/problems.ts";
import { EdgeChannelError } from "../../client/edge-channel-error.ts";
import { errorOfReply } from "../../client/http-reply.ts";
import type { ControlRecord, ReceivedMessage } from "../../client/index.ts";
import { parseMessage, type MessageJson } from "../../client/message-json.ts";
import { Requester } from "../../client/requester.ts";

export interface WatchOptions {
  readonly url: string;
  readonly token: string | undefined;
  readonly channel: string;
  /** Where to begin: an offset or `first`, both of a log; undefined for what comes next. */
  readonly start: string | undefined;
  /** Ends the watching. */
  readonly signal: AbortSignal;
  /** Called when the connection was lost and is there again. `isGapless`: nothing that passed meanwhile is missing. */
  readonly onReconnect: (isGapless: boolean) => void;
}

export type Passed =
  | { readonly type: "message"; readonly message: ReceivedMessage }
  | { readonly type: "control"; readonly control: ControlRecord }
  /** Records that were given up before they could be sent. */
  | { readonly type: "gap"; readonly fromOffset: number; readonly toOffset: number };

interface ServerEvent {
  readonly id: string | undefined;
  readonly name: string;
  readonly data: string;
}

const RECONNECTS_MAX = 20;
/** Three comments that keep the connection alive did not come. */
const SILENCE_MS_MAX = 3 * LIMITS.eventKeepAliveMs;

/** Rejects with the first failure to connect, with that of many in a row later, and with the problem for which nothing more comes. */
export async function* watchChannel(options: WatchOptions): AsyncGenerator<Passed, void, undefined> {
  const { signal, onReconnect } = options;
  let lastEventId: string | undefined;
  let isLost = false;
  let failures = 0;
  for (;;) {
    try {
      const { body, alive } = await openEvents(options, lastEventId);
      failures = 0;
      if (isLost) onReconnect(lastEventId !== undefined);
      isLost = true;
      for await (const event of readEvents(body, alive)) {
        lastEventId = event.id ?? lastEventId;
        const passed = parseEvent(event);
        if (passed !== undefined) yield passed;
      }
    } catch (error) {
      failures += 1;
      if (signal.aborted || !isLoss(error) || !isLost || failures > RECONNECTS_MAX) throw error;
    }
    signal.throwIfAborted();
    await delay(LIMITS.eventRetryMs, undefined, { signal });
  }
}

function isLoss(error: unknown): boolean {
  return error instanceof EdgeChannelError && error.origin === "network";
}

interface OpenEvents {
  readonly body: ReadableStream<Uint8Array>;
  /** To be called when something came. */
  readonly alive: () => void;
}

async function openEvents(
  { url, token, channel, start, signal }: WatchOptions,
  lastEventId: string | undefined,
): Promise<OpenEvents> {
  const silence = new AbortController();
  const silenceTimer = setTimeout(() => silence.abort(), SILENCE_MS_MAX).unref();
  const query = start === undefined ? "" : `?start=${encodeURIComponent(start)}`;
  const reply = await reach(
    fetch(new Requester(url).addressOf([channel, "events"]) + query, {
      headers: {
        Accept: "text/event-stream",
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...(lastEventId !== undefined && { "Last-Event-ID": lastEventId }),
      },
      redirect: "manual",
      signal: AbortSignal.any([signal, silence.signal]),
    }),
  );
  if (!reply.ok || reply.body === null) throw await errorOfReply(reply, "not-applied");
  return { body: reply.body, alive: () => silenceTimer.refresh() };
}

/** Splits the stream into its events; comments are none. */
async function* readEvents(body: ReadableStream<Uint8Array>, alive: () => void): AsyncGenerator<ServerEvent, void, undefined> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reach(reader.read());
      if (done) return;
      alive();
      const blocks = (text + value).split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) yield parseBlock(block);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function parseBlock(block: string): ServerEvent {
  const fields = new Map(
    block.split("\n").map((line): [string, string] => {
      const colonAt = line.indexOf(": ");
      return colonAt === -1 ? [line, ""] : [line.slice(0, colonAt), line.slice(colonAt + 2)];
    }),
  );
  const id = fields.get("id");
  return { id: id === "" ? undefined : id, name: fields.get("event") ?? "message", data: fields.get("data") ?? "" };
}

/** The shapes are the server's promise. An event without data tells its id alone. */
function parseEvent({ name, data }: ServerEvent): Passed | undefined {
  if (data === "") return undefined;
  const value: unknown = JSON.parse(data);
  if (name === "message") return { type: "message", message: parseMessage(value as MessageJson<ReceivedMessage>) };
  if (name === "control") return { type: "control", control: value as ControlRecord };
  if (name === "gap") return { type: "gap", ...(value as { readonly fromOffset: number; readonly toOffset: number }) };
  if (name === "end") throw EdgeChannelError.fromProblem(value as Problem);
  return undefined;
}

async function reach<Value>(coming: Promise<Value>): Promise<Value> {
  try {
    return await coming;
  } catch (error) {
    const facts = { kind: "connection-lost", origin: "network", retry: "after", outcome: "not-applied", cause: error } as const;
    throw new EdgeChannelError("Cannot watch the channel: the connection failed", facts);
  }
}
