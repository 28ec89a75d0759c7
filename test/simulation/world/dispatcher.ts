// Messages that wait in a line for readers, without a channel around it: put, sent, refused, settled, cancelled. What is sent is counted exactly:
// a message holds its own place at its reader, and gives back that one.
import { assert } from "../../../src/base/assert.ts";
import { MinHeap } from "../../../src/base/min-heap.ts";
import type { Place } from "../../../src/protocol/place.ts";
import { route, type RoutedTo } from "../../../src/channel/routing/route.ts";
import type { RoutingSettings } from "../../../src/channel/routing/routing-settings.ts";
import { RoutingTable } from "../../../src/channel/routing/routing-table.ts";

export interface Message {
  readonly id: string;
  readonly origin: Place | undefined;
  readonly key?: string;
  /** Its place in the line, also when it comes back. */
  readonly createdMs: number;
}

export interface Sent {
  readonly message: Message;
  readonly to: RoutedTo;
}

interface Turn {
  readonly sent: readonly Sent[];
  /** Messages that were looked at and have to wait. */
  readonly fruitless: number;
  /** Whether the turn ended because it looked at enough: there may be more to send. */
  readonly isCut: boolean;
  /** When to look again though nothing happens. */
  readonly wakeAtMs: number | undefined;
}

export interface DispatcherOptions {
  readonly settings: RoutingSettings;
  readonly draw32: () => number;
  /** Messages that may wait; without it as many as come. */
  readonly waitingMax?: number;
  /** Messages that a turn looks at in vain at most, whatever the number of readers. */
  readonly looksMax?: number;
}

interface KnownReader {
  readonly place: Place | undefined;
  slots: number;
  readonly held: Map<string, Message>;
}

/** Messages of one origin and key, which are routed alike: if the first has to wait, so have all. */
interface Line {
  readonly messages: Placed[];
}

interface Placed {
  readonly message: Message;
  /** Decides between messages of one time. */
  readonly ticket: number;
}

const LOOKS_MAX = 50;
const LOOKS_PER_READER = 2;

export class Dispatcher {
  readonly table = new RoutingTable();
  readonly #options: DispatcherOptions;
  readonly #readers = new Map<string, KnownReader>();
  readonly #lines = new Map<string, Line>();
  readonly #tickets = new Map<string, number>();
  readonly #holders = new Map<string, string>();
  #waiting = 0;
  #nextTicket = 1;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Messages that readers hold. */
  get held(): number {
    return this.#holders.size;
  }

