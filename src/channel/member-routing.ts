// Which members of which groups messages are routed to, and what is known of them (SPEC section RD). All of it is in memory: the members
// from the attachments of their sockets, what they hold from their leases.
import type { Place } from "../protocol/place.ts";
import type { DeliverySettings } from "../protocol/settings.ts";
import type { Group, Groups } from "./groups.ts";
import type { KeyLines } from "./key-lines.ts";
import type { Moment } from "./operation.ts";
import { RoutedReaders } from "./routed-readers.ts";
import { RoutingTable } from "./routing/routing-table.ts";
import { hasCredit, type Member } from "./subscription.ts";

interface MemberRoutingParts {
  readonly groups: Groups;
  /** Where the client of a connection is; undefined where that is not known. */
  readonly placeOf: (connection: number) => Place | undefined;
  /** Where the channel is. */
  readonly ownPlace: () => Place | undefined;
}

export class MemberRouting {
  readonly #parts: MemberRoutingParts;
  readonly #byGroup = new Map<number, RoutedGroup>();

  constructor(parts: MemberRoutingParts) {
    this.#parts = parts;
  }

  /** A member joins, or its credit or connection changed. */
  keep(member: Member): void {
    let known = this.#byGroup.get(member.group);
    if (known === undefined) this.#byGroup.set(member.group, (known = new RoutedGroup()));
    const { delivery } = this.#parts.groups.findById(member.group) ?? {};
    known.keep(member, this.#parts.placeOf(member.connection), delivery?.countOf(member.connection) ?? 0);
  }

  forget(member: Member): void {
    const known = this.#byGroup.get(member.group);
    known?.forget(member);
    if (known?.isEmpty === true) this.#byGroup.delete(member.group);
  }

  /** What a member is asked to release: that is no refusal. */
  expectReleases({ group }: Member, offsets: Iterable<number>): void {
    this.#byGroup.get(group)?.expectReleases(offsets);
  }

  /** Whether messages of a group are routed, and not handed out in the order of its line (rule RD1). */
  isRouted({ id, delivery }: Group): boolean {
    const isSo = this.#byGroup.get(id)?.isRouted(delivery.settings) === true;
    delivery.loads.isWatched = isSo;
    return isSo;
  }

  /** Whether messages may go from one member to another by work stealing (rule RD7). */
  mayShare(group: Group, one: Member, other: Member): boolean {
    if (!this.isRouted(group)) return true;
    const { strategy } = group.delivery.settings;
    const [a, b] = [one, other].map(({ connection }) => this.#parts.placeOf(connection)?.colo);
    return a === b && (strategy === "pow2" || strategy === "least-loaded");
  }

  /** Those who take part in a turn of a group that is routed. `served`: who has had a frame in this commit. */
  begin(group: Group, moment: Moment, served: ReadonlySet<string>): (keys: KeyLines, room: number) => RoutedReaders {
    const known = this.#byGroup.get(group.id) ?? new RoutedGroup();
    known.learn(group, moment);
    return (keys, room) =>
      new RoutedReaders(keys, {
        table: known.table,
        settings: group.delivery.settings,
        room,
        depth: Math.max(0, this.#parts.groups.depthOf(group) - group.delivery.leased),
        nowMs: moment.nowMs,
        draw32: moment.draw32,
        ownPlace: this.#parts.ownPlace(),
        memberOf: (holder) => known.find(holder),
        served,
      });
  }
}

class RoutedGroup {
  readonly table = new RoutingTable();
  readonly #members = new Map<string, Member>();
  readonly #ofConnection = new Map<number, Set<string>>();
  /** Members by colo; "" where it is not known. */
  readonly #colos = new Map<string, number>();
  /** As it was when the member joined: of a connection that is gone nobody can tell. */
  readonly #coloOf = new Map<string, string>();
  /** Offsets of what members are asked for. */
  readonly #asked = new Set<number>();

  get isEmpty(): boolean {
    return this.#members.size === 0;
  }

  find(holder: string): Member | undefined {
    return this.#members.get(holder);
  }

  keep(member: Member, place: Place | undefined, outstanding: number): void {
    const { holder, connection } = member;
    const known = this.#members.get(holder);
    if (known?.connection !== connection) {
      if (known !== undefined) this.#unseat(known);
      this.#seat(member, place);
    }
    this.#members.set(holder, member);
    this.table.set({ id: holder, place, credit: hasCredit(member) ? member.credit.messages : 0, outstanding });
  }

  forget({ holder, connection }: Member): void {
    const known = this.#members.get(holder);
    // Its leases may have been taken over by another connection.
    if (known?.connection !== connection) return;
    this.#members.delete(holder);
    this.#unseat(known);
    this.table.remove(holder);
  }

  expectReleases(offsets: Iterable<number>): void {
    for (const offset of offsets) this.#asked.add(offset);
  }

  isRouted({ locality, strategy }: DeliverySettings): boolean {
    return this.#members.size > 1 && (strategy !== "pow2" || (locality !== "none" && this.#colos.size > 1));
  }

  /** Brings the table up to what was settled since the last turn. */
  learn({ delivery }: Group, { nowMs, draw32 }: Moment): void {
    const { touched, acked, released, expired } = delivery.loads.take();
    for (const connection of touched) {
      for (const holder of this.#ofConnection.get(connection) ?? []) {
        const reader = this.table.find(holder);
        if (reader !== undefined) this.table.set({ ...reader, outstanding: delivery.countOf(connection) });
      }
    }
    for (const holder of acked) this.table.accepted(holder);
    const refusing = new Set<string>();
    for (const [offset, holder] of released) if (!this.#asked.delete(offset)) refusing.add(holder);
    for (const holder of refusing) this.table.pause(holder, nowMs, draw32);
    for (const holder of expired) this.#pauseAtOnce(holder, nowMs, draw32);
    for (const offset of this.#asked) if (delivery.findLease(offset) === undefined) this.#asked.delete(offset);
  }

  /** Not only from the second refusal on: what it let lapse would come to it again. */
  #pauseAtOnce(holder: string, nowMs: number, draw32: () => number): void {
    this.table.pause(holder, nowMs, draw32);
    if (this.table.find(holder)?.refusals === 1) this.table.pause(holder, nowMs, draw32);
  }

  #seat({ holder, connection }: Member, place: Place | undefined): void {
    const colo = place?.colo ?? "";
    this.#colos.set(colo, (this.#colos.get(colo) ?? 0) + 1);
    this.#coloOf.set(holder, colo);
    const holders = this.#ofConnection.get(connection) ?? new Set();
    this.#ofConnection.set(connection, holders.add(holder));
  }

  #unseat({ holder, connection }: Member): void {
    const colo = this.#coloOf.get(holder) ?? "";
    this.#coloOf.delete(holder);
    const left = (this.#colos.get(colo) ?? 0) - 1;
    if (left > 0) this.#colos.set(colo, left);
    else this.#colos.delete(colo);
    const holders = this.#ofConnection.get(connection);
    holders?.delete(holder);
    if (holders?.size === 0) this.#ofConnection.delete(connection);
  }
}
