// A group whose messages are routed, beside what has to be so: nothing is lost or handed out twice, keys keep their order, nothing goes farther than
// it has to, and nothing waits that could go. SPEC sections RD and LR.
import type { Effect, Origin } from "../../src/channel/operation.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { StrategyName } from "../../src/protocol/settings.ts";
import { formatSource } from "../../src/protocol/source.ts";
import { expectHolds } from "../simulation/failure.ts";
import { expectSame } from "../simulation/same.ts";
import { ChannelHarness, expectType, textMessage } from "./channel-harness.ts";
import { placeAt } from "./routed-members.ts";

const COLOS = ["FRA", "CDG", "WAW", "EWR", "SIN"] as const;
const KEYS = [undefined, undefined, "k", "l", "m"] as const;
const WAIT_MS = 20;

interface Message {
  readonly colo: string;
  readonly key: string | undefined;
  readonly putAtMs: number;
  holder: string | undefined;
  leaseId: string;
  isDone: boolean;
}

interface Member {
  readonly origin: Origin;
  readonly colo: string;
  credit: number;
}

/** What a step does, by numbers that are read as they are needed. */
export type Step = readonly [kind: number, a: number, b: number];

/** How far a colo is: 0 the same, then the same region, the same continent, anywhere. */
function rankOf(from: string, to: string): number {
  const [a, b] = [placeAt(from), placeAt(to)];
  if (a.colo === b.colo) return 0;
  if (a.region === b.region) return 1;
  return a.continent === b.continent ? 2 : 3;
}

export class RoutedWorld {
  readonly #channel: ChannelHarness;
  readonly #members = new Map<string, Member>();
  readonly #messages = new Map<string, Message>();
  /** What was sent since the last look. */
  readonly #sent: { readonly text: string; readonly taker: Member }[] = [];
  /** Members that released something: they may be paused. */
  readonly #refused = new Set<string>();
  #names = 0;

  constructor(strategy: StrategyName) {
    const settings = { delivery: { strategy, localityWaitMs: WAIT_MS, maxAttempts: -1 } };
    this.#channel = new ChannelHarness({ settings });
    for (const colo of COLOS.slice(0, 3)) this.#join(colo, 3);
  }

