// The groups of a channel: readers that share the work. A queue has one, which is the backlog itself; elsewhere each has a view of it.
import { accept, refuse, type Result } from "../base/result.ts";
import type { GroupDescription } from "../protocol/description.ts";
import type { ControlEvent } from "../protocol/message.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal } from "../protocol/problems.ts";
import { resolveDelivery, type DeliverySettings, type GivenDelivery, type Retention } from "../protocol/settings.ts";
import type { AttachedLeases, CarriedFrame } from "./attached-leases.ts";
import type { Backlog } from "./backlog.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { Delivery } from "./delivery.ts";
import type { ExpirySettings } from "./delivery-terms.ts";
import type { DeliveryChanges, DeliveryStore, GroupDeliveryChanges, StoredDelivery } from "./delivery-store.ts";
import { countEnded } from "./fates.ts";
import type { GroupChanges, GroupRecord, GroupStore } from "./group-store.ts";
import { NO_GROUP_FATES, NO_POSITION } from "./group-store.ts";
import { GroupView } from "./group-view.ts";
import { Interest } from "./interest.ts";
import type { LeaseFlow } from "./lease-flow.ts";
import { Settlement } from "./settlement.ts";
import type { Expendable } from "./stretch.ts";

/** The name of the only group of a queue, and of the group that is meant where none is named. */
const DEFAULT_GROUP = "default";
/** Its id; those of other groups begin at 1. */
const QUEUE_GROUP_ID = 0;
const NOTHING_STORED: StoredDelivery = { leases: [], deferred: [] };

export interface Group {
  readonly id: number;
  readonly name: string;
  readonly createdAtMs: number;
  readonly isPaused: boolean;
  readonly settings: GivenDelivery;
  readonly expireAfterIdleMs: number | null;
  /** Undefined for the group of a queue, whose position is that of the backlog. */
  readonly view: GroupView | undefined;
  readonly delivery: Delivery;
  readonly settlement: Settlement;
}

export interface ChannelRetention extends ExpirySettings {
  readonly createdAtMs: number;
  readonly retention: Retention;
  readonly maxAgeMs: number | null;
  readonly whenNoGroups: "refuse" | "drop";
  readonly delivery: DeliverySettings;
  readonly limits: { readonly maxMessages: number; readonly maxBytes: number };
}

export interface GroupsOptions {
  readonly backlog: Backlog;
  readonly deadLetters: DeadLetters;
  readonly store: GroupStore;
  readonly deliveryStore: DeliveryStore;
  readonly attached: AttachedLeases;
  /** Is told of leases that come and go. */
  readonly flow: LeaseFlow;
  /** What the sockets carry. */
  readonly carried: readonly CarriedFrame[];
  /** How the channel keeps messages, and its settings for groups that have none of their own. */
  readonly channelSettings: () => ChannelRetention;
}

export class Groups {
  readonly #options: GroupsOptions;
  readonly #byName = new Map<string, Group>();
  readonly #byId = new Map<number, Group>();
  readonly #changed = new Set<number>();
  /** Groups that this commit deletes: their numbers are not used again before. */
  readonly #deleted = new Map<number, Group>();
  #isCleared = false;
  /** Whether all that was stored is here. */
  #isRestored = false;
  #expiring = 0;
  readonly #interest: Interest;

  constructor(options: GroupsOptions) {
    this.#options = options;
    this.#interest = new Interest(options.backlog);
    const stored = options.deliveryStore.readDelivery();
    for (const record of options.store.readGroups()) this.#keep(this.#build(record, stored.get(record.id) ?? NOTHING_STORED));
    this.#keep(this.#buildQueueGroup(stored.get(QUEUE_GROUP_ID) ?? NOTHING_STORED));
    this.#isRestored = true;
  }

