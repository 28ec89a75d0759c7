// One channel under attack: sends a request or a frame, judges the answer, applies what was accepted to the model, and compares.
// Everything in a lane happens one after another, so that the model knows precisely what the channel has to hold.
import { setTimeout as sleep } from "node:timers/promises";
import type { ChannelDescription } from "../../../src/protocol/description.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { Route } from "../../../src/protocol/route.ts";
import { compareChannel, readSpec } from "./comparison.ts";
import { randomSettings } from "./content.ts";
import { conditionsOf, conditionsOfFrame, type Conditions } from "./dedup-model.ts";
import type {
  ExpectedMessage,
  MessageForm,
  PutReply,
  RefusedPartJson,
  SettledJson,
  SettleJson,
  Taking,
} from "./delivery-forms.ts";
import type { DeliveryModel } from "./delivery-model.ts";
import { BUILT_FRAMES, buildFrame, mutateFrame, type FrameMutation } from "./frames.ts";
import { HostileSocket, type Collected, type ReceivedFrame } from "./hostile-socket.ts";
import { mutateRequest } from "./http-mutations.ts";
import type { RequestMutation } from "./mutator.ts";
import { buildRequest } from "./http-requests.ts";
import { ChannelModel, expectJsonForm, expectRequest } from "./model.ts";
import { applyReply } from "./reply-effects.ts";
import { arrivingBody, formatRequest, isCut, type RequestSpec } from "./request.ts";
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
  "unknown-group",
  "unknown-redrive",
  "unknown-snapshot",
  "unknown-restore",
  "channel-exists",
  "snapshot-invalid",
  "too-many-snapshots",
  "wrong-retention",
  "checkpoint-conflict",
  "unknown-scheduled",
  "settings-conflict",
  "message-too-large",
  "batch-too-large",
  "too-many-waiters",
  "too-many-subscriptions",
  "request-in-use",
  "unknown-subscription",
  "producer-sequence-gap",
  "stale-producer-epoch",
  "producer-sequence-reused",
  "idempotency-key-reused",
  "offset-conflict",
]);

/** A lease that ends sooner is given back before the next step, so that time decides nothing. */
const LEASE_MARGIN_MS = 12_000;

/** How a connection that holds leases ends, in turn. */
const CONNECTION_ENDINGS = ["disconnected", "detached", "cut off"] as const;

