// Speaks to the service as its clients do: HTTP through the worker, and sockets. Every test uses channels of its own.
import { env, exports } from "cloudflare:workers";
import { expect, onTestFinished } from "vitest";
import type { ChannelDescription, PressureState } from "../../src/protocol/description.ts";
import type { ServerFrame } from "../../src/protocol/frames.ts";
import type { RefusalKind, Retry } from "../../src/protocol/problems.ts";
import type { ScheduledReceipt } from "../../src/protocol/schedule.ts";
import { SUBPROTOCOL_JSON } from "../../src/protocol/version.ts";
import { findFaults } from "../server-frames.ts";
import { readServerFrame } from "../binary-frames.ts";

export const ORIGIN = "http://localhost";

/** A problem as a client sees it: the facts beside the fixed members. */
export interface ProblemJson {
  readonly kind: RefusalKind;
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly retry: Retry;
  readonly [fact: string]: unknown;
}

export interface MessageJson {
  readonly offset: number;
  readonly putAtMs: number;
  readonly contentType: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly text?: string;
  readonly base64?: string;
  readonly redrivenFrom?: number;
  readonly leaseId?: string;
  readonly attempt?: number;
  readonly redelivered?: boolean;
}

export interface ControlJson {
  readonly offset: number;
  readonly control: { readonly type: string; readonly maxMessages?: number; readonly maxBytes?: number };
}

export interface PutJson {
  readonly offset: number;
  readonly count: number;
  readonly duplicate?: true;
  readonly state: PressureState;
}

export interface PulledJson {
  readonly messages: readonly MessageJson[];
  readonly controls?: readonly ControlJson[];
  /** Only where the messages are leased. */
  readonly leaseUntilMs?: number;
  readonly state: PressureState;
}

/** A reply to a settle call. */
export interface SettledJson {
  readonly acked: number;
  readonly retried: number;
  readonly extended: number;
  readonly rejected: number;
  readonly released: number;
  readonly refused: readonly { readonly pointer: string; readonly problem: ProblemJson }[];
}

/** The counts of a channel in which nothing has happened. */
export const NO_COUNTS = { put: 0, acked: 0, removed: 0, deadLettered: 0, dropped: 0, expired: 0 };

export interface Take {
  readonly group?: string;
  readonly max?: number;
  readonly min?: number;
  readonly waitMs?: number;
}

export interface CallOptions {
  /** Sent as a JSON body. */
  readonly json?: unknown;
  readonly body?: BodyInit | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** The colo that the runtime says the request reached. */
  readonly colo?: string;
}

export function freshChannel(): string {
  return `c-${crypto.randomUUID()}`;
}

export function stubOf(channel: string): DurableObjectStub {
  return env.CHANNELS.getByName(channel);
}

/** The address of a channel, or of what is below it. */
export function pathOf(channel: string, rest = ""): string {
  return `/v1/channels/${channel}${rest}`;
}

/** What the client takes for `fetch`. */
export function fetchFromWorker(url: string, init: RequestInit): Promise<Response> {
  return exports.default.fetch(url, init);
}

export function call(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const { json, body, headers, signal, colo } = options;
  const contentType = json === undefined ? undefined : { "Content-Type": "application/json" };
  return exports.default.fetch(ORIGIN + path, {
    method,
    headers: { ...contentType, ...headers },
    body: json === undefined ? (body ?? null) : JSON.stringify(json),
    ...(signal !== undefined && { signal }),
    ...(colo !== undefined && { cf: { colo } }),
  });
}

/** The JSON of a reply that is expected to have `status`. */
export async function read<Body>(reply: Response | Promise<Response>, status = 200): Promise<Body> {
  const response = await reply;
  const text = await response.text();
  expect([text, response.status]).toEqual([text, status]);
  return JSON.parse(text) as Body;
}

/** The problem of a reply that is expected to be a refusal. */
export async function readProblem(reply: Response | Promise<Response>): Promise<ProblemJson> {
  const response = await reply;
  expect(response.headers.get("Content-Type")).toBe("application/problem+json");
  const problem = await response.json<ProblemJson>();
  expect(problem.status).toBe(response.status);
  expect(problem.type).toBe(`urn:edge-channel:problem:${problem.kind}`);
  return problem;
}

