// One channel under attack: sends a request or a frame, judges the answer, applies what was accepted to the model, and compares.
// Everything in a lane happens one after another, so that the model knows precisely what the channel has to hold.
import type { ChannelDescription } from "../../../src/protocol/description.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { Route } from "../../../src/protocol/route.ts";
import { randomSettings } from "./content.ts";
import { buildFrame, mutateFrame, type FrameMutation } from "./frames.ts";
import { HostileSocket, type Collected, type ReceivedFrame } from "./hostile-socket.ts";
import { mutateRequest, type RequestMutation } from "./http-mutations.ts";
import { buildRequest } from "./http-requests.ts";
import {
  ChannelModel,
  expectJsonForm,
  expectRequest,
  sizeOf,
  type ExpectedMessage,
  type MessageForm,
  type PutReply,
  type ShownMessage,
} from "./model.ts";
import { applyReply } from "./reply-effects.ts";
import { formatRequest, isCut, type RequestSpec } from "./request.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { Tally } from "./tally.ts";
import { judgeProblem, judgeReply, parseObject } from "./verdict.ts";
import { WireClient, type WireReply } from "./wire.ts";

/** Refusals that say something about the channel, and nothing about the request. */
const STATE_KINDS = new Set([
  "channel-full",
  "channel-draining",
  "channel-closed",
  "channel-deleted",
  "unknown-channel",
  "unknown-message",
  "unknown-checkpoint",
  "checkpoint-conflict",
  "unknown-scheduled",
  "settings-conflict",
  "message-too-large",
  "batch-too-large",
  "too-many-waiters",
  "producer-sequence-gap",
  "stale-producer-epoch",
  "producer-sequence-reused",
  "idempotency-key-reused",
  "offset-conflict",
]);

export interface LaneOptions {
  readonly port: number;
  readonly name: string;
  readonly random: SeededRandom;
  readonly tally: Tally;
}

