// What is remembered of who was active lately, while the object is awake: since when, the last time, how fast. SPEC rule RG5.
import { LIMITS } from "../protocol/limits.ts";
import { findColo } from "../protocol/colos.ts";
import type { Place } from "../protocol/place.ts";
import { parseSource, type Source } from "../protocol/source.ts";
import { countOf } from "./put-batch.ts";
import { DrainRate } from "./drain-rate.ts";
import type { Effect, Operation, OperationOf, Origin, Outcome } from "./operation.ts";
import { selectionOf } from "./selection.ts";
import type { TrafficShare } from "./traffic-places.ts";

export interface Tally {
  readonly sinceMs: number;
  lastSeenMs: number;
  readonly rate: DrainRate;
}

/** What a connection did. */
interface ConnectionTally extends Tally {
  /** Of what it put; undefined where it put nothing. */
  puts: (Tally & { producer: string | undefined }) | undefined;
}

/** A producer without a connection. */
export interface CalledProducer extends Tally {
  readonly source: Source;
}

/** Where a session names its holder. */
const HOLDER_PART = 1;

interface ActivityOptions {
  readonly isConnected: (connection: number) => boolean;
  readonly placeOf: (connection: number) => Place | undefined;
}

export class Activity {
  /** The time of what is done now. */
  nowMs = 0;
  readonly #options: ActivityOptions;
  readonly #connections = new Map<number, ConnectionTally>();
  /** By the text of their source, the one that put last at the end. */
  readonly #called = new Map<string, CalledProducer>();
  /** Where pulls came from, by their holders, the latest at the end. */
  readonly #pulls = new Map<string, Place>();

  constructor(options: ActivityOptions) {
    this.#options = options;
  }

  ofConnection(connection: number): ConnectionTally | undefined {
    return this.#connections.get(connection);
  }

  /** Connections that put something. */
  *producing(): Iterable<readonly [connection: number, puts: Tally & { readonly producer: string | undefined }]> {
    for (const [connection, { puts }] of this.#connections) if (puts !== undefined) yield [connection, puts];
  }

  /** Producers without a connection that put something lately. */
  called(nowMs: number): CalledProducer[] {
    return [...this.#called.values()].filter(({ lastSeenMs }) => lastSeenMs > nowMs - LIMITS.producerSeenMs);
  }

  /** Who put or was sent something lately, by its area. */
  *shares(nowMs: number): Iterable<TrafficShare> {
    for (const [connection, { rate, puts }] of this.#connections) {
      const ratePerSecond = rate.perSecond(nowMs) + (puts?.rate.perSecond(nowMs) ?? 0);
      yield { region: this.#options.placeOf(connection)?.region, ratePerSecond };
    }
    for (const { source, rate } of this.#called.values()) {
      const region = source.colo === undefined ? undefined : findColo(source.colo)?.region;
      yield { region, ratePerSecond: rate.perSecond(nowMs) };
    }
  }

  placeOfPull(holder: string): Place | undefined {
    return this.#pulls.get(holder);
  }

  /** An operation was decided. */
  note(operation: Operation, outcome: Outcome, origin: Origin | undefined): void {
    const { nowMs } = this;
    if (origin !== undefined) this.#touch(origin.connection, nowMs);
    if (operation.type === "put" && outcome.type === "put") this.#notePut(operation, origin, nowMs);
    else if (outcome.type === "got" && origin !== undefined) this.#noteSent(origin.connection, outcome, nowMs);
    else if (outcome.type === "got" && operation.type === "get") this.#notePull(outcome, operation.place);
  }

  /** Notes what connections are told, and returns all of it in order. */
  noteEffects(answers: readonly Effect[], sent: readonly Effect[]): readonly Effect[] {
    const effects = sent.length === 0 ? answers : [...answers, ...sent];
    for (const { connection, outcome } of effects) {
      if (outcome.type === "got" || outcome.type === "delivered") this.#noteSent(connection, outcome, this.nowMs);
    }
    return effects;
  }

  disconnect(connection: number): void {
    this.#connections.delete(connection);
  }

  #touch(connection: number, nowMs: number): ConnectionTally | undefined {
    let tally = this.#connections.get(connection);
    if (tally === undefined) {
      // After a failed commit a frame may be decided again when its connection is gone.
      if (!this.#options.isConnected(connection)) return undefined;
      this.#connections.set(connection, (tally = { ...newTally(nowMs), puts: undefined }));
    }
    tally.lastSeenMs = nowMs;
    return tally;
  }

  #notePut({ messages, source = "", producer }: OperationOf<"put">, origin: Origin | undefined, nowMs: number): void {
    const count = countOf(messages);
    const tally = origin && this.#touch(origin.connection, nowMs);
    if (tally !== undefined && source.startsWith("s")) {
      tally.puts ??= { ...newTally(nowMs), producer: undefined };
      tally.puts.producer = producer?.id ?? tally.puts.producer;
      record(tally.puts, count, nowMs);
      return;
    }
    if (source === "" || source.startsWith("s")) return;
    const name = producer === undefined ? source : `${source}:${producer.id}`;
    const known = this.#called.get(name) ?? { ...newTally(nowMs), source: parseSource(name) };
    record(known, count, nowMs);
    setLast(this.#called, name, known);
  }

  #noteSent(connection: number, outcome: Extract<Outcome, { type: "got" | "delivered" }>, nowMs: number): void {
    const tally = this.#touch(connection, nowMs);
    if (tally !== undefined) record(tally, selectionOf(outcome).count, nowMs);
    if (outcome.type === "got" && outcome.granted !== undefined) this.#notePull(outcome, this.#options.placeOf(connection));
  }

  #notePull({ granted }: Extract<Outcome, { type: "got" }>, place: Place | undefined): void {
    const holder = granted?.session?.split("-")[HOLDER_PART];
    if (holder !== undefined && place !== undefined) setLast(this.#pulls, holder, place);
  }
}

function newTally(nowMs: number): Tally {
  return { sinceMs: nowMs, lastSeenMs: nowMs, rate: new DrainRate() };
}

function record(tally: Tally, messages: number, nowMs: number): void {
  tally.lastSeenMs = nowMs;
  if (messages > 0) tally.rate.record(messages, nowMs);
}

/** Puts an entry at the end; beyond the most that are remembered the one that was longest idle goes. */
function setLast<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= LIMITS.seenReadersMax) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
