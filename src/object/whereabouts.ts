// What an object knows of where its channel is. SPEC section NM.
import { findColo } from "../protocol/colos.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { OwnPlace } from "./committer.ts";
import { HOME_ROUTE, parseObjectName, type ChannelRoute, type Jurisdiction } from "../protocol/placement.ts";

/** A move, as the authority keeps it. */
export interface Move {
  /** `copying`: the route is still `from`; `undoing`: it stays so; `switched`: it is `to`, and what `from` has is owed its end. */
  readonly step: "copying" | "undoing" | "switched";
  readonly from: ChannelRoute;
  readonly to: ChannelRoute;
  readonly startedAtMs: number;
}

/** What is stored of it: nothing in the authority of a channel that never moved, nor in an object that holds nothing. */
export interface Standing {
  /** The name of the channel, which is not the object's. */
  readonly channel: string;
  /**
   * `here`: this object serves the channel. `leaving`: it has it, and serves nobody until it is decided whether it keeps it. `arriving`: it is
   * brought the channel. `away`: of the authority alone, another has it.
   */
  readonly state: "here" | "leaving" | "arriving" | "away";
  /** Of the authority: where the channel is. Of another: its own. */
  readonly route: ChannelRoute;
  /** The generation that it leaves for. */
  readonly target?: number;
  readonly move?: Move;
  /** Whether it is here to be created, and may not be yet. */
  readonly isNew?: true;
  /** The highest generation that a move was begun to. */
  readonly lastGeneration?: number;
}

export interface StandingStore {
  read(): Standing | undefined;
  write(standing: Standing): void;
  /** Erases the channel, and keeps the standing. */
  eraseOthers(): void;
  eraseAll(): Promise<void>;
}

export interface WhereaboutsOptions {
  /** Of the object (`formatObjectName`). */
  readonly objectName: string;
  readonly store: StandingStore;
  readonly nowMs: () => number;
}

export class Whereabouts {
  readonly channel: string;
  readonly generation: number;
  readonly #store: StandingStore;
  readonly #nowMs: () => number;
  /** The colo that this object is in, where that was learnt. */
  colo: string | undefined;
  #standing: Standing | undefined;
  #lookAtMs = 0;

  constructor({ objectName, store, nowMs }: WhereaboutsOptions) {
    const { channel, generation } = parseObjectName(objectName);
    this.generation = generation;
    this.#store = store;
    this.#nowMs = nowMs;
    this.#standing = store.read();
    this.channel = this.#standing?.channel ?? channel;
    this.postponeLook();
  }

  get isAuthority(): boolean {
    return this.generation === 0;
  }

  /** What the object itself is bound to: an authority to nothing. */
  get jurisdiction(): Jurisdiction | undefined {
    return this.isAuthority ? undefined : this.route.jurisdiction;
  }

  /** Undefined where nothing is stored. */
  get standing(): Standing | undefined {
    return this.#standing;
  }

  get route(): ChannelRoute {
    return this.#standing?.route ?? HOME_ROUTE;
  }

  /** As the description of the channel says it. */
  describePlace(): OwnPlace {
    const { colo = null } = this;
    const { epoch, generation, locationHint = null, jurisdiction = null } = this.route;
    const region = colo === null ? (locationHint ?? undefined) : findColo(colo)?.region;
    return { place: { epoch, generation, locationHint, jurisdiction, colo }, region };
  }

  /** Whether this object serves who asks by a route of `epoch`; undefined for who knows none, and asks the authority. */
  serves(epoch: number | undefined): boolean {
    const standing = this.#standing;
    if (standing === undefined) return this.generation === 0 && (epoch === undefined || epoch === 0);
    if (standing.state !== "here") return false;
    return epoch === undefined ? this.generation === 0 : epoch === standing.route.epoch;
  }

  /** Whether nothing may be done here. */
  get isSuspended(): boolean {
    return this.#standing === undefined ? !this.isAuthority : this.#standing.state !== "here";
  }

  /** When to look how a move stands; undefined where none is known of. */
  get nextLookAtMs(): number | undefined {
    const standing = this.#standing;
    if (standing === undefined) return undefined;
    const { state, move, target, isNew } = standing;
    const isUndecided = state === "arriving" || move !== undefined || target !== undefined || isNew === true;
    return isUndecided ? this.#lookAtMs : undefined;
  }

  postponeLook(): void {
    this.#lookAtMs = this.#nowMs() + LIMITS.moveLookMs;
  }

  write(standing: Omit<Standing, "channel">): void {
    this.#standing = { channel: this.channel, ...standing };
    this.#store.write(this.#standing);
    this.postponeLook();
  }

  /** Writes once more what is known, before others are told of it: one that is superseded is refused that (rule RC11). */
  confirm(): void {
    if (this.#standing !== undefined) this.#store.write(this.#standing);
  }

  /** Forgets the channel, and not where it is. */
  async eraseChannel(): Promise<void> {
    if (this.#standing === undefined) await this.#store.eraseAll();
    else this.#store.eraseOthers();
  }

  async eraseAll(): Promise<void> {
    this.#standing = undefined;
    await this.#store.eraseAll();
  }
}
