// The authority's side of a move: where the channel goes, and what is done where something fails on the way. SPEC section NM.
import { LIMITS } from "../protocol/limits.ts";
import { isSamePlacement, placementOf, type ChannelRoute, type Placement } from "../protocol/placement.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { Decision, DepartOrder, PeerStub, RouteNews } from "./channel-stub.ts";
import type { Departure } from "./departure.ts";
import { logWarning } from "./log.ts";
import type { Move, Whereabouts } from "./whereabouts.ts";

const MOVING: Refusal = { kind: "channel-moving", outcome: "not-applied", retryAfterMs: 1000 };

export interface MoverOptions {
  readonly whereabouts: Whereabouts;
  /** This object's own. */
  readonly departure: Departure;
  readonly nowMs: () => number;
  readonly find: (route: ChannelRoute) => PeerStub;
  /** Resolves when everything written so far is on disk. */
  readonly sync: () => Promise<void>;
  /** Sets the alarm for what is due next. */
  readonly arm: () => void;
}

export class Mover {
  readonly #options: MoverOptions;
  /** Whether a move goes on in this object's memory; else the alarm brings it to its end. */
  #isRunning = false;

  constructor(options: MoverOptions) {
    this.#options = options;
  }

  get #move(): Move | undefined {
    return this.#options.whereabouts.standing?.move;
  }

  tellRoute(): RouteNews {
    const move = this.#move;
    const { route } = this.#options.whereabouts;
    return { route, ...(move?.step === "copying" && { movingTo: move.to.generation }) };
  }

  async move(placement: Placement): Promise<Decision> {
    const { whereabouts, departure, find, arm } = this.#options;
    const { standing, route: from } = whereabouts;
    const to = this.#nextRoute(placement);
    const refusal = this.#refuse(placement, to);
    if (refusal !== undefined) return { refusal };
    const move: Move = { step: "copying", from, to, startedAtMs: this.#options.nowMs() };
    const state = from.generation === 0 ? "here" : "away";
    whereabouts.write({ ...standing, state, route: from, move, lastGeneration: to.generation });
    arm();
    this.#isRunning = true;
    try {
      const source: Pick<Departure, "leave"> | undefined = from.generation === 0 ? departure : undefined;
      const left = source === undefined ? await find(from).depart({ type: "leave", to }) : await source.leave(to);
      if (left.refusal !== undefined) {
        this.#forgetMove(to.generation);
        return left;
      }
      if (this.#move?.step !== "copying" || this.#move.to.generation !== to.generation) throw new Error("The move was given up");
      this.#switch(move);
      await this.#finish({ ...move, step: "switched" });
      return {};
    } catch (error) {
      logWarning("move-failed", { channel: whereabouts.channel, generation: to.generation }, error);
      if (whereabouts.route.generation === to.generation) return {};
      await this.#tryUndo();
      return { refusal: { kind: "unavailable", outcome: "not-applied", retryAfterMs: 1000 } };
    } finally {
      this.#isRunning = false;
    }
  }

  /** Chooses where a channel is that is to be created. One that exists is where it is. */
  place(placement: Placement): Decision {
    const { whereabouts, departure, find } = this.#options;
    const { standing, route } = whereabouts;
    if (this.#move !== undefined) return { refusal: MOVING };
    if (route.generation !== 0 || departure.hasChannel) {
      if (isSamePlacement(route, placement)) return {};
      return { refusal: { kind: "settings-conflict", conflicts: Object.keys(placement), current: placementOf(route) } };
    }
    if (placement.jurisdiction === undefined) {
      const { epoch, generation } = route;
      whereabouts.write({ ...standing, state: "here", route: { epoch, generation, ...placement } });
      return {};
    }
    // An object with a name in the namespace of all is in no jurisdiction.
    const to = this.#nextRoute(placement);
    if (!canFind(find, to)) return { refusal: refuseJurisdiction(placement) };
    whereabouts.write({ ...standing, state: "away", route: to, lastGeneration: to.generation });
    return {};
  }

  #nextRoute(placement: Placement): ChannelRoute {
    const { standing, route } = this.#options.whereabouts;
    return { epoch: route.epoch + 1, generation: (standing?.lastGeneration ?? 0) + 1, ...placement };
  }

  /** Brings a move to its end that nobody goes on with, or that takes too long. */
  async look(): Promise<void> {
    const { whereabouts, nowMs } = this.#options;
    const move = this.#move;
    whereabouts.postponeLook();
    if (move === undefined) return;
    if (move.step === "switched") {
      if (!this.#isRunning) await this.#finish(move);
    } else if (!this.#isRunning || move.startedAtMs + LIMITS.moveMsMax <= nowMs()) await this.#undo(move);
  }

  /** The object that had the channel holds nothing any more: who asks next finds nothing here, and may create it. */
  comeHome(generation: number): void {
    const { whereabouts } = this.#options;
    const { standing, route } = whereabouts;
    if (standing === undefined || standing.move !== undefined || route.generation !== generation) return;
    const { lastGeneration = generation } = standing;
    whereabouts.write({ state: "here", route: { epoch: route.epoch + 1, generation: 0 }, lastGeneration });
  }

  #refuse(placement: Placement, to: ChannelRoute): Refusal | undefined {
    const { whereabouts, departure, find } = this.#options;
    const { route } = whereabouts;
    if (this.#move !== undefined) return MOVING;
    // Where it was not asked to be anywhere, nobody knows where it is.
    const isPlaced = route.locationHint !== undefined || route.jurisdiction !== undefined;
    if (isPlaced && isSamePlacement(route, placement)) return { kind: "already-there", ...placement };
    if (!canFind(find, to)) return refuseJurisdiction(placement);
    return route.generation === 0 ? departure.refuse() : undefined;
  }

  /** From this moment on the channel is there. */
  #switch(move: Move): void {
    const { whereabouts } = this.#options;
    const { target: _, ...standing } = whereabouts.standing ?? {};
    whereabouts.write({ ...standing, state: "away", route: move.to, move: { ...move, step: "switched" } });
  }

  async #finish({ from, to }: Move): Promise<void> {
    const { find, sync, arm } = this.#options;
    await sync();
    // If this fails, the object learns it from this one when it is asked, or by its alarm.
    const isServing = await find(to)
      .arrive({ type: "serve", route: to })
      .then(
        () => true,
        () => false,
      );
    await this.#tellSource(from, { type: "go", route: to });
    if (isServing) this.#forgetMove(to.generation);
    else arm();
  }

  async #tryUndo(): Promise<void> {
    const move = this.#move;
    if (move === undefined || move.step === "switched") return;
    try {
      await this.#undo(move);
    } catch (error) {
      // The alarm tries again.
      logWarning("move-stuck", { channel: this.#options.whereabouts.channel }, error);
    }
  }

  async #undo(move: Move): Promise<void> {
    const { whereabouts, find, arm } = this.#options;
    const { standing } = whereabouts;
    if (standing === undefined) return;
    // Stored first: it can not be switched to any more.
    whereabouts.write({ ...standing, move: { ...move, step: "undoing" } });
    arm();
    await this.#tellSource(move.from, { type: "stay", generation: move.to.generation });
    await find(move.to).arrive({ type: "discard" });
    this.#forgetMove(move.to.generation);
  }

  async #tellSource(from: ChannelRoute, order: Extract<DepartOrder, { type: "stay" | "go" }>): Promise<void> {
    const { departure, find } = this.#options;
    if (from.generation !== 0) await find(from).depart(order);
    else if (order.type === "stay") departure.stay(order.generation);
    else await departure.go(order.route);
  }

  #forgetMove(generation: number): void {
    const { whereabouts } = this.#options;
    const { standing } = whereabouts;
    if (standing?.move?.to.generation !== generation) return;
    const { move: _, ...kept } = standing;
    whereabouts.write(kept);
  }
}

function canFind(find: (route: ChannelRoute) => unknown, route: ChannelRoute): boolean {
  try {
    find(route);
    return true;
  } catch {
    return false;
  }
}

function refuseJurisdiction({ jurisdiction = "" }: { readonly jurisdiction?: string }): Refusal {
  return { kind: "jurisdiction-unavailable", jurisdiction };
}