  /** How many messages a turn looks at in vain at most. */
  get looksMax(): number {
    return Math.min(this.#waiting, this.#options.looksMax ?? LOOKS_MAX, LOOKS_PER_READER * this.#readers.size);
  }

  /** A reader joins with so many places for messages, or has another number of them from now on. */
  join(id: string, place: Place | undefined, slots: number): void {
    const known = this.#readers.get(id);
    if (known === undefined) this.#readers.set(id, { place, slots, held: new Map() });
    else known.slots = slots;
    this.#tell(id);
  }

  /** What it held goes back to its old place. */
  leave(id: string): void {
    const reader = this.#readers.get(id);
    this.#readers.delete(id);
    this.table.remove(id);
    for (const message of reader?.held.values() ?? []) {
      this.#holders.delete(message.id);
      this.#insert(message);
    }
  }

  /** False where as many wait as may. Those who can be sent at once do not count. */
  put(message: Message, nowMs: number): { readonly isAccepted: boolean; readonly sent: readonly Sent[] } {
    assert(!this.#tickets.has(message.id), "a message is put once");
    this.#tickets.set(message.id, this.#nextTicket++);
    this.#insert(message);
    const { sent } = this.run(nowMs);
    const isAccepted = this.#waiting <= (this.#options.waitingMax ?? Number.POSITIVE_INFINITY);
    if (!isAccepted) this.cancel(message);
    return { isAccepted, sent };
  }

  /** It waits no more; false where it does not wait. */
  cancel(message: Message): boolean {
    const name = lineOf(message);
    const line = this.#lines.get(name);
    const place = line?.messages.findIndex((one) => one.message.id === message.id) ?? -1;
    if (line === undefined || place === -1) return false;
    line.messages.splice(place, 1);
    if (line.messages.length === 0) this.#lines.delete(name);
    this.#waiting -= 1;
    this.#tickets.delete(message.id);
    return true;
  }

  /** Its reader is done with it. */
  settle(id: string): void {
    const reader = this.#release(id);
    this.#tickets.delete(id);
    this.table.accepted(reader.id);
  }

  /** Its reader refuses it: it goes back to its old place, and the reader is paused. */
  refuse(id: string, nowMs: number): void {
    const { id: reader, message } = this.#release(id);
    this.#insert(message);
    this.table.pause(reader, nowMs, this.#options.draw32);
  }

  /** Sends what can be sent, the longest waiting first. */
  run(nowMs: number): { readonly sent: readonly Sent[]; readonly wakeAtMs: number | undefined } {
    const looked = new Set<Line>();
    const sent: Sent[] = [];
    let wakeAtMs = Number.POSITIVE_INFINITY;
    for (;;) {
      const turn = this.turn(nowMs, looked);
      sent.push(...turn.sent);
      wakeAtMs = Math.min(wakeAtMs, turn.wakeAtMs ?? Number.POSITIVE_INFINITY);
      if (!turn.isCut) return { sent, wakeAtMs: wakeAtMs === Number.POSITIVE_INFINITY ? undefined : wakeAtMs };
    }
  }

  /** As `run`, but looks at so many in vain at most; not at lines that were looked at before. */
  turn(nowMs: number, looked: Set<Line> = new Set()): Turn {
    this.table.advance(nowMs);
    const heads = new MinHeap<Line>((a, b) => isBefore(headOf(a), headOf(b)));
    for (const line of this.#lines.values()) if (!looked.has(line)) heads.push(line);
    const sent: Sent[] = [];
    const { looksMax } = this;
    let fruitless = 0;
    let wakeAtMs = this.table.nextPauseEndMs;
    for (let line = heads.pop(); line !== undefined && this.table.free > 0; line = heads.pop()) {
      const { message } = headOf(line);
      const to = this.#decide(message, nowMs);
      if (to.type === "wait") {
        looked.add(line);
        fruitless += 1;
        wakeAtMs = Math.min(wakeAtMs ?? Number.POSITIVE_INFINITY, to.untilMs ?? Number.POSITIVE_INFINITY);
        if (fruitless === looksMax && heads.size > 0) return { sent, fruitless, isCut: true, wakeAtMs };
        continue;
      }
      this.#send(line, to, nowMs);
      sent.push({ message, to });
      if (line.messages.length > 0) heads.push(line);
    }
    return { sent, fruitless, isCut: false, wakeAtMs };
  }

  #decide(message: Message, nowMs: number): ReturnType<typeof route> {
    const { settings, draw32 } = this.#options;
    const { id, key, origin, createdMs } = message;
    const request = { origin, affinity: id, availableSinceMs: createdMs, depth: this.#waiting, nowMs };
    return route(this.table, key === undefined ? request : { ...request, key }, settings, draw32);
  }

  #send(line: Line, { reader }: RoutedTo, nowMs: number): void {
    const placed = line.messages.shift();
    assert(placed !== undefined, "a line that is looked at has messages");
    const { message } = placed;
    if (line.messages.length === 0) this.#lines.delete(lineOf(message));
    this.#waiting -= 1;
    this.#readers.get(reader)?.held.set(message.id, message);
    this.#holders.set(message.id, reader);
    this.table.sent(reader, message.key, nowMs);
  }

  #release(id: string): { readonly id: string; readonly message: Message } {
    const holder = this.#holders.get(id);
    const reader = holder === undefined ? undefined : this.#readers.get(holder);
    const message = reader?.held.get(id);
    assert(holder !== undefined && message !== undefined, "a reader holds what it is done with");
    this.#holders.delete(id);
    reader?.held.delete(id);
    this.#tell(holder);
    return { id: holder, message };
  }

  #tell(id: string): void {
    const reader = this.#readers.get(id);
    if (reader === undefined) return;
    const { place, slots, held } = reader;
    this.table.set({ id, place, credit: Math.max(0, slots - held.size), outstanding: held.size });
  }

  #insert(message: Message): void {
    const name = lineOf(message);
    let line = this.#lines.get(name);
    if (line === undefined) this.#lines.set(name, (line = { messages: [] }));
    const placed = { message, ticket: this.#tickets.get(message.id) ?? 0 };
    // Most come last.
    let place = line.messages.length;
    for (let before = line.messages[place - 1]; before !== undefined && isBefore(placed, before); place--) {
      before = line.messages[place - 2];
    }
    line.messages.splice(place, 0, placed);
    this.#waiting += 1;
  }
}

function lineOf({ origin, key }: Message): string {
  return JSON.stringify([origin?.colo, origin?.region, origin?.continent, key]);
}

function headOf({ messages }: Line): Placed {
  const [head] = messages;
  assert(head !== undefined, "a line has messages");
  return head;
}

function isBefore(a: Placed, b: Placed): boolean {
  return a.message.createdMs < b.message.createdMs || (a.message.createdMs === b.message.createdMs && a.ticket < b.ticket);
}
