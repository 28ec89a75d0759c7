// Messages from everywhere for readers everywhere, in a time of its own: who gets what, how long it waits, and how much stays where it came from.
import { MinHeap } from "../../../src/base/min-heap.ts";
import { type Colo, distanceKm } from "../../../src/protocol/colos.ts";
import type { Place } from "../../../src/protocol/place.ts";
import type { RoutingSettings } from "../../../src/channel/routing/routing-settings.ts";
import type { Random } from "../random.ts";
import { Dispatcher, type Message, type Sent } from "./dispatcher.ts";

export interface WorldColo {
  readonly colo: Colo;
  /** Its part of all messages, against the weights of the others. */
  readonly weight: number;
  readonly readers: number;
  readonly slotsOfReader: number;
}

export interface WorldPlan {
  readonly colos: readonly WorldColo[];
  readonly settings: RoutingSettings;
  readonly messages: number;
  /** Part of all slots that is in use on average, as far as work takes them. */
  readonly load: number;
  /** How long a reader works on a message. */
  readonly workMs: number;
  /** Where the channel is; without it nothing is on the way for any time. */
  readonly channel?: Colo;
}

export interface WorldResult {
  readonly messages: number;
  /** Messages that a reader in the colo of their origin got. */
  readonly stayed: number;
  /** Messages that went elsewhere although a reader in their colo could have had them: there must be none. */
  readonly leftThoughFree: number;
  /** From when the channel has a message to when it is sent, in ms, ascending; of all messages. */
  readonly waitsMs: Float64Array;
  /** From the origin over the channel to the reader. */
  readonly deliveriesMs: Float64Array;
  /** Kilometres between the origin of a message and its reader, on average. */
  readonly apartKm: number;
  /** 1 where all readers got as much for each slot, 1/n where one of n got all (Jain). */
  readonly fairness: number;
}

/** Light in glass. */
export const KM_PER_MS = (299_792.458 * 2) / 3 / 1000;
/** What a frame costs on a socket beside its way, in ms: the most that was measured, of 3 to 14 µs. */
const SEND_MS = 0.014;

type Event = { readonly atMs: number } & (
  | { readonly type: "put"; readonly colo: number }
  | { readonly type: "arrives"; readonly colo: number; readonly bornMs: number }
  | { readonly type: "settled"; readonly message: string }
  | { readonly type: "wake" }
);

interface WorldReader {
  readonly colo: number;
  got: number;
}

interface Travelling extends Message {
  readonly colo: number;
  readonly bornMs: number;
}

export class World {
  readonly #plan: WorldPlan;
  readonly #random: Random;
  readonly #dispatcher: Dispatcher;
  readonly #events = new MinHeap<Event>((a, b) => a.atMs < b.atMs);
  readonly #readers = new Map<string, WorldReader>();
  readonly #holders = new Map<string, WorldReader>();
  /** By colo, counted beside the table that is tested. */
  readonly #freeSlots: number[];
  readonly #ratesPerMs: readonly number[];
  readonly #waitsMs: number[] = [];
  readonly #deliveriesMs: number[] = [];
  #born = 0;
  #arrived = 0;
  #stayed = 0;
  #leftThoughFree = 0;
  #apartKm = 0;
  #wakeAtMs = Number.POSITIVE_INFINITY;

  constructor(plan: WorldPlan, random: Random) {
    this.#plan = plan;
    this.#random = random;
    this.#dispatcher = new Dispatcher({ settings: plan.settings, draw32: () => random.draw32() });
    this.#freeSlots = plan.colos.map(({ readers, slotsOfReader }) => readers * slotsOfReader);
    const slots = this.#freeSlots.reduce((sum, one) => sum + one, 0);
    const weights = plan.colos.reduce((sum, { weight }) => sum + weight, 0);
    this.#ratesPerMs = plan.colos.map(({ weight }) => ((slots / plan.workMs) * plan.load * weight) / weights);
    for (const [index, one] of plan.colos.entries()) {
      for (let reader = 0; reader < one.readers; reader++) this.#join(`${one.colo.code}-${reader}`, index);
    }
  }

