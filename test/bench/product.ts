// The product as a load client sees it: its frames, its drivers and the few HTTP calls around a load. Any answer other than the
// expected one throws with its text, because a benchmark that counts refusals measures nothing.
import type { WebSocket } from "ws";
import { joinBinaryFrame } from "../../src/protocol/binary-frame.ts";
import { encodeBlock } from "../../src/protocol/block-writer.ts";
import type { RelayDescription } from "../../src/protocol/relay-routes.ts";
import { SUBPROTOCOL_JSON } from "../../src/protocol/version.ts";
import { textRecord } from "../binary-frames.ts";
import { ask, type Driver, formatFrame } from "./ws-load.ts";

const HTTP_TIMEOUT_MS = 30_000;
/** Large enough for every load: a channel that fills would measure refusals. */
const CHANNEL_SETTINGS = { maxMessages: 1_000_000_000, maxBytes: 4_000_000_000 };
const ID_DIGITS_MAX = 10;

// Random letters: nothing on the way can gain from compressing or interning them.
function randomText(length: number): string {
  return Array.from({ length }, () => String.fromCharCode(97 + Math.floor(Math.random() * 26))).join("");
}

export const TEXT_1_KB = randomText(1_024);
export const TEXT_100_B = randomText(100);

/** Encodes request `index`. The floors get the very frames that the product gets. */
export type FrameMaker = (index: number) => string | Uint8Array;

export function putFrames(text: string): FrameMaker {
  return (index) => `{"type":"put","id":${index},"text":"${text}"}`;
}

export function putBatchFrames(text: string, count: number): FrameMaker {
  const messages = Array.from({ length: count }, () => `{"text":"${text}"}`).join(",");
  return (index) => `{"type":"put-batch","id":${index},"messages":[${messages}]}`;
}

/** Binary frames, all in one piece of memory: a socket copies what it sends. Only the id in the head is another for each. */
export function putBlockFrames(text: string, count: number): FrameMaker {
  const records = Array.from({ length: count }, () => textRecord(text));
  const blank = " ".repeat(ID_DIGITS_MAX);
  const frame = Buffer.from(joinBinaryFrame("put", `{"id":${blank}}`, [encodeBlock(records, 0)]));
  const place = frame.indexOf(blank);
  return (index) => {
    frame.write(String(index).padEnd(ID_DIGITS_MAX), place, "latin1");
    return frame;
  };
}

export function getFrames(max: number, waitMs = 0): FrameMaker {
  return (index) => `{"type":"get","id":${index},"max":${max},"min":1,"waitMs":${waitMs}}`;
}

/** How replies come: those of one commit in one frame, as the client has them, or each in its own. */
export type Replies = "joined" | "each";

function greet(replies: Replies): Pick<Driver, "subprotocol" | "greeting"> {
  return {
    subprotocol: SUBPROTOCOL_JSON,
    greeting: {
      frame: JSON.stringify({ type: "hello", versions: [1], ...(replies === "joined" && { joined: true }) }),
      check: (answer: Buffer): void => {
        readAnswer(answer, "welcome");
      },
    },
  };
}

interface Talk {
  readonly subprotocol?: string | undefined;
  readonly replies?: Replies;
}

export function putDriver(request: FrameMaker, { subprotocol = SUBPROTOCOL_JSON, replies = "joined" }: Talk = {}): Driver {
  return { ...greet(replies), subprotocol, request, answered: (frame) => readAnswers(frame, "put-ok").map(({ id }) => id) };
}

/** A got frame with other than `count` messages fails the load: an empty one would be counted as full otherwise. */
export function getDriver(request: FrameMaker, count: number, messageBytes: number): Driver {
  return { ...greet("joined"), request, answered: (frame) => readGots(frame, count, messageBytes) };
}

// Parsing 100 KB of JSON would take more of the bench's time than anything else it does. A large frame is known by its first
// members and by its length, which fewer messages could not have; in every other case the frame is parsed.
function readGots(frame: Buffer, count: number, messageBytes: number): readonly number[] {
  const start = /^\{"type":"got","id":(\d+),/u.exec(frame.toString("latin1", 0, 48));
  if (count > 10 && start !== null && frame.length >= count * messageBytes) return [Number(start[1])];
  return readAnswers(frame, "got").map(({ id, messages }) => {
    if (messages?.length !== count) throw new Error(`Expected ${count} messages, got ${formatFrame(frame)}`);
    return id;
  });
}

/** The answers of a frame that may join several. */
function readAnswers(frame: Buffer, type: string): readonly Answer[] {
  const answer = JSON.parse(frame.toString()) as Answer;
  const answers = answer.frames ?? [answer];
  if (answers.some((one) => one.type !== type)) throw new Error(`Expected ${type}, got ${formatFrame(frame)}`);
  return answers;
}

interface Answer {
  readonly type: string;
  readonly id: number;
  readonly messages?: readonly unknown[];
  readonly stats?: Stats;
  /** Those of a joined frame. */
  readonly frames?: readonly Answer[];
}

export interface Stats {
  readonly depth: number;
  readonly rows: { readonly written: number; readonly read: number };
}

export function readAnswer(frame: Buffer, type: string): Answer {
  const [answer] = readAnswers(frame, type);
  if (answer === undefined) throw new Error(`Expected ${type}, got nothing`);
  return answer;
}

export async function askStats(socket: WebSocket): Promise<Stats> {
  const { stats } = readAnswer(await ask(socket, JSON.stringify({ type: "stats", id: 0 })), "stats");
  if (stats === undefined) throw new Error("Expected stats in the stats frame");
  return stats;
}

export class Product {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  socketUrl(channel: string): string {
    return `${this.#url.replace("http", "ws")}/v1/channels/${channel}/socket`;
  }

  messagesUrl(channel: string): string {
    return `${this.#url}/v1/channels/${channel}/messages`;
  }

  async create(channel: string, settings: object = {}): Promise<void> {
    await this.#call("PUT", `/v1/channels/${channel}`, { ...CHANNEL_SETTINGS, ...settings });
  }

  async drop(channel: string): Promise<void> {
    await this.#call("DELETE", `/v1/channels/${channel}?force=true`);
  }

  async stats(channel: string): Promise<Stats> {
    return (await this.#call("GET", `/v1/channels/${channel}`)) as Stats;
  }

  /** The first page of them. */
  async relays(channel: string): Promise<readonly RelayDescription[]> {
    const { relays } = (await this.#call("GET", `/v1/channels/${channel}/relays`)) as { relays: readonly RelayDescription[] };
    return relays;
  }

  async pullOne(channel: string): Promise<void> {
    const got = (await this.#call("POST", `/v1/channels/${channel}/messages/pull`, { ack: "auto", max: 1 })) as {
      messages: readonly unknown[];
    };
    if (got.messages.length !== 1) throw new Error(`Expected one message of ${channel}, got ${JSON.stringify(got)}`);
  }

  /** Loads the worker and the connection, so that what is timed next is the channel's own work. */
  async touch(): Promise<void> {
    await this.#call("GET", "/healthz");
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      signal: AbortSignal.timeout(HTTP_TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text.slice(0, 500)}`);
    return response.headers.get("content-type")?.includes("json") === true ? JSON.parse(text) : undefined;
  }
}
