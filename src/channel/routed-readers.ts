// The members of a group that messages are routed to in one turn, each of which takes one frame (SPEC section RD).
import type { RouteNote } from "../protocol/history.ts";
import type { Place } from "../protocol/place.ts";
import type { DeliverySettings } from "../protocol/settings.ts";
import { parseSource } from "../protocol/source.ts";
import type { Giving, Recipients } from "./choice.ts";
import type { KeyLines } from "./key-lines.ts";
import { isFree } from "./routing/pool.ts";
import { route, type RoutedTo } from "./routing/route.ts";
import type { RoutingTable } from "./routing/routing-table.ts";
import type { Run } from "./run.ts";
import { Selection } from "./selection.ts";
import { frameOf } from "./shared-pages.ts";
import { placeOfSource } from "./source-place.ts";
import type { Member } from "./subscription.ts";

/** What a member is sent. */
export interface RoutedFrame {
  readonly member: Member;
  readonly selection: Selection;
  /** Why each of the messages goes to it. */
  readonly routes: readonly RouteNote[];
}

interface OpenFrame extends RoutedFrame {
  readonly max: number;
  readonly bytesMax: number;
  readonly routes: RouteNote[];
}

export interface RoutedTurn {
  readonly table: RoutingTable;
  readonly settings: DeliverySettings;
  /** Messages that may still be leased. */
  readonly room: number;
  /** Messages that wait. */
  readonly depth: number;
  readonly nowMs: number;
  readonly draw32: () => number;
  /** Where the channel is; undefined where that is not known. */
  readonly ownPlace: Place | undefined;
  readonly memberOf: (holder: string) => Member | undefined;
  /** Those who have had their frame in this commit. */
  readonly served: ReadonlySet<string>;
}

export class RoutedReaders implements Recipients {
  readonly #keys: KeyLines;
  readonly #turn: RoutedTurn;
  readonly #frames = new Map<string, OpenFrame>();
  readonly #givenOfKey = new Map<string, string>();
  #count = 0;
  /** Whether one that has credit left was to be given what its frame does not take. */
  isCut = false;
  /** When a message that waits may go farther, or a pause ends; undefined where nothing waits for a time. */
  nextAtMs: number | undefined;
  #lastSource: string | undefined;
  #lastOrigin: Place | undefined;

  constructor(keys: KeyLines, turn: RoutedTurn) {
    this.#keys = keys;
    this.#turn = turn;
    turn.table.advance(turn.nowMs);
    // Who is paused takes messages again then, though nothing else happens.
    if (turn.table.free === 0) this.#await(turn.table.nextPauseEndMs);
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    const { room, table } = this.#turn;
    return this.isCut || this.#count >= room || table.free === 0;
  }

  get frames(): readonly RoutedFrame[] {
    return [...this.#frames.values()];
  }

  *firstBehind(): Iterable<number> {
    for (const holder of this.#keys.contenders) if (this.#mayTake(holder)) yield* this.#keys.firstBehind(holder);
  }

  mayHold(key: string): boolean {
    const holder = this.#holderOf(key);
    return holder === undefined || this.#mayTake(holder);
  }

  give(run: Run, place: number, key: string | undefined): Giving {
    const { table, settings, nowMs, draw32 } = this.#turn;
    const holder = key === undefined ? undefined : this.#holderOf(key);
    const offset = run.firstOffset + place;
    const request = {
      origin: this.#originOf(run, place),
      affinity: String(offset),
      availableSinceMs: run.times(place).putAtMs,
      depth: this.#turn.depth - this.#count,
      nowMs,
      ...(key !== undefined && { key }),
      ...(holder !== undefined && { holder }),
    };
    const decision = route(table, request, settings, draw32);
    if (decision.type === "wait") {
      this.#await(decision.untilMs);
      return "waits";
    }
    return this.#add(decision, run, place, key);
  }

  #add(decision: RoutedTo, run: Run, place: number, key: string | undefined): Giving {
    const { table, nowMs } = this.#turn;
    const { reader: holder, tier, reason, candidates, load } = decision;
    const frame = this.#frames.get(holder) ?? this.#open(holder);
    const bytes = run.messageBytes(place);
    const isTooMuch = frame === undefined || frame.selection.count >= frame.max;
    if (isTooMuch || (frame.selection.count > 0 && frame.selection.bytes + bytes > frame.bytesMax)) {
      this.isCut = true;
      return "full";
    }
    frame.selection.add(run, place);
    frame.routes.push({ tier, reason, candidates, load });
    this.#frames.set(holder, frame);
    this.#count += 1;
    if (key !== undefined) this.#givenOfKey.set(key, holder);
    table.sent(holder, key, nowMs);
    const sent = table.find(holder);
    if (sent !== undefined && frame.selection.bytes >= frame.member.credit.bytes) table.set({ ...sent, credit: 0 });
    return "given";
  }

  /** Undefined for one that has had a frame already: it is sent more with the next commit. */
  #open(holder: string): OpenFrame | undefined {
    const member = this.#turn.memberOf(holder);
    if (member === undefined || this.#turn.served.has(holder)) return undefined;
    return { member, selection: new Selection(), routes: [], ...frameOf(member.credit) };
  }

  #holderOf(key: string): string | undefined {
    return this.#givenOfKey.get(key) ?? this.#keys.holderOf(key);
  }

  /** Whether one that has earlier messages of a key can be sent the next. What waits for it alone goes on when its pause is over. */
  #mayTake(holder: string): boolean {
    const reader = this.#turn.table.find(holder);
    if (reader === undefined) return false;
    if (isFree(reader)) return true;
    if (reader.credit > 0) this.#await(reader.pause?.untilMs);
    return false;
  }

  #await(atMs: number | undefined): void {
    if (atMs !== undefined) this.nextAtMs = Math.min(atMs, this.nextAtMs ?? atMs);
  }

  /** Neighbours mostly come from one place. */
  #originOf(run: Run, place: number): Place | undefined {
    if (this.#turn.settings.locality === "channel") return this.#turn.ownPlace;
    const source = run.source(place);
    if (source !== this.#lastSource) {
      this.#lastSource = source;
      this.#lastOrigin = source === undefined ? undefined : placeOfSource(parseSource(source));
    }
    return this.#lastOrigin;
  }
}