export class Lane {
  readonly #options: LaneOptions;
  readonly #random: SeededRandom;
  readonly #tally: Tally;
  readonly #wire: WireClient;
  #model = new ChannelModel();
  #generation = 0;
  #socket: HostileSocket | undefined;
  #waiting = new Set<number>();
  #nextId = 1;
  #lastBodyBytes = 0;
  /** What was sent last, for reports. */
  #sent = "";

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#random = options.random;
    this.#tally = options.tally;
    this.#wire = new WireClient(options.port);
  }

  get channel(): string {
    return `${this.#options.name}-${this.#generation}`;
  }

  get model(): ChannelModel {
    return this.#model;
  }

  /** One request to a route, valid or with one thing wrong. */
  async request(route: Route, isHostile: boolean): Promise<void> {
    await this.#prepare();
    const spec = buildRequest(route.operationId, { random: this.#random, channel: this.channel, model: this.#model });
    const mutation: RequestMutation = isHostile
      ? mutateRequest(spec, route, this.#random)
      : { name: "valid", spec, mustRefuse: false };
    this.#tally.count("routes", route.operationId);
    this.#tally.count(isHostile ? "hostile routes" : "valid routes", route.operationId);
    if (isHostile) this.#tally.count("request mutations", mutation.name);
    await this.#perform(mutation, !isHostile);
  }

  /** One frame on the lane's socket, valid or with one thing wrong. */
  async frame(type: string, isHostile: boolean): Promise<void> {
    await this.#prepare();
    const context = { random: this.#random, model: this.#model, freshId: this.#nextId++, usedIds: [...this.#waiting] };
    const valid = buildFrame(type, context);
    const mutation: FrameMutation = isHostile
      ? mutateFrame(valid, context)
      : { name: "valid", data: JSON.stringify(valid), mustRefuse: false };
    this.#tally.count("frames", type);
    this.#tally.count(isHostile ? "hostile frames" : "valid frames", type);
    if (isHostile) this.#tally.count("frame mutations", mutation.name);
    this.#sent = `${mutation.name} of frame ${type}: ${String(mutation.data).slice(0, 200)}`;
    const socket = await this.#openSocket();
    socket.send(mutation.data);
    await this.#settle({ ...mutation, type, isValid: !isHostile });
  }

  /** Frames before hello, foreign versions, too many waiters, broken WebSocket: each on a connection of its own. */
  async scenario(): Promise<void> {
    await this.#prepare();
    const scenarios = {
      "before-hello": () => this.#sendBeforeHello(),
      "foreign-version": () => this.#sendForeignVersion(),
      "too-many-waiters": () => this.#waitTooOften(),
      "fragmented-frame": () => this.#sendFragments(),
    };
    const name = this.#random.pick(Object.keys(scenarios) as (keyof typeof scenarios)[]);
    this.#tally.count("scenarios", name);
    this.#sent = `scenario ${name}`;
    await scenarios[name]();
    await this.#settle(undefined);
  }

  /** Everything that the channel holds, page by page and message by message, against the model. */
  async compareAll(): Promise<void> {
    this.#sent = `the final comparison of ${this.channel}`;
    if (this.#waiting.size > 0) await this.#cancelAll();
    await this.#settle(undefined);
    const { state, description } = this.#model;
    if (state === "absent" || state === "deleted") return;
    let bytes = 0;
    const shown: number[] = [];
    for (let from: number | null = 1; from !== null;) {
      const page: Page = await this.#readPage(from);
      for (const message of page.messages) {
        shown.push(message.offset);
        const difference = this.#model.compare(message) ?? (await this.#readMessage(message.offset));
        if (difference !== undefined) this.#violate(`kept ${difference}`);
        bytes += sizeOf(message, this.#lastBodyBytes);
      }
      from = page.next;
    }
    const offsets = [...this.#model.messages.keys()];
    if (shown.join() !== offsets.join()) this.#violate(`browsing shows ${shown.join()} instead of ${offsets.join()}`);
    if (bytes !== description?.bytes) this.#violate(`describes ${description?.bytes} bytes instead of ${bytes}`);
    await this.#compareCheckpoints();
    this.#tally.count("compared", "channels");
    for (const _ of shown) this.#tally.count("compared", "messages");
  }

  async #compareCheckpoints(): Promise<void> {
    const { checkpoints } = this.#model;
    const specs = [
      { ...readSpec(`/checkpoints`), operationId: "listCheckpoints" },
      ...checkpoints.names.map((name) => ({ ...readSpec(`/checkpoints/${name}`), operationId: "readCheckpoint" })),
    ];
    for (const spec of specs) {
      const reply = await this.#get(spec.path, []);
      const difference = reply?.status === 200 ? checkpoints.applyReply(spec, reply) : `no reply but ${reply?.status}`;
      if (difference !== undefined) this.#violate(`${spec.path} ${difference}`);
      this.#tally.count("compared", "checkpoints");
    }
  }

  async #readPage(from: number): Promise<Page> {
    const reply = await this.#get(`/messages`, [
      ["from", String(from)],
      ["limit", "7"],
    ]);
    return parseObject(String(reply?.body)) as unknown as Page;
  }

  async #readMessage(offset: number): Promise<string | undefined> {
    const reply = await this.#get(`/messages/${offset}`, []);
    if (reply?.status !== 200) return `${offset} can not be read: ${reply?.status ?? "no reply"}`;
    this.#lastBodyBytes = reply.body.byteLength;
    return applyReply(this.#model, readSpec(`/messages/${offset}`), reply, { taken: [], expected: () => [] });
  }

  async #get(path: string, query: readonly [string, string][]): Promise<WireReply | undefined> {
    const spec = { ...readSpec(`/v1/channels/${this.channel}${path}`), query };
    const answer = await this.#wire.send(formatRequest(spec, this.#options.port));
    return typeof answer === "string" ? undefined : answer;
  }

  async close(): Promise<void> {
    this.#wire.close();
    await this.#socket?.drop();
  }

  /** Most of the time the channel is brought back to life first, and nothing waits, so that requests get far. */
  async #prepare(): Promise<void> {
    const { state, description } = this.#model;
    if (this.#waiting.size > 0 && this.#random.chance(0.6)) await this.#cancelAll();
    if ((state === "absent" || state === "deleted") && this.#random.chance(0.8)) {
      await this.#help("createChannel", "PUT", randomSettings(this.#random));
    } else if ((state === "closed" || state === "draining") && this.#random.chance(0.7)) {
      const isEnding = description?.drainUntilMs !== null && this.#random.chance(0.3);
      if (isEnding) await this.#help("deleteChannel", "DELETE", undefined);
      else await this.#help("changeChannel", "PATCH", { state: "open" });
    }
  }

  async #help(operationId: string, method: string, document: object | undefined): Promise<void> {
    const spec: RequestSpec = {
      operationId,
      method,
      path: `/v1/channels/${this.channel}`,
      query: document === undefined ? [["force", "true"]] : [],
      headers: document === undefined ? [] : [["Content-Type", "application/json"]],
      framing: document === undefined ? "none" : "length",
      ...(document !== undefined && { body: Buffer.from(JSON.stringify(document)) }),
    };
    await this.#perform({ name: "helper", spec, mustRefuse: false }, true);
  }

  async #cancelAll(): Promise<void> {
    const socket = await this.#openSocket();
    for (const id of this.#waiting) socket.send(JSON.stringify({ type: "cancel", id }));
    this.#sent = "cancel of all that wait";
    await this.#settle(undefined);
    this.#waiting.clear();
  }

  async #perform({ name, spec, mustRefuse, isTransport = false }: RequestMutation, isValid: boolean): Promise<void> {
    const { port } = this.#options;
    const bytes = formatRequest(spec, port);
    this.#sent = `${name} of ${spec.operationId}: ${bytes.toString("latin1").slice(0, 200)}`;
    const isHead = spec.method === "HEAD";
    const answer = await this.#wire.send(bytes, { isHead, isHalfClosed: isCut(spec) });
    // What the server did not take for the body would be the next request.
    if (isTransport || spec.framing === "length-too-short") this.#wire.close();
    const verdict = judgeReply(answer, { isHead, isTransport });
    this.#tally.count("answers", verdict.type === "refused" ? verdict.kind : verdict.type);
    if (verdict.type === "wrong") return this.#fail(`${spec.operationId}: ${verdict.reason}`);
    if (verdict.type === "accepted" && mustRefuse) return this.#fail(`${spec.operationId}: accepted ${name}`);
    if (verdict.type === "refused" && isValid && !isRefusalFair(verdict)) {
      return this.#fail(`${spec.operationId}: refused a valid request: ${String(verdict.problem["detail"])}`);
    }
    const misjudged = verdict.type === "refused" ? this.#model.checkpoints.checkRefusal(verdict.problem) : undefined;
    if (misjudged !== undefined) return this.#fail(`${spec.operationId}: ${misjudged}`);
    const isServed = verdict.type === "accepted" && typeof answer !== "string" && !isHead;
    const taken: ShownMessage[] = [];
    const mistake = isServed ? applyReply(this.#model, spec, answer, { taken, expected: () => expectedOf(spec) }) : undefined;
    if (mistake !== undefined) return this.#fail(`${spec.operationId}: ${mistake}`);
    await this.#settle(undefined, taken);
  }

  /** Takes in everything that the socket was told, and compares the channel with the model. */
  async #settle(sent: SentFrame | undefined, takenByRequest: readonly ShownMessage[] = []): Promise<void> {
    const socket = await this.#openSocket();
    const collected = await socket.fence();
    const taken = [...takenByRequest];
    let mistake = sent === undefined ? undefined : this.#findUnanswered(sent, collected);
    for (const frame of collected.frames) mistake ??= this.#takeFrame(frame, sent, taken);
    mistake ??= this.#model.take(taken) ?? this.#checkClose(collected, sent);
    if (mistake !== undefined) return this.#fail(mistake);
    const answer = collected.answer ?? (await (await this.#openSocket()).fence()).answer;
    mistake = this.#checkFence(answer);
    if (mistake !== undefined) await this.#fail(mistake);
  }

  #findUnanswered(sent: SentFrame, { frames, closeCode }: Collected): string | undefined {
    const document = parseObject(String(sent.data));
    const id = document?.["id"];
    const isReply = (frame: ReceivedFrame): boolean =>
      frame.type === "problem"
        ? frame.inReplyTo === undefined || frame.inReplyTo === id
        : frame.type === "welcome" || frame.id === id;
    const replies = frames.filter(isReply);
    const problem = replies.find((frame) => frame.type === "problem");
    if (sent.mustRefuse && problem === undefined && closeCode === undefined) return `frame ${sent.type}: accepted ${sent.name}`;
    const isSilent = document?.["type"] === "cancel";
    if (replies.length === 0 && !isSilent && closeCode === undefined) return `frame ${sent.type}: no answer to ${sent.name}`;
    return undefined;
  }

  /** Applies one frame of the server. What gets took is collected, since it can be told only after the put that it came from. */
  #takeFrame(frame: ReceivedFrame, sent: SentFrame | undefined, taken: ShownMessage[]): string | undefined {
    this.#tally.count("server frames", frame.type);
    switch (frame.type) {
      case "wait":
      case "room":
        this.#waiting.add(Number(frame.id));
        return undefined;
      case "got":
        this.#waiting.delete(Number(frame.id));
        taken.push(...(frame["messages"] as ShownMessage[]));
        return undefined;
      case "put-ok":
        this.#waiting.delete(Number(frame.id));
        if (sent === undefined) return "put-ok without a put";
        return this.#model.append(expectedOfFrame(String(sent.data)), frame as unknown as PutReply);
      case "problem":
        return this.#takeProblem(frame, sent);
      case "welcome":
      case "stats":
        return undefined;
      default:
        return `unknown frame ${frame.type}`;
    }
  }

  #takeProblem(frame: ReceivedFrame, sent: SentFrame | undefined): string | undefined {
    const verdict = judgeProblem(frame["problem"] as Record<string, unknown> | undefined);
    if (verdict.type !== "refused")
      return `frame ${sent?.type ?? "?"}: ${verdict.type === "wrong" ? verdict.reason : "no problem"}`;
    this.#tally.count("problem frames", verdict.kind);
    // A request with this id may still wait: it was the later one that was refused.
    if (verdict.kind !== "request-in-use" && verdict.kind !== "invalid-request") this.#waiting.delete(Number(frame.inReplyTo));
    const isForEarlier =
      sent === undefined || (frame.inReplyTo !== undefined && frame.inReplyTo !== parseObject(String(sent.data))?.["id"]);
    if (isForEarlier) return undefined;
    if (sent.kind !== undefined && sent.kind !== verdict.kind)
      return `frame ${sent.type}: ${verdict.kind} instead of ${sent.kind} for ${sent.name}`;
    const isFair = !sent.isValid || isRefusalFair(verdict);
    return isFair ? undefined : `frame ${sent.type}: refused a valid frame: ${String(verdict.problem["detail"])}`;
  }

  #checkClose({ answer, closeCode }: Collected, sent: SentFrame | undefined): string | undefined {
    if (answer !== undefined) return undefined;
    this.#socket = undefined;
    this.#waiting.clear();
    if (closeCode === undefined) return `frame ${sent?.type ?? "?"}: the socket fell silent`;
    this.#tally.count("close codes", String(closeCode));
    const isVersion = closeCode === 4400 && parseObject(String(sent?.data ?? ""))?.["type"] === "hello";
    return isVersion ? undefined : `frame ${sent?.type ?? "?"}: the socket was closed with ${closeCode}`;
  }

  #checkFence(answer: ReceivedFrame | undefined): string | undefined {
    if (answer === undefined) return "the fence was not answered";
    if (answer.type === "stats") return this.#model.checkDescription(answer["stats"] as ChannelDescription);
    const verdict = judgeProblem(answer["problem"] as Record<string, unknown> | undefined);
    if (verdict.type !== "refused") return "the fence was answered wrongly";
    return this.#model.checkGone(verdict.kind, verdict.problem);
  }

  async #sendBeforeHello(): Promise<void> {
    const socket = await HostileSocket.open(this.#options.port, this.channel, false);
    const types = ["put", "put-batch", "reserve", "get", "cancel", "stats"];
    const context = { random: this.#random, model: this.#model, freshId: 1, usedIds: [] };
    for (const type of types) socket.send(JSON.stringify(buildFrame(type, context)));
    const { frames, answer } = await socket.greet();
    const isRefused =
      frames.length === types.length && frames.every((frame) => frame.type === "problem" && frame.inReplyTo === 1);
    if (!isRefused) this.#violate(`frames before hello were answered with ${JSON.stringify(frames).slice(0, 300)}`);
    if (answer === undefined) this.#violate("no welcome after frames that came before hello");
    await socket.drop();
  }

  async #sendForeignVersion(): Promise<void> {
    const socket = await HostileSocket.open(this.#options.port, this.channel, false);
    socket.send(JSON.stringify({ type: "hello", versions: [7, 65_535] }));
    // What follows is not read any more.
    socket.send(JSON.stringify({ type: "put", id: 1, text: "too late" }));
    const { frames, closeCode } = await socket.untilClosed();
    const kind = (frames[0]?.["problem"] as Record<string, unknown> | undefined)?.["kind"];
    if (closeCode !== 4400 || frames.length !== 1 || kind !== "unsupported-version") {
      this.#violate(`a foreign version was answered with ${JSON.stringify(frames)} and ${closeCode ?? "no close"}`);
    }
    if (closeCode !== undefined) this.#tally.count("close codes", String(closeCode));
    await socket.drop();
  }

  /** 70 gets that can not be served yet; then the connection is cut, and none of them may take anything later. */
  async #waitTooOften(): Promise<void> {
    const { description, state } = this.#model;
    const min = Math.min(description?.limits.maxMessages ?? 0, LIMITS.batchMessagesMax);
    if (state !== "open" || min <= this.#model.messages.size + 1) return;
    const socket = await HostileSocket.open(this.#options.port, this.channel, true);
    for (let id = 1; id <= 70; id++) socket.send(JSON.stringify({ type: "get", id, min, max: min, waitMs: 300_000 }));
    const { frames } = await socket.fence();
    const kinds = frames.flatMap((frame) =>
      frame["problem"] === undefined ? [] : [(frame["problem"] as { kind: string }).kind],
    );
    for (const kind of kinds) this.#tally.count("problem frames", kind);
    if (frames.length !== 70 || kinds.some((kind) => kind !== "too-many-waiters") || kinds.length !== 6) {
      this.#violate(`70 waiting gets were answered with ${frames.length} frames, ${kinds.length} problems`);
    }
    // An answered request after the cut shows that the object knows of it.
    for (let id = 1; id <= 70; id++) socket.send(JSON.stringify({ type: "cancel", id }));
    await socket.fence();
    await socket.drop();
  }

  async #sendFragments(): Promise<void> {
    const socket = await HostileSocket.open(this.#options.port, this.channel, true);
    const text = JSON.stringify({ type: "cancel", id: 1 });
    for (const character of text.slice(0, -1)) socket.send(character, { fin: false });
    socket.send(text.slice(-1));
    const { frames, answer } = await socket.fence();
    const problems = frames.filter((frame) => (frame["problem"] as { kind?: string } | undefined)?.kind === "invalid-request");
    if (answer === undefined || problems.length > 0) this.#violate("a frame in fragments was not understood");
    await socket.drop();
  }

  async #openSocket(): Promise<HostileSocket> {
    if (this.#socket?.isOpen !== true) {
      this.#waiting.clear();
      this.#socket = await HostileSocket.open(this.#options.port, this.channel, true);
    }
    return this.#socket;
  }

  #violate(what: string): void {
    this.#tally.violate(what, this.#sent);
  }

  /** After a mistake the model knows nothing any more: goes on with a channel of another name. */
  async #fail(what: string): Promise<void> {
    this.#violate(what);
    this.#generation += 1;
    this.#model = new ChannelModel();
    this.#wire.close();
    await this.#socket?.drop();
    this.#socket = undefined;
    this.#waiting.clear();
  }
}