/** Creates a channel of its own name for a test. */
export async function createChannel(settings: object = {}): Promise<string> {
  const channel = freshChannel();
  await read(call("PUT", pathOf(channel), { json: settings }), 201);
  return channel;
}

export function put(channel: string, text: string, query = ""): Promise<PutJson> {
  // The default of texts, which counts no bytes.
  const headers = { "Content-Type": "text/plain; charset=utf-8" };
  return read<PutJson>(call("POST", pathOf(channel, `/messages${query}`), { body: text, headers }), 201);
}

export function putBatch(channel: string, texts: readonly string[], query = ""): Promise<PutJson> {
  const messages = texts.map((text) => ({ text }));
  return read<PutJson>(call("POST", pathOf(channel, `/messages/batch${query}`), { json: { messages } }), 201);
}

export function pull(channel: string, take: Take = {}, options: CallOptions = {}): Promise<PulledJson> {
  return read<PulledJson>(call("POST", pathOf(channel, "/messages/pull"), { json: { ack: "auto", ...take }, ...options }));
}

/** A pull by lease. */
export function lease(channel: string, take: Take & { leaseMs?: number } = {}, options: CallOptions = {}): Promise<PulledJson> {
  return read<PulledJson>(call("POST", pathOf(channel, "/messages/pull"), { json: take, ...options }));
}

export function settle(channel: string, lists: object): Promise<SettledJson> {
  return read<SettledJson>(call("POST", pathOf(channel, "/messages/settle"), { json: lists }));
}

/** Messages as entries of a settle call, each with the same terms. */
export function entriesOf(messages: readonly MessageJson[] = [], terms: object = {}): object[] {
  return messages.map(({ leaseId }) => ({ leaseId, ...terms }));
}

/** What a pull takes, as texts. */
export async function pullTexts(channel: string, take: Take = {}): Promise<string[]> {
  return textsOf((await pull(channel, take)).messages);
}

export function describeChannel(channel: string): Promise<ChannelDescription> {
  return read<ChannelDescription>(call("GET", pathOf(channel)));
}

export function patchChannel(channel: string, patch: object): Promise<ChannelDescription> {
  return read<ChannelDescription>(call("PATCH", pathOf(channel), { json: patch }));
}

/** Asks until `isSo`: for what happens on its own a moment later. The test's timeout bounds it. */
export async function untilChannel(
  channel: string,
  isSo: (description: ChannelDescription) => boolean,
): Promise<ChannelDescription> {
  for (;;) {
    const description = await describeChannel(channel);
    if (isSo(description)) return description;
  }
}

/** Waits until so many requests wait in the channel. */
export async function untilWaiting(channel: string, count: number): Promise<void> {
  await untilChannel(channel, ({ waiters }) => waiters === count);
}

export function textsOf(messages: readonly MessageJson[] = []): string[] {
  return messages.map((message) => message.text ?? "(no text)");
}

/** A frame from the server, whatever its type. */
export interface Frame extends Partial<SettledJson> {
  readonly type: ServerFrame["type"];
  readonly id?: number;
  readonly inReplyTo?: number;
  readonly offset?: number | null;
  readonly count?: number;
  readonly scheduledId?: string;
  readonly scheduled?: readonly ScheduledReceipt[];
  readonly duplicate?: true;
  readonly messages?: readonly MessageJson[];
  readonly controls?: readonly ControlJson[];
  readonly state?: PressureState;
  readonly leaseUntilMs?: number;
  readonly leases?: readonly object[];
  readonly reservedMs?: number;
  readonly resume?: string;
  readonly frames?: readonly Frame[];
  readonly gap?: { readonly fromOffset: number; readonly toOffset: number };
  readonly stats?: ChannelDescription;
  readonly problem?: ProblemJson;
  readonly version?: number;
  readonly versions?: readonly number[];
  readonly channel?: string;
  readonly connection?: number;
}

export interface Closing {
  readonly code: number;
  readonly reason: string;
}

/** Ids of the requests by which `settle` finds the end of what was sent before. */
let nextBarrier = 1_000_000_000;

