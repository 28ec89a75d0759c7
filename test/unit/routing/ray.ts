// Ray Serve's tests of its request router in the words of this project: a replica is a reader, a request a message, a node a colo, an availability
// zone a region, a model a key, and what a replica still accepts its credit. Ray asks replicas how much they hold; here that is counted.
import type { Place } from "../../../src/protocol/place.ts";
import { ROUTING_DEFAULTS, type Area, type RoutingSettings } from "../../../src/channel/routing/routing-settings.ts";
import { Dispatcher, type DispatcherOptions, type Message } from "../../simulation/world/dispatcher.ts";
import { draws } from "./table.ts";

/** The router's own place, from which all messages come. */
export const HERE: Place = { colo: "NODE", region: "AZ" };
export const SAME_ZONE: Place = { colo: "OTHER", region: "AZ" };
export const ELSEWHERE: Place = { colo: "FAR", region: "FARZ" };

interface Preference {
  readonly name: string;
  readonly areas: readonly Area[];
}

/** The four settings under which Ray plays most of its tests. */
export const PREFERENCES: readonly Preference[] = [
  { name: "node and zone preferred", areas: ["colo", "region"] },
  { name: "node preferred", areas: ["colo"] },
  { name: "zone preferred", areas: ["region"] },
  { name: "nothing preferred", areas: [] },
];

/** What a replica of Ray's tests may hold. */
export const SLOTS = 10;

export class Ray {
  readonly dispatcher: Dispatcher;
  nowMs = 0;
  #messages = 0;

  /** Ray does not wait between its tiers. */
  constructor(
    areas: readonly Area[],
    settings: Partial<RoutingSettings> = {},
    options: Partial<DispatcherOptions> = {},
    seed = 1,
  ) {
    const whole = { ...ROUTING_DEFAULTS, localityWaitMs: 0, areas, ...settings };
    this.dispatcher = new Dispatcher({ settings: whole, draw32: draws(seed), ...options });
  }

  message(given: Partial<Message> = {}): Message {
    this.#messages += 1;
    return { id: `m${this.#messages}`, origin: HERE, createdMs: this.nowMs, ...given };
  }

  /** Puts one that has to wait, or fails. */
  putWaiting(given: Partial<Message> = {}): Message {
    const message = this.message(given);
    const { sent } = this.dispatcher.put(message, this.nowMs);
    if (sent.length > 0) throw new Error(`Expected ${message.id} to wait, but something was sent`);
    return message;
  }

  /** Puts one and says who got it; `waiting` where nobody did. It is settled at once, unless it is to be held. */
  choose(given: Partial<Message> = {}, isHeld = false): string {
    const message = this.message(given);
    const sent = this.dispatcher.put(message, this.nowMs).sent.find((one) => one.message === message);
    if (sent === undefined) return "waiting";
    if (!isHeld) this.dispatcher.settle(message.id);
    return sent.to.reader;
  }

  /** Who gets each of so many. */
  chooseMany(count: number, given: Partial<Message> = {}): readonly string[] {
    return Array.from({ length: count }, () => this.choose(given));
  }

  /** What can be sent now: message and reader. */
  run(): readonly string[] {
    return this.dispatcher.run(this.nowMs).sent.map(({ message, to }) => `${message.id} to ${to.reader}`);
  }

  join(id: string, slots = SLOTS, place?: Place): void {
    this.dispatcher.join(id, place, slots);
  }

  /** A reader that owns keys, as a replica that has loaded models. */
  joinOwning(id: string, slots: number, keys: readonly string[]): void {
    this.join(id, slots + 1);
    const { table } = this.dispatcher;
    for (const key of keys) {
      table.sent(id, key, this.nowMs);
      this.join(id, slots + 1);
    }
    this.join(id, slots);
  }
}