interface Page {
  readonly messages: readonly ShownMessage[];
  readonly next: number | null;
}

function readSpec(path: string): RequestSpec {
  return { operationId: "readMessage", method: "GET", path, query: [], headers: [], framing: "none" };
}

interface SentFrame extends FrameMutation {
  readonly type: string;
  readonly isValid: boolean;
}

interface Refused {
  readonly kind: string;
  readonly problem: Readonly<Record<string, unknown>>;
}

/** Whether a valid request can be refused like this. Settings can be valid for themselves and not beside those that are there. */
function isRefusalFair({ kind, problem }: Refused): boolean {
  if (STATE_KINDS.has(kind)) return true;
  const errors = problem["errors"] as { pointer: string }[] | undefined;
  return kind === "invalid-request" && errors?.every(({ pointer }) => pointer.startsWith("/growth/")) === true;
}

/** The messages of an accepted put. */
function expectedOf(spec: RequestSpec): ExpectedMessage[] {
  if (spec.operationId === "putMessage") return [expectRequest(spec)];
  return formsOf(parseObject(String(spec.body))?.["messages"]).map(expectJsonForm);
}

function expectedOfFrame(text: string): ExpectedMessage[] {
  const frame = parseObject(text) ?? {};
  return frame["type"] === "put" ? [expectJsonForm(frame)] : formsOf(frame["messages"]).map(expectJsonForm);
}

function formsOf(messages: unknown): MessageForm[] {
  return Array.isArray(messages) ? (messages as MessageForm[]) : [];
}