  step([kind, a, b]: Step): void {
    const members = [...this.#members];
    const [name, member] = members[a % Math.max(1, members.length)] ?? [];
    switch (kind) {
      case 0:
        this.#join(COLOS[a % COLOS.length] ?? "FRA", b % 5);
        break;
      case 1:
        if (members.length > 1 && name !== undefined) this.#leave(name);
        break;
      case 2:
      case 3:
        if (member !== undefined) this.#grant(member, 1 + (b % 4));
        break;
      case 4:
        this.#settle("acks", a, b);
        break;
      case 5:
        this.#settle("releases", a, b);
        break;
      case 6:
        this.#channel.tick(b % (2 * WAIT_MS));
        break;
      case 7:
        if (b % 3 === 0) this.#crash();
        else this.#channel.evict();
        // Who was paused is so no more.
        this.#channel.tick();
        break;
      default:
        this.#put(COLOS[a % COLOS.length] ?? "FRA", KEYS[b % KEYS.length], 1 + (kind % 3));
    }
    this.#hear();
    this.#expectSound();
  }

  /** Gives credit to everybody and acks what comes, until nothing is left or too long has passed. Returns what is left. */
  finish(): { readonly depth: number; readonly open: readonly string[] } {
    for (let round = 0; round < 200 && this.#open().length > 0; round++) {
      for (const member of this.#members.values()) if (member.credit < 50) this.#grant(member, 50);
      // Longer than any pause of a reader that refused.
      this.#channel.tick(LIMITS.refusalPauseMsMax);
      this.#hear();
      this.#expectSound();
      for (let each = 0; each < 100; each++) this.#settle("acks", 0, 0);
    }
    return { depth: this.#channel.describe().depth, open: this.#open() };
  }

  /** All connections are gone; what was leased over them is handed out again at the latest when the grace is over. */
  #crash(): void {
    this.#members.clear();
    this.#channel.crash();
    this.#channel.takeAnswers();
    // The grace begins when it is known that they are gone.
    this.#channel.tick();
    this.#channel.tick(LIMITS.resumeGraceMs);
    for (const message of this.#messages.values()) if (!message.isDone) message.holder = undefined;
    this.#refused.clear();
    for (const colo of COLOS.slice(0, 3)) this.#join(colo, 3);
  }

  #open(): string[] {
    return [...this.#messages].flatMap(([text, { isDone }]) => (isDone ? [] : [text]));
  }

  #join(colo: string, messages: number): void {
    const origin = { connection: this.#channel.connect(placeAt(colo)), request: 1 };
    const target = { type: "member", leaseMs: 3_600_000 } as const;
    this.#members.set(String(origin.connection), { origin, colo, credit: Math.max(1, messages) });
    const credit = { messages: Math.max(1, messages), bytes: 1_000_000 };
    expectType(this.#channel.apply({ type: "subscribe", target, credit }, origin), "subscribed");
    this.#hear();
  }

  #leave(name: string): void {
    const member = this.#members.get(name);
    if (member === undefined) return;
    this.#members.delete(name);
    for (const message of this.#messages.values()) if (message.holder === name && !message.isDone) message.holder = undefined;
    this.#channel.close(member.origin.connection);
  }

  #grant(member: Member, messages: number): void {
    member.credit += messages;
    const { connection, request } = member.origin;
    this.#channel.apply({ type: "credit", request, credit: { messages, bytes: 1_000 } }, { connection, request: 0 });
    this.#hear();
  }

  #put(colo: string, key: string | undefined, count: number): void {
    const texts = Array.from({ length: count }, () => `m${this.#names++}`);
    const putAtMs = this.#channel.nowMs;
    for (const text of texts) this.#messages.set(text, { colo, key, putAtMs, holder: undefined, leaseId: "", isDone: false });
    const messages = texts.map((text) => ({ ...textMessage(text), ...(key !== undefined && { key }) }));
    expectType(this.#channel.putMessages(messages, { source: formatSource("socket", placeAt(colo)) }), "put");
  }

  /** Of a key the first that is held, or the last for a release: others would be refused or end those behind them. */
  #settle(verb: "acks" | "releases", a: number, b: number): void {
    const held = [...this.#messages].filter(([, message]) => message.holder !== undefined && !message.isDone);
    const [, picked] = held[(a + b) % Math.max(1, held.length)] ?? [];
    if (picked === undefined) return;
    const ofKey = picked.key === undefined ? [picked] : held.map(([, one]) => one).filter(({ key }) => key === picked.key);
    const message = verb === "acks" ? ofKey[0] : ofKey.at(-1);
    if (message === undefined) return;
    if (verb === "releases" && message.holder !== undefined) this.#refused.add(message.holder);
    message.isDone = verb === "acks";
    message.holder = undefined;
    const { refused } = expectType(this.#channel.settle({ [verb]: [{ leaseId: message.leaseId }] }), "settled");
    expectSame(refused, [], "Refused entries");
  }

  #hear(): void {
    for (const effect of this.#channel.takeAnswers()) this.#note(effect);
    this.#expectNear();
  }

  #note({ connection, outcome }: Effect): void {
    // Nobody answers what it is asked for.
    if (outcome.type === "revoke") return;
    const name = String(connection);
    const { messages, granted } = expectType(outcome, "delivered");
    const member = this.#members.get(name);
    for (const [index, { body }] of messages.entries()) {
      const text = decodeUtf8(body) ?? "";
      const message = this.#messages.get(text);
      expectHolds(message !== undefined && !message.isDone, `${text} was put and is not acked`);
      if (message === undefined || member === undefined) continue;
      expectHolds(message.holder === undefined, `[G3] nobody holds ${text}`);
      message.holder = name;
      message.leaseId = granted?.leaseIds[index] ?? "";
      member.credit -= 1;
      expectHolds(member.credit >= 0, "[SB2] within the credit");
      this.#sent.push({ text, taker: member });
    }
  }

  /** Who was left with credit by the turn, and refused nothing, is not nearer to a message that somebody else was sent. */
  #expectNear(): void {
    const idle = [...this.#members].filter(([name, { credit }]) => credit > 0 && !this.#refused.has(name));
    for (const { text, taker } of this.#sent.splice(0)) {
      const message = this.#messages.get(text);
      if (message?.key !== undefined || message === undefined) continue;
      const nearer = idle.filter(([, { colo }]) => rankOf(message.colo, colo) < rankOf(message.colo, taker.colo));
      expectHolds(nearer.length === 0, `[LR6] ${text} goes to nobody but the nearest`);
    }
  }

  #expectSound(): void {
    const holders = new Map<string, string>();
    const open = [...this.#messages.values()].filter(({ isDone }) => !isDone);
    for (const { key, holder } of open) {
      if (key === undefined || holder === undefined) continue;
      expectHolds((holders.get(key) ?? holder) === holder, `[G5] all of ${key} is held by one`);
      holders.set(key, holder);
    }
    for (const key of ["k", "l", "m"]) {
      const held = open.filter((message) => message.key === key).map(({ holder }) => holder !== undefined);
      const firstFree = held.indexOf(false);
      expectHolds(held.lastIndexOf(true) < (firstFree === -1 ? held.length : firstFree), `[G5] ${key} in order`);
    }
    const { depth, delivery } = this.#channel.describe();
    expectSame(
      { depth, leased: delivery?.leased },
      {
        depth: open.length,
        leased: open.filter(({ holder }) => holder !== undefined).length,
      },
      "Depth and leases",
    );
  }
}