  /** Every group that messages are handed out to. */
  *all(): Iterable<Group> {
    const isQueue = this.#retention === "queue";
    for (const group of this.#byId.values()) if ((group.id === QUEUE_GROUP_ID) === isQueue) yield group;
  }

  /** How many have an idle time. */
  get expiring(): number {
    return this.#expiring;
  }

  get size(): number {
    return this.#retention === "queue" ? 1 : this.#byId.size - 1;
  }

  findById(id: number): Group | undefined {
    return this.#byId.get(id);
  }

  /** The group that is meant, or why there is none. */
  find(name: string = DEFAULT_GROUP): Result<Group, Refusal> {
    const isQueue = this.#retention === "queue";
    const group = isQueue ? this.#byId.get(QUEUE_GROUP_ID) : this.#byName.get(name);
    if (isQueue && name !== DEFAULT_GROUP)
      return refuse({ kind: "wrong-retention", retention: "queue", needed: ["interest", "log"] });
    return group === undefined ? refuse({ kind: "unknown-group", group: name }) : accept(group);
  }

  /** A page in the order of names. */
  list({ after = "", limit }: { readonly after?: string | undefined; readonly limit: number }): {
    groups: Group[];
    next: string | null;
  } {
    const found = [...this.all()].filter((group) => group.name > after).sort((a, b) => (a.name < b.name ? -1 : 1));
    return { groups: found.slice(0, limit), next: found.length > limit ? (found[limit - 1]?.name ?? null) : null };
  }

  create(
    name: string,
    request: {
      readonly settings: GivenDelivery;
      readonly expireAfterIdleMs?: number | undefined;
      readonly startOffset: number;
      readonly nowMs: number;
    },
  ): Result<Group, Refusal> {
    if (this.#retention === "queue") {
      return refuse({ kind: "wrong-retention", retention: "queue", needed: ["interest", "log"] });
    }
    if (this.#byId.size > LIMITS.groupsMax) return refuse({ kind: "too-many-groups", limit: LIMITS.groupsMax });
    let id = 1;
    while (this.#byId.has(id) || this.#deleted.has(id)) id++;
    const { settings, expireAfterIdleMs, nowMs: createdAtMs } = request;
    const record = { id, name, createdAtMs, isPaused: false, settings, expireAfterIdleMs, position: NO_POSITION };
    const group = this.#build(record, NOTHING_STORED);
    group.view?.begin(request.startOffset);
    this.#keep(group);
    this.#changed.add(id);
    return accept(group);
  }

  change(
    group: Group,
    change: { readonly isPaused?: boolean | undefined; readonly settings?: GivenDelivery | undefined },
  ): Group {
    const changed: Group = {
      ...group,
      isPaused: change.isPaused ?? group.isPaused,
      settings: { ...group.settings, ...change.settings },
    };
    this.#keep(changed);
    this.#changed.add(group.id);
    return changed;
  }

  delete(group: Group): void {
    this.#byName.delete(group.name);
    this.#byId.delete(group.id);
    if (group.expireAfterIdleMs !== null) this.#expiring -= 1;
    this.#changed.delete(group.id);
    group.delivery.clear();
    this.#deleted.set(group.id, group);
  }

  /** Forgets every group, as when a life ends. */
  clear(): void {
    for (const group of this.#byId.values()) {
      if (group.id === QUEUE_GROUP_ID) group.delivery.clear();
      else this.delete(group);
    }
    this.#interest.clear();
    this.#isCleared = true;
  }

  /** Ends all leases, as those of another life (rule SN8). */
  endLeases(endedAtMs: number): void {
    for (const { delivery } of this.#byId.values()) delivery.endLeases(endedAtMs);
  }

  /** Appends a control record to the channel; a group whose head stood on the one that it supersedes goes on. */
  appendControl(event: ControlEvent, nowMs: number): void {
    this.#options.backlog.appendControl(event, nowMs);
    for (const { view } of this.all()) view?.advance();
  }

  /** Gives up what retention does not keep: in a log what is beyond the limits, with interest what every group has done with. */
  applyRetention(nowMs: number): void {
    const { backlog } = this.#options;
    const { retention, maxAgeMs, limits, whenNoGroups } = this.#options.channelSettings();
    if (retention === "queue") return;
    if (retention === "interest") {
      this.#giveUpDone(whenNoGroups);
      return;
    }
    const excessMessages = backlog.depth - limits.maxMessages;
    const excessBytes = backlog.bytes - limits.maxBytes;
    const keepFromMs = maxAgeMs === null ? 0 : nowMs - maxAgeMs;
    const isExpendable = ({ messages, bytes, putAtMs }: Expendable): boolean =>
      messages < excessMessages || bytes < excessBytes || putAtMs < keepFromMs;
    const headOffset = backlog.findTrim(isExpendable);
    if (headOffset === backlog.headOffset) return;
    for (const { view, delivery } of this.all()) {
      view?.noteTrim(headOffset);
      delivery.forgetBefore(headOffset);
    }
    backlog.trim(({ offset }) => offset < headOffset, "dropped");
  }

  /** Connections that leases belong to. */
  get connections(): readonly number[] {
    return [...new Set([...this.all()].flatMap(({ delivery }) => delivery.connections))];
  }

  ids(): Iterable<number> {
    return this.#byId.keys();
  }

  /** When the next lease or delay in a group of these ends. */
  nextDueAtMs(ids: Iterable<number>): number | undefined {
    let nearest: number | undefined;
    for (const id of ids) {
      const atMs = this.#byId.get(id)?.delivery.nextDueAtMs;
      if (atMs !== undefined) nearest = Math.min(nearest ?? atMs, atMs);
    }
    return nearest;
  }

  /** When the first message of a group expires, of all groups. */
  get nextExpiryAtMs(): number | undefined {
    let nearest: number | undefined;
    for (const { delivery } of this.all()) {
      const atMs = delivery.firstExpiresAtMs;
      if (atMs !== undefined) nearest = Math.min(nearest ?? atMs, atMs);
    }
    return nearest;
  }

  /** The least offset that a group has not done with; undefined without groups. */
  get leastHeadOffset(): number | undefined {
    let least: number | undefined;
    for (const { view } of this.all()) if (view !== undefined) least = Math.min(least ?? view.headOffset, view.headOffset);
    return least;
  }

  describe(group: Group, nowMs: number): GroupDescription {
    const { delivery, view } = group;
    const { backlog } = this.#options;
    const log = view ?? backlog;
    const fates = view?.fates ?? { ...NO_GROUP_FATES, ...backlog.fates };
    const put = view?.putMessages ?? backlog.putMessages;
    const retrying = delivery.countRetrying(nowMs);
    const { leased, quarantined, isLookAheadExhausted } = delivery;
    const ended = countEnded(fates) + fates.skipped;
    return {
      group: group.name,
      // The group of a queue is there as long as the channel.
      createdAtMs: view === undefined ? this.#options.channelSettings().createdAtMs : group.createdAtMs,
      isPaused: group.isPaused,
      settings: this.settingsOf(group),
      expireAfterIdleMs: group.expireAfterIdleMs,
      headOffset: log.headOffset,
      depth: log.depth,
      ready: log.depth - leased - retrying - quarantined,
      leased,
      retrying,
      quarantined,
      isLookAheadExhausted,
      counts: { put, acked: put - log.depth - ended, ...fates },
    };
  }

  /** Stores all leases that lie with sockets (rule SN1). */
  storeAttached(): void {
    for (const { delivery } of this.#byId.values()) delivery.storeAttached();
  }

  takeDeliveryChanges(): DeliveryChanges | undefined {
    const changes = new Map<number, GroupDeliveryChanges>();
    for (const { id, delivery } of [...this.#byId.values(), ...this.#deleted.values()]) {
      const changed = delivery.takeChanges();
      if (changed !== undefined) changes.set(id, changed);
    }
    return changes.size === 0 ? undefined : changes;
  }

  takeChanges(): GroupChanges | undefined {
    const write: GroupRecord[] = [];
    const clearDone: number[] = [];
    const writeDone: GroupChanges["writeDone"][number][] = [];
    const deleteDone: GroupChanges["deleteDone"][number][] = [];
    for (const group of this.#byId.values()) {
      if (group.view === undefined) continue;
      const done = group.view.takeDoneChanges();
      if (done.isCleared) clearDone.push(group.id);
      writeDone.push(...done.write);
      deleteDone.push(...done.delete);
      if (group.view.takeIsChanged() || this.#changed.has(group.id)) write.push(recordOf(group, group.view));
    }
    const isCleared = this.#isCleared;
    const deleted = [...this.#deleted.keys()];
    this.#isCleared = false;
    this.#deleted.clear();
    this.#changed.clear();
    const isChanged = isCleared || [write, deleted, clearDone, writeDone, deleteDone].some((list) => list.length > 0);
    return isChanged ? { isCleared, write, delete: deleted, clearDone, writeDone, deleteDone } : undefined;
  }

  /** With interest: what every group has done with, or, where nobody wants it, all. */
  #giveUpDone(whenNoGroups: "refuse" | "drop"): void {
    const { backlog } = this.#options;
    const { leastHeadOffset } = this;
    if (leastHeadOffset !== undefined) {
      const firstOffsets = (): number[] => [...this.all()].map(({ delivery }) => delivery.firstOffset ?? backlog.nextOffset);
      this.#interest.giveUpDone({ headOffset: leastHeadOffset, findFirstOffset: () => Math.min(...firstOffsets()) });
    } else if (whenNoGroups === "drop" && backlog.nextOffset > backlog.headOffset) backlog.trim(() => true, "dropped");
  }

  get #retention(): Retention {
    return this.#options.channelSettings().retention;
  }

  /** Messages that the group has not done with. */
  depthOf({ view }: Group): number {
    return (view ?? this.#options.backlog).depth;
  }

  /** Whether no group has anything left to do. */
  get isDrained(): boolean {
    if (this.#retention !== "log") return this.#options.backlog.depth === 0;
    for (const group of this.all()) if (this.depthOf(group) > 0) return false;
    return true;
  }

  settingsOf(group: { readonly id: number; readonly settings: GivenDelivery }): DeliverySettings {
    return resolveDelivery(group.settings, this.#options.channelSettings().delivery);
  }

  #keep(group: Group): void {
    if (group.expireAfterIdleMs !== null && !this.#byId.has(group.id)) this.#expiring += 1;
    this.#byId.set(group.id, group);
    if (group.id !== QUEUE_GROUP_ID) this.#byName.set(group.name, group);
  }

  #buildQueueGroup(stored: StoredDelivery): Group {
    const { backlog } = this.#options;
    const settings = (): DeliverySettings => this.#options.channelSettings().delivery;
    const delivery = new Delivery({ ...this.#ofDelivery(QUEUE_GROUP_ID), log: backlog, backlog, stored, settings });
    const settlement = new Settlement({
      group: { groupId: QUEUE_GROUP_ID, group: DEFAULT_GROUP },
      log: backlog,
      delivery,
      deadLetters: this.#options.deadLetters,
      settings,
    });
    const about = {
      id: QUEUE_GROUP_ID,
      name: DEFAULT_GROUP,
      createdAtMs: 0,
      isPaused: false,
      settings: {},
      expireAfterIdleMs: null,
    };
    return { ...about, view: undefined, delivery, settlement };
  }

  /** What the delivery of every group needs; a group that is created later finds nothing that a socket carries. */
  #ofDelivery(id: number): Pick<ConstructorParameters<typeof Delivery>[0], "id" | "attached" | "flow" | "carried" | "expiry"> {
    const { attached, flow, carried, channelSettings } = this.#options;
    const own = this.#isRestored ? [] : carried.filter(({ group }) => group === id);
    return { id, attached, flow, carried: own, expiry: channelSettings };
  }

  #build(record: GroupRecord, stored: StoredDelivery): Group {
    const { backlog, store, deadLetters } = this.#options;
    const { id, name, createdAtMs, isPaused, settings, expireAfterIdleMs = null, position } = record;
    const view = new GroupView({ id, log: backlog, store, position });
    const current = (): DeliverySettings => this.settingsOf(this.#byId.get(id) ?? record);
    const delivery = new Delivery({ ...this.#ofDelivery(id), log: view, stored, settings: current });
    const settlement = new Settlement({
      group: { groupId: id, group: name },
      log: view,
      delivery,
      deadLetters,
      settings: current,
    });
    return { id, name, createdAtMs, isPaused, settings, expireAfterIdleMs, view, delivery, settlement };
  }
}

function recordOf(group: Group, { position }: GroupView): GroupRecord {
  const { id, name, createdAtMs, isPaused, settings, expireAfterIdleMs } = group;
  return { id, name, createdAtMs, isPaused, settings, expireAfterIdleMs: expireAfterIdleMs ?? undefined, position };
}