  run(): WorldResult {
    for (const index of this.#plan.colos.keys()) this.#planPut(index, 0);
    for (let event = this.#events.pop(); event !== undefined; event = this.#events.pop()) this.#happen(event);
    const { messages } = this.#plan;
    return {
      messages: this.#waitsMs.length,
      stayed: this.#stayed,
      leftThoughFree: this.#leftThoughFree,
      waitsMs: Float64Array.from(this.#waitsMs).sort(),
      deliveriesMs: Float64Array.from(this.#deliveriesMs).sort(),
      apartKm: this.#apartKm / messages,
      fairness: this.#fairness(),
    };
  }

  #join(id: string, index: number): void {
    const one = this.#plan.colos[index];
    if (one === undefined) return;
    this.#dispatcher.join(id, placeOf(one.colo), one.slotsOfReader);
    this.#readers.set(id, { colo: index, got: 0 });
  }

  #happen(event: Event): void {
    const { atMs } = event;
    if (event.type === "put") {
      if (this.#born === this.#plan.messages) return;
      this.#born += 1;
      this.#planPut(event.colo, atMs);
      this.#events.push({ type: "arrives", colo: event.colo, bornMs: atMs, atMs: atMs + this.#travelMs(event.colo) });
      return;
    }
    if (event.type === "arrives") this.#arrive(event);
    else if (event.type === "settled") this.#settle(event.message);
    else this.#wakeAtMs = Number.POSITIVE_INFINITY;
    this.#send(atMs);
  }

  /** Arrivals of a colo are a Poisson process, until there are enough. */
  #planPut(colo: number, nowMs: number): void {
    const rate = this.#ratesPerMs[colo] ?? 0;
    const uniform = (this.#random.draw32() + 1) / 2 ** 32;
    this.#events.push({ type: "put", colo, atMs: nowMs - Math.log(uniform) / rate });
  }

  #arrive({ colo, bornMs, atMs }: Event & { readonly type: "arrives" }): void {
    this.#arrived += 1;
    const { settings, channel } = this.#plan;
    const origin = placeOf(settings.locality === "channel" && channel !== undefined ? channel : this.#coloAt(colo));
    const message: Travelling = { id: `${this.#arrived}`, origin, createdMs: atMs, colo, bornMs };
    this.#note(this.#dispatcher.put(message, atMs).sent, atMs);
  }

  #settle(message: string): void {
    const reader = this.#holders.get(message);
    this.#holders.delete(message);
    if (reader !== undefined) this.#addFree(reader.colo, 1);
    this.#dispatcher.settle(message);
  }

  #send(nowMs: number): void {
    const { sent, wakeAtMs } = this.#dispatcher.run(nowMs);
    this.#note(sent, nowMs);
    if (wakeAtMs === undefined || wakeAtMs >= this.#wakeAtMs) return;
    this.#wakeAtMs = wakeAtMs;
    this.#events.push({ type: "wake", atMs: wakeAtMs });
  }

  #note(sent: readonly Sent[], nowMs: number): void {
    for (const { message, to } of sent) {
      const { colo, bornMs } = message as Travelling;
      const reader = this.#readers.get(to.reader);
      if (reader === undefined) continue;
      if (reader.colo === colo) this.#stayed += 1;
      else if ((this.#freeSlots[colo] ?? 0) > 0) this.#leftThoughFree += 1;
      this.#addFree(reader.colo, -1);
      reader.got += 1;
      this.#holders.set(message.id, reader);
      const travelMs = this.#travelMs(reader.colo);
      this.#waitsMs.push(nowMs - message.createdMs);
      this.#deliveriesMs.push(nowMs + travelMs - bornMs);
      this.#apartKm += distanceKm(this.#coloAt(colo), this.#coloAt(reader.colo));
      this.#events.push({ type: "settled", message: message.id, atMs: nowMs + 2 * travelMs + this.#plan.workMs });
    }
  }

  #addFree(colo: number, slots: number): void {
    this.#freeSlots[colo] = (this.#freeSlots[colo] ?? 0) + slots;
  }

  #travelMs(colo: number): number {
    const { channel } = this.#plan;
    return channel === undefined ? 0 : distanceKm(this.#coloAt(colo), channel) / KM_PER_MS + SEND_MS;
  }

  #coloAt(index: number): Colo {
    const one = this.#plan.colos[index];
    if (one === undefined) throw new Error(`No colo ${index}`);
    return one.colo;
  }

  #fairness(): number {
    const shares = [...this.#readers.values()].map(({ got, colo }) => got / (this.#plan.colos[colo]?.slotsOfReader ?? 1));
    const sum = shares.reduce((total, share) => total + share, 0);
    const squares = shares.reduce((total, share) => total + share ** 2, 0);
    return sum ** 2 / (shares.length * squares);
  }
}

function placeOf({ code: colo, region, continent, country }: Colo): Place {
  return { colo, region, continent, country };
}

/** The value below which the given part of ascending ones lies. */
export function quantileOf(ascending: Float64Array, part: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * part))] ?? Number.NaN;
}