/** A socket whose frames are awaited one by one. */
export class TestSocket {
  readonly #socket: WebSocket;
  readonly #frames: Frame[] = [];
  #wake: (() => void) | undefined;
  #closing: Closing | undefined;
  readonly closed: Promise<Closing>;
  /** Whether it shows that it reads, as clients have to. */
  sendsEchoes = true;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code, reason }) => {
        this.#closing = { code, reason };
        resolve(this.#closing);
        this.#wake?.();
      });
    });
    socket.addEventListener("message", ({ data }) => {
      const frame = readServerFrame(data as string | ArrayBuffer) as Frame;
      if (frame.type === "echo" && this.sendsEchoes) this.send(frame);
      else this.#frames.push(frame);
      this.#wake?.();
    });
    socket.binaryType = "arraybuffer";
    socket.accept();
  }

  /** Objects are sent as JSON, strings and bytes as they are. */
  send(...frames: readonly (object | string | ArrayBuffer)[]): void {
    for (const frame of frames) {
      this.#socket.send(typeof frame === "string" || frame instanceof ArrayBuffer ? frame : JSON.stringify(frame));
    }
  }

  /** The next frame; rejects when the socket closed and there is none. */
  async next(): Promise<Frame> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) {
        const faults = findFaults(frame);
        if (faults.length > 0) throw new Error(`Not a frame of the protocol: ${faults.join("; ")}`);
        return frame;
      }
      if (this.#closing !== undefined) throw new Error(`The socket closed: ${this.#closing.code} ${this.#closing.reason}`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async take(count: number): Promise<Frame[]> {
    const frames: Frame[] = [];
    while (frames.length < count) frames.push(await this.next());
    return frames;
  }

  /** Sends a request and awaits the next frame. */
  ask(frame: object): Promise<Frame> {
    this.send(frame);
    return this.next();
  }

  /** All frames that are on their way: what the object sent before it answers a last request. */
  async settle(): Promise<Frame[]> {
    const id = nextBarrier++;
    this.send({ type: "stats", id });
    const frames: Frame[] = [];
    for (;;) {
      const frame = await this.next();
      if (frame.id === id || frame.inReplyTo === id) return frames;
      frames.push(frame);
    }
  }

  /** Ends the connection. The object learns it a moment later: `untilChannel` shows when. */
  close(code = 1000): void {
    if (this.#closing === undefined) this.#socket.close(code, "Done");
  }
}

export function upgrade(
  channel: string,
  headers: Readonly<Record<string, string>> = {},
  more: CallOptions & { readonly read?: string } = {},
): Promise<Response> {
  const query = more.read === undefined ? "" : `?read=${more.read}`;
  return call("GET", pathOf(channel, `/socket${query}`), {
    ...more,
    headers: { Upgrade: "websocket", ...more.headers, ...headers },
  });
}

interface ConnectOptions extends CallOptions {
  /** What is spoken; JSON alone if absent. */
  readonly subprotocol?: string;
  /** What the connection is for; anything if absent. */
  readonly read?: "plain";
}

/** Opens a socket that did not greet yet. */
export async function connect(
  channel: string,
  { subprotocol = SUBPROTOCOL_JSON, ...more }: ConnectOptions = {},
): Promise<TestSocket> {
  const reply = await upgrade(channel, { "Sec-WebSocket-Protocol": subprotocol }, more);
  const { webSocket } = reply;
  if (webSocket === null) throw new Error(`No socket: ${reply.status} ${await reply.text()}`);
  const socket = new TestSocket(webSocket);
  onTestFinished(() => socket.close());
  return socket;
}

/** Opens a socket and greets. */
export async function openSocket(channel: string, more: ConnectOptions = {}): Promise<TestSocket> {
  const socket = await connect(channel, more);
  const { type } = await socket.ask({ type: "hello", versions: [1] });
  expect(type).toBe("welcome");
  return socket;
}

/** Shows that the socket is served as if nothing had happened. */
export async function expectServed(socket: TestSocket): Promise<void> {
  expect(await socket.ask({ type: "get", id: 99, max: 0 })).toMatchObject({ type: "got", id: 99, messages: [] });
}
