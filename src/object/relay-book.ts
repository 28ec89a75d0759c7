// The relays of a channel: which there are, and which of them have to be called because something came that they were not sent (SPEC RY8, RY9).
import type { RelayStore } from "../channel/relay/relay-store.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Place } from "../protocol/place.ts";
import type { Jurisdiction } from "../protocol/placement.ts";
import type { Settings } from "../protocol/settings.ts";
import type { Runtime } from "./runtime.ts";
import type { Connections } from "./connections.ts";
import { logWarning } from "./log.ts";
import { parseRelayName } from "./relay-name.ts";

export interface RelayPorts {
  readonly store: RelayStore;
  /** Of the channel's object, and so of its relays. */
  readonly jurisdiction: () => Jurisdiction | undefined;
  /** Calls a relay, which tells how many readers it has. */
  readonly wake: (relay: string) => Promise<{ readonly readers: number }>;
}

interface RelayBookOptions extends RelayPorts {
  readonly channel: string;
  readonly connections: Connections;
  readonly runtime: Pick<Runtime, "nowMs" | "setTimeout">;
  /** Whether a connection has a subscription. */
  readonly isSubscribed: (connection: number) => boolean;
}

/** What a relay is owed. */
interface Debt {
  attempts: number;
  isCalling: boolean;
}

/** After so long without the relay it is called again. */
const CALL_AGAIN_MS = 1000;

export class RelayBook {
  readonly #options: RelayBookOptions;
  readonly #names: Set<string>;
  readonly #debts = new Map<string, Debt>();
  /** Colos whose readers were sent to a relay lately, which may not be known of yet, and until when that counts. */
  readonly #recent = new Map<string, number>();
  #isTimerSet = false;
  /** Whether an earlier object may have owed calls. */
  #isUnsure: boolean;

  constructor(options: RelayBookOptions) {
    this.#options = options;
    this.#names = new Set(options.store.list());
    this.#isUnsure = this.#names.size > 0;
  }

  /** In their order. */
  get names(): readonly string[] {
    return [...this.#names].sort();
  }

  /** Whether somebody reads by a relay, as far as is known. */
  get isUsed(): boolean {
    return this.#names.size > 0;
  }

  /** Whether a colo has one. */
  has(colo: string): boolean {
    return [...this.#names].some((name) => parseRelayName(name)?.colo === colo);
  }

  /** Whether one of them is not subscribed. */
  get isAway(): boolean {
    return this.#names.size > 0 && this.#unserved().length > 0;
  }

  /** The colo whose relay a plain reader at `place` belongs to; undefined for one of the channel's own. */
  findColo(place: Place | undefined, settings: Pick<Settings, "relays">): string | undefined {
    const { relays } = settings;
    if (place === undefined || relays === null) return undefined;
    const { colo } = place;
    const nowMs = this.#options.runtime.nowMs();
    const isEnough = this.#options.connections.countPlain(colo) + 1 >= relays.from;
    if (!isEnough && (this.#recent.get(colo) ?? 0) < nowMs && !this.has(colo)) return undefined;
    for (const [other, untilMs] of this.#recent) if (untilMs < nowMs) this.#recent.delete(other);
    this.#recent.set(colo, nowMs + LIMITS.relayRouteMs);
    return colo;
  }

  /** A relay connects. */
  attach(relay: string): void {
    if (this.#names.has(relay)) return;
    this.#options.store.add(relay);
    this.#names.add(relay);
  }

  /** A relay has no readers. */
  leave(relay: string): void {
    this.#debts.delete(relay);
    if (this.#connected().has(relay) || !this.#names.delete(relay)) return;
    this.#options.store.remove(relay);
  }

  /** The connection of a relay ended while it was subscribed: it may be gone, and its readers still there. */
  noteLost(relay: string): void {
    if (this.#names.has(relay)) this.#owe(relay);
    this.#callOwed();
  }

  /** Something was committed of which readers have to be told. */
  noteRecords(): void {
    if (this.#names.size === 0) return;
    for (const relay of this.#unserved()) this.#owe(relay);
    this.#callOwed();
  }

  /** When the alarm has to look whether relays were called, if a commit now brings something; undefined where all of them are served. */
  nextLookAtMs(nowMs: number): number | undefined {
    return this.#names.size > 0 && this.#unserved().length > 0 ? nowMs + CALL_AGAIN_MS : undefined;
  }

  /** The alarm: calls those that were not called, also by an object that ended before it could. */
  look(): void {
    if (this.#isUnsure) for (const relay of this.#unserved()) this.#owe(relay);
    this.#isUnsure = false;
    this.#callOwed();
  }

  /** Calls all that are not subscribed, whatever they know. */
  callAll(): void {
    for (const relay of this.#unserved()) this.#owe(relay);
    this.#callOwed();
  }

  /** Begins anew with what is stored. */
  reload(): void {
    this.#names.clear();
    this.#debts.clear();
    for (const relay of this.#options.store.list()) this.#names.add(relay);
  }

  #owe(relay: string): void {
    if (!this.#debts.has(relay)) this.#debts.set(relay, { attempts: 0, isCalling: false });
  }

  #callOwed(): void {
    const served = this.#served();
    for (const [relay, debt] of this.#debts) {
      if (served.has(relay) || debt.attempts >= LIMITS.relayAttemptsMax) this.#debts.delete(relay);
      else if (!debt.isCalling) this.#call(relay, debt);
    }
  }

  /** A relay that was called connects by itself. Whether it has is looked at a moment later. */
  #call(relay: string, debt: Debt): void {
    debt.isCalling = true;
    debt.attempts += 1;
    const { channel, wake } = this.#options;
    wake(relay).then(
      ({ readers }) => {
        if (readers === 0) this.leave(relay);
        else this.#setTimer();
      },
      (error: unknown) => {
        logWarning("relay-unreachable", { channel, relay, attempts: debt.attempts }, error);
        this.#setTimer();
      },
    );
  }

  #setTimer(): void {
    if (this.#isTimerSet) return;
    this.#isTimerSet = true;
    this.#options.runtime.setTimeout(() => {
      this.#isTimerSet = false;
      for (const debt of this.#debts.values()) debt.isCalling = false;
      this.#callOwed();
    }, CALL_AGAIN_MS);
  }

  #connected(): ReadonlySet<string> {
    return new Set(this.#options.connections.relays().values());
  }

  #served(): ReadonlySet<string> {
    const { connections, isSubscribed } = this.#options;
    const served = new Set<string>();
    for (const [connection, relay] of connections.relays()) if (isSubscribed(connection)) served.add(relay);
    return served;
  }

  #unserved(): readonly string[] {
    const served = this.#served();
    return [...this.#names].filter((relay) => !served.has(relay));
  }
}