/** What comes twice as often as the one that takes more than a second. */
const SCENARIOS = [
  "before-hello",
  "foreign-version",
  "too-many-waiters",
  "fragmented-frame",
  "lease-connection",
  "key-order",
  "quarantine",
  "repeated-put",
] as const;
type Scenario = (typeof SCENARIOS)[number] | "lease-expiry";

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
  readonly #subscribed = new Set<number>();
  /** Pulls whose leases end with the lane's socket. */
  readonly #bound = new Set<number>();
  readonly #scenarios: Generator<Scenario, never>;
  #nextId = 1;
  #endings = 0;
  /** What was sent last, for reports. */
  #sent = "";

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#random = options.random;
    this.#scenarios = this.#random.shuffle([...SCENARIOS, ...SCENARIOS, "lease-expiry"] as const);
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
      ? mutateRequest(spec, route, this.#random, this.#model.delivery)
      : { name: "valid", spec, mustRefuse: false };
    this.#tally.count("routes", route.operationId);
    this.#tally.count(isHostile ? "hostile routes" : "valid routes", route.operationId);
    if (isHostile) this.#tally.count("request mutations", mutation.name);
    await this.#perform(mutation, !isHostile);
  }

  /** One frame on the lane's socket, valid or with one thing wrong. */
  async frame(type: string, isHostile: boolean): Promise<void> {
    await this.#prepare();
    const ids = { freshId: this.#nextId++, usedIds: [...this.#waiting], subscribedIds: [...this.#subscribed] };
    const context = { random: this.#random, model: this.#model, ...ids };
    const valid = buildFrame(type, context);
    const mutation: FrameMutation = isHostile
      ? mutateFrame(valid, context)
      : { name: "valid", data: JSON.stringify(valid), mustRefuse: false };
    this.#tally.count("frames", type);
    this.#tally.count(isHostile ? "hostile frames" : "valid frames", type);
    if (isHostile) this.#tally.count("frame mutations", mutation.name);
    this.#sent = `${mutation.name} of frame ${type}: ${String(mutation.data).slice(0, 200)}`;
    const socket = await this.#openSocket();
    const sent = parseObject(String(mutation.data));
    if (sent?.["type"] === "pull" && sent["detached"] !== true) this.#bound.add(Number(sent["id"]));
    socket.send(mutation.data);
    await this.#settle({ ...mutation, type, isValid: !isHostile });
  }

  /** Frames before hello, foreign versions, too many waiters, broken WebSocket: each on a connection of its own. */
  async scenario(): Promise<void> {
    await this.#prepare();
    const scenarios: Readonly<Record<Scenario, () => Promise<void>>> = {
      "before-hello": () => this.#sendBeforeHello(),
      "foreign-version": () => this.#sendForeignVersion(),
      "too-many-waiters": () => this.#waitTooOften(),
      "fragmented-frame": () => this.#sendFragments(),
      "lease-expiry": () => this.#letLeasesExpire(),
      "lease-connection": () => this.#endConnectionWithLeases(),
      "key-order": () => this.#breakKeyOrder(),
      quarantine: () => this.#quarantine(),
      "repeated-put": () => this.#putAgain(),
    };
    const name = this.#scenarios.next().value;
    this.#tally.count("scenarios", name);
    this.#sent = `scenario ${name}`;
    await scenarios[name]();
    await this.#settle(undefined);
  }

  /** Everything that the channel holds against the model. */
  async compareAll(): Promise<void> {
    this.#sent = `the final comparison of ${this.channel}`;
    if (this.#waiting.size > 0) await this.#cancelAll();
    await this.#settle(undefined);
    const { state } = this.#model;
    if (state === "absent" || state === "deleted") return;
    await compareChannel({
      model: this.#model,
      tally: this.#tally,
      get: (path, query) => this.#get(path, query),
      violate: (what) => this.#violate(what),
    });
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
    if (this.#waiting.size > 0 && this.#random.chance(0.6)) await this.#cancelAll();
    const soonMs = Date.now() + LEASE_MARGIN_MS;
    const ending = this.#model.delivery.leases.filter(({ untilMs }) => untilMs < soonMs);
    if (ending.length > 0) await this.#settleLeases({ releases: ending.map(({ id }) => ({ leaseId: id })) });
    const { state, description } = this.#model;
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

  /** A valid request of our own to what is below the channel. */
  async #post(operationId: string, rest: string, document: object, headers: RequestSpec["headers"] = []): Promise<void> {
    const spec: RequestSpec = {
      operationId,
      method: "POST",
      path: `/v1/channels/${this.channel}${rest}`,
      query: [],
      headers: [["Content-Type", "application/json"], ...headers],
      framing: "length",
      body: Buffer.from(JSON.stringify(document)),
    };
    await this.#perform({ name: "helper", spec, mustRefuse: false }, true);
  }

  #settleLeases(call: SettleJson): Promise<void> {
    return this.#post("settleMessages", "/messages/settle", call);
  }

  async #cancelAll(): Promise<void> {
    const socket = await this.#openSocket();
    for (const id of this.#waiting) socket.send(JSON.stringify({ type: "cancel", id }));
    this.#sent = "cancel of all that wait";
    await this.#settle(undefined);
    this.#waiting.clear();
  }

  async #perform({ name, spec, mustRefuse, isTransport = false, kind }: RequestMutation, isValid: boolean): Promise<void> {
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
    const misjudged = verdict.type === "refused" ? this.#checkRefusal(verdict.problem, String(arrivingBody(spec))) : undefined;
    if (misjudged !== undefined) return this.#fail(`${spec.operationId}: ${misjudged}`);
    if (verdict.type === "refused" && kind !== undefined && verdict.kind !== kind && !STATE_KINDS.has(verdict.kind)) {
      return this.#fail(`${spec.operationId}: ${verdict.kind} instead of ${kind} for ${name}`);
    }
    const isServed = verdict.type === "accepted" && typeof answer !== "string" && !isHead;
    const takings: Taking[] = [];
    const mistake = isServed ? applyReply(this.#model, spec, answer, { takings, expected: () => expectedOf(spec) }) : undefined;
    if (mistake !== undefined) return this.#fail(`${spec.operationId}: ${mistake}`);
    if (isServed) this.#countDelivery(spec.operationId, String(answer.body));
    if (isServed && spec.operationId.startsWith("put")) {
      this.#countPut(parseObject(String(answer.body)) as unknown as PutReply, conditionsOf(spec));
    }
    await this.#settle(undefined, takings);
  }

  /** Takes in everything that the socket was told, and compares the channel with the model. */
  async #settle(sent: SentFrame | undefined, takenByRequest: readonly Taking[] = []): Promise<void> {
    const socket = await this.#openSocket();
    const collected = await socket.fence();
    const takings = [...takenByRequest];
    let mistake = sent === undefined ? undefined : this.#findUnanswered(sent, collected);
    for (const frame of collected.frames) mistake ??= this.#takeFrame(frame, sent, takings);
    for (const { messages } of takings) {
      const leased = messages.filter(({ leaseId }) => leaseId !== undefined);
      for (const { redelivered } of leased) this.#tally.count("delivery", redelivered ? "redelivered" : "leased");
      for (const _ of leased.slice(0, 1)) this.#tally.count("delivery", "pulls with leases");
    }
    mistake ??= this.#model.take(takings) ?? this.#checkClose(collected, sent);
    if (mistake !== undefined) return this.#fail(mistake);
    const answer = collected.answer ?? (await (await this.#openSocket()).fence()).answer;
    mistake = this.#checkFence(answer);
    if (mistake !== undefined) await this.#fail(mistake);
  }

  #findUnanswered(sent: SentFrame, { frames, closeCode }: Collected): string | undefined {
    const document = parseObject(String(sent.data));
    const id = document === undefined ? beginningId(String(sent.data)) : document["id"];
    const isReply = (frame: ReceivedFrame): boolean =>
      frame.type === "problem"
        ? frame.inReplyTo === undefined || frame.inReplyTo === id
        : frame.type === "welcome" || frame.id === id;
    const replies = frames.filter(isReply);
    const problem = replies.find((frame) => frame.type === "problem");
    if (sent.mustRefuse && problem === undefined && closeCode === undefined) return `frame ${sent.type}: accepted ${sent.name}`;
    const isSilent = ["cancel", "credit", "echo"].includes(String(document?.["type"]));
    if (replies.length === 0 && !isSilent && closeCode === undefined) return `frame ${sent.type}: no answer to ${sent.name}`;
    return undefined;
  }

  /** Applies one frame of the server. What gets took is collected, since it can be told only after the put that it came from. */
  #takeFrame(frame: ReceivedFrame, sent: SentFrame | undefined, takings: Taking[]): string | undefined {
    this.#tally.count("server frames", frame.type);
    switch (frame.type) {
      case "wait":
      case "room":
        this.#waiting.add(Number(frame.id));
        return undefined;
      case "got":
        this.#waiting.delete(Number(frame.id));
        takings.push({ ...(frame as unknown as Taking), isBound: this.#bound.has(Number(frame.id)) });
        return undefined;
      case "settled":
        if (sent === undefined) return "settled without a settle";
        this.#countDelivery("settleMessages", JSON.stringify(frame));
        return this.#model.settle(parseObject(String(sent.data)) as SettleJson, frame as unknown as SettledJson);
      case "put-ok":
        this.#waiting.delete(Number(frame.id));
        if (sent === undefined) return "put-ok without a put";
        return this.#append(String(sent.data), frame as unknown as PutReply);
      case "problem":
        return this.#takeProblem(frame, sent);
      case "subscribed":
      case "pressure":
      case "present":
        this.#subscribed.add(Number(frame.id));
        return undefined;
      case "ended":
        this.#subscribed.delete(Number(frame.id));
        return undefined;
      case "checkpoint":
      case "checkpoint-written":
      case "checkpoint-deleted":
      case "checkpoints":
        if (sent === undefined) return `${frame.type} without a request`;
        return this.#model.applyCheckpointFrame(parseObject(String(sent.data)) ?? {}, frame);
      case "welcome":
      case "stats":
      case "deliver":
      case "presence":
        return undefined;
      default:
        return `unknown frame ${frame.type}`;
    }
  }

  #append(text: string, reply: PutReply): string | undefined {
    const conditions = conditionsOfFrame(text);
    this.#countPut(reply, conditions);
    return this.#model.append(expectedOfFrame(text), reply, conditions);
  }

  #countPut({ duplicate, offset, scheduled = [] }: PutReply, { producer, expectedOffset }: Conditions): void {
    if (duplicate === true) this.#tally.count("puts", producer === undefined ? "repeated keys" : "repeated numbers");
    else if (producer !== undefined) this.#tally.count("puts", "numbered");
    if (expectedOffset !== undefined && offset === expectedOffset) this.#tally.count("puts", "at the expected offset");
    for (const _ of scheduled) this.#tally.count("puts", "scheduled messages");
  }

  /** A refusal tells what is there. `sent` is the document of the request. */
  #checkRefusal(problem: Readonly<Record<string, unknown>>, sent: string): string | undefined {
    const { checkpoints, dedup, nextOffset } = this.#model;
    if (problem["kind"] !== "settle-refused") {
      return checkpoints.checkRefusal(problem) ?? dedup.checkRefusal(problem, nextOffset);
    }
    const parts = problem["refused"] as RefusedPartJson[];
    for (const part of parts) this.#tally.count("refused riders", part.problem.kind);
    return this.#model.checkSettleRefused(parseObject(sent) as SettleJson, parts);
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
    const misjudged = this.#checkRefusal(verdict.problem, String(sent.data));
    if (misjudged !== undefined) return `frame ${sent.type}: ${misjudged}`;
    const isFair = !sent.isValid || isRefusalFair(verdict);
    return isFair ? undefined : `frame ${sent.type}: refused a valid frame: ${String(verdict.problem["detail"])}`;
  }

  #checkClose({ answer, closeCode }: Collected, sent: SentFrame | undefined): string | undefined {
    if (answer !== undefined) return undefined;
    this.#socket = undefined;
    this.#waiting.clear();
    this.#model.delivery.disconnect();
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
    const types = [...BUILT_FRAMES].filter((type) => type !== "hello" && type !== "echo");
    const context = { random: this.#random, model: this.#model, freshId: 1, usedIds: [], subscribedIds: [] };
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

  /** Leases of a second: afterwards the messages are ready again, dead or quarantined, and the ids are refused. */
  async #letLeasesExpire(): Promise<void> {
    const leases = await this.#pullFor(LIMITS.leaseMsMin);
    const untilMs = Math.max(0, ...leases.map((lease) => lease.untilMs));
    if (leases.length === 0) return;
    await sleep(untilMs - Date.now() + 20);
    this.#model.delivery.expire(untilMs);
    for (const _ of leases) this.#tally.count("delivery", "expired");
    await this.#settle(undefined);
    await this.#settleLeases({ acks: leases.map(toEntry) });
  }

  /** Pulls a few messages, and returns their leases. */
  async #pullFor(leaseMs: number): Promise<DeliveryModel["leases"]> {
    if (this.#waiting.size > 0) await this.#cancelAll();
    const before = new Set(this.#model.delivery.issued.keys());
    await this.#post("pullMessages", "/messages/pull", { max: 8, leaseMs });
    return this.#model.delivery.leases.filter(({ id }) => !before.has(id));
  }

  /** A later message of a key is acked before an earlier one, and loses its lease with it. */
  async #breakKeyOrder(): Promise<void> {
    const messages = ["a", "b", "c"].map((text) => ({ key: "line", text }));
    await this.#post("putBatch", "/messages/batch", { messages });
    const leases = await this.#pullFor(LIMITS.leaseMsMax);
    await this.#settleLeases({ rejects: leases.slice(0, -3).map(toEntry), acks: leases.slice(-2).map(toEntry) });
    const [first, ...later] = this.#model.delivery.leases.filter(({ id }) => leases.some((lease) => lease.id === id));
    if (first === undefined) return;
    const isRetried = this.#random.chance(0.3);
    await this.#settleLeases(isRetried ? { retries: [{ leaseId: first.id, delayMs: 0 }] } : { releases: [toEntry(first)] });
    await this.#settleLeases({
      acks: [toEntry(first)],
      extends: later.map(({ id }) => ({ leaseId: id, leaseMs: LIMITS.leaseMsMax })),
    });
  }

  /** Messages that use up their only attempt stay and stop their keys until somebody decides. */
  async #quarantine(): Promise<void> {
    await this.#help("changeChannel", "PATCH", { state: "open", delivery: { maxAttempts: 1, onExhausted: "quarantine" } });
    await this.#post("putBatch", "/messages/batch", { messages: [{ text: "poison" }, { text: "poison", key: "poisoned" }] });
    const leases = await this.#pullFor(LIMITS.leaseMsMax);
    await this.#settleLeases({ retries: leases.map(toEntry) });
    for (const offset of this.#model.delivery.quarantined) {
      const isReleased = this.#random.chance(0.5);
      if (isReleased) await this.#post("releaseQuarantine", "/quarantine/release", { offset });
      else await this.#post("dropQuarantine", "/quarantine/drop", { offset });
    }
  }

  /** The same number and the same key again: with the same messages, with others, too far ahead, in an epoch that is over. */
  async #putAgain(): Promise<void> {
    const id = `again-${this.#nextId++}`;
    const put = (text: string, headers: RequestSpec["headers"]): Promise<void> =>
      this.#post("putBatch", "/messages/batch", { messages: [{ text }, { text, delayMs: LIMITS.delayMsMax }] }, headers);
    const numbered = (text: string, epoch: number, seq: number): Promise<void> =>
      put(text, [
        ["Producer-Id", id],
        ["Producer-Epoch", String(epoch)],
        ["Producer-Seq", String(seq)],
      ]);
    await numbered("first", 1, 1);
    await numbered("first", 1, 1);
    await numbered("another", 1, 1);
    await numbered("later", 1, 3);
    await numbered("earlier", 0, 1);
    await put("named", [["Idempotency-Key", id]]);
    await put("named", [["Idempotency-Key", id]]);
    await put("named otherwise", [["Idempotency-Key", id]]);
    const socket = await this.#openSocket();
    socket.send(JSON.stringify({ type: "put", id: this.#nextId++, text: "elsewhere", expectedOffset: 2 ** 47 }));
  }

  /** Leases of a connection of their own: given back when it closes; after a cut somebody else settles them in the grace. */
  async #endConnectionWithLeases(): Promise<void> {
    if (this.#waiting.size > 0) await this.#cancelAll();
    await this.#post("putBatch", "/messages/batch", { messages: [{ text: "held" }, { json: "held" }] });
    const socket = await HostileSocket.open(this.#options.port, this.channel, true);
    const ending = CONNECTION_ENDINGS[this.#endings++ % CONNECTION_ENDINGS.length];
    const [isDetached, isClean] = [ending === "detached", ending !== "cut off"];
    const pull = { type: "pull", id: 1, max: 5, leaseMs: LIMITS.leaseMsMax, ...(isDetached && { detached: true }) };
    socket.send(JSON.stringify(pull));
    const got = (await socket.fence()).frames.find(({ type }) => type === "got");
    const taking = { ...(got as unknown as Taking | undefined), isBound: !isDetached };
    const mistake = got === undefined ? undefined : this.#model.take([taking as Taking]);
    if (mistake !== undefined) this.#violate(mistake);
    if (isClean) await socket.close();
    else await socket.drop();
    const acks = (taking.messages ?? []).flatMap(({ leaseId }) => (leaseId === undefined ? [] : [{ leaseId }]));
    for (const _ of acks) this.#tally.count("delivery", ending ?? "");
    const isOver = isClean && !isDetached;
    if (isOver) this.#model.delivery.disconnect(new Set(acks.map(({ leaseId }) => leaseId)));
    await this.#settle(undefined);
    await this.#settleLeases({ acks });
  }

  /** What settle calls and calls about dead letters and quarantine came to. */
  #countDelivery(operationId: string, text: string): void {
    const reply = parseObject(text) ?? {};
    if (operationId === "settleMessages") {
      const { refused, ...counts } = reply as unknown as SettledJson & Readonly<Record<string, unknown>>;
      for (const verb of ["acked", "retried", "extended", "rejected", "released"] as const) {
        for (let count = 0; count < counts[verb]; count++) this.#tally.count("settled", verb);
      }
      if (reply["checkpointVersion"] !== undefined) this.#tally.count("riders", "checkpoint");
      if (reply["putOffset"] !== undefined) this.#tally.count("riders", "puts");
      for (const { problem } of refused) this.#tally.count("refused entries", problem.cause ?? problem.kind);
    }
    if (operationId === "cancelScheduled") this.#tally.count("puts", "cancelled messages");
    const moved = Number(reply["moved"] ?? 0);
    for (let count = 0; count < moved; count++) this.#tally.count("moved", operationId);
  }

  async #openSocket(): Promise<HostileSocket> {
    if (this.#socket?.isOpen !== true) {
      this.#waiting.clear();
      this.#subscribed.clear();
      this.#bound.clear();
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

function toEntry({ id }: { readonly id: string }): { readonly leaseId: string } {
  return { leaseId: id };
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
  // The runtime for development has no jurisdictions.
  if (STATE_KINDS.has(kind) || kind === "settle-refused" || kind === "jurisdiction-unavailable") return true;
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

/** Of a frame that cannot be read: the id that it begins with, if it does as PROTOCOL.md says. */
function beginningId(text: string): number | undefined {
  const [, id] = /^\{"type":"[a-z-]+","id":(\d{1,15})[,}]/u.exec(text) ?? [];
  return id === undefined ? undefined : Number(id);
}
