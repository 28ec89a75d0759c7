// What the model knows: plain lists in the order of offsets. Nothing in it is ever changed in place, so a copy of the lists is a copy of all.
import type { DeadLetter } from "../../../src/channel/dead-letter-store.ts";
import type { LeaseEnd } from "../../../src/channel/delivery-store.ts";
import type { Effect, LeaseTerms, Origin, Outcome } from "../../../src/channel/operation.ts";
import type { ChannelRecord } from "../../../src/channel/store.ts";
import type { ControlEvent, ControlRecord, Message, PutMessage } from "../../../src/protocol/message.ts";
import type { Refusal } from "../../../src/protocol/problems.ts";
import type { GivenDelivery, Settings } from "../../../src/protocol/settings.ts";
import type { MessageFilter } from "../../../src/protocol/stream-frames.ts";
import { type BesideState, NOTHING_BESIDE } from "./beside.ts";

export interface ModelLease {
  /** The pull that holds it: each has a number of its own. */
  readonly holder: number;
  readonly leasedAtMs: number;
  /** When it ends. */
  readonly deadlineMs: number;
  /** When it would end, were it not kept for a while only. */
  readonly wholeDeadlineMs: number;
  /** The connection whose end ends it (rule LS9); undefined for a detached one. */
  readonly connection: number | undefined;
}

/** A message as the channel keeps it, for all groups. */
export interface KeptMessage {
  readonly offset: number;
  readonly putAtMs: number;
  readonly bytes: number;
  readonly message: PutMessage;
  readonly control?: undefined;
}

/**
 * A message as a group sees it. `fresh`: delivery has not looked at it; `parked`: delivery passed it, since an earlier one of its key was in the way;
 * `leased`; `back`: it was handed out and came back, perhaps to wait for a delay or in quarantine.
 */
export interface ModelMessage extends KeptMessage {
  readonly state: "fresh" | "parked" | "leased" | "back";
  /** How often it was handed out and not released. */
  readonly attempts: number;
  readonly lease?: ModelLease | undefined;
  /** How its last lease ended. */
  readonly end?: LeaseEnd | undefined;
  /** When it may be handed out again; 0 for at once. */
  readonly dueAtMs: number;
  /** With a random pause: the earliest end of it; `dueAtMs` is then the latest, until the true one is adopted. */
  readonly dueFromMs?: number | undefined;
  readonly isQuarantined: boolean;
}

interface ModelControl {
  readonly offset: number;
  readonly putAtMs: number;
  readonly bytes: 0;
  readonly message?: undefined;
  readonly control: ControlEvent;
}

export type ModelRecord = KeptMessage | ModelControl;

export type GroupRecord = ModelMessage | ModelControl;

/** How a message can end. */
export type Fate = "acked" | "removed" | "deadLettered" | "dropped" | "expired";

/** A group of readers. The counts are its account since its start (rule GP3); a queue has one, with id 0. */
export interface ModelGroup extends Readonly<Record<Fate | "put" | "skipped", number>> {
  readonly id: number;
  readonly name: string;
  readonly createdAtMs: number;
  readonly isPaused: boolean;
  /** Settings of its own, over those of the channel. */
  readonly settings: GivenDelivery;
  /** What it has not done with, in the order of offsets. */
  readonly records: readonly GroupRecord[];
  /** Where delivery goes on to look, and where it would after waking (rule KO5). */
  readonly frontier: number;
  readonly scanMark: number;
  /** What lies before it may have been handed out though nobody knows (rule LS8). */
  readonly doubtBefore: number;
}

export interface ModelWaiter extends Origin {
  readonly kind: "get" | "put";
  readonly min: number;
  readonly max: number;
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly reservedUntilMs?: number;
  readonly lease?: LeaseTerms | undefined;
  /** For a get the number of its group. */
  readonly group?: number;
  /** No request, but a member of the group in its place (SB3). */
  readonly isMember?: true;
}

/** What may be sent to a subscriber, and what was (SB2). */
export interface Size {
  readonly messages: number;
  readonly bytes: number;
}

interface ModelSubscribed extends Origin {
  readonly credit: Size;
}

export interface ModelMember extends ModelSubscribed {
  readonly type: "member";
  readonly group: number;
  /** Whose its leases are. */
  readonly holder: number;
  readonly leaseMs: number;
}

export interface ModelReader extends ModelSubscribed {
  readonly type: "reader";
  readonly isTap: boolean;
  /** The next record that it has not been sent. */
  readonly position: number;
  readonly filter: MessageFilter | undefined;
}

export type ModelSubscription = ModelMember | ModelReader;

/** BP: a connection that watches, and the level that it was told. */
export interface ModelWatch extends Origin {
  readonly isHigh: boolean;
}

export interface ModelState extends BesideState {
  readonly record: ChannelRecord | undefined;
  readonly records: readonly ModelRecord[];
  readonly nextOffset: number;
  readonly put: number;
  readonly acked: number;
  readonly removed: number;
  readonly deadLettered: number;
  readonly dropped: number;
  readonly expired: number;
  readonly deadLetters: readonly DeadLetter[];
  readonly groups: readonly ModelGroup[];
  /** Numbers of groups that the next commit deletes: no new group gets one of them before. */
  readonly deletedGroups: readonly number[];
  /** When the latest record was put, and whether each was put no earlier than those before it: a clock may be set back. */
  readonly latestPutAtMs: number;
  readonly isTimeOrdered: boolean;
  /** When a message, a control record or a setting changed last. */
  readonly changedAtMs: number;
  /** When a tick found messages or waiters last; not stored. */
  readonly inUseAtMs: number;
  readonly gets: readonly ModelWaiter[];
  /** Numbers of the groups in which gets wait, in the order in which their lines began. */
  readonly lines: readonly number[];
  readonly puts: readonly ModelWaiter[];
  readonly promises: readonly ModelWaiter[];
  /** In the order in which they were asked for. */
  readonly subscriptions: readonly ModelSubscription[];
  readonly watches: readonly ModelWatch[];
}

const EMPTY: ModelState = {
  ...NOTHING_BESIDE,
  record: undefined,
  records: [],
  nextOffset: 1,
  put: 0,
  acked: 0,
  removed: 0,
  deadLettered: 0,
  dropped: 0,
  expired: 0,
  deadLetters: [],
  groups: [],
  deletedGroups: [],
  latestPutAtMs: 0,
  isTimeOrdered: true,
  changedAtMs: 0,
  inUseAtMs: 0,
  gets: [],
  lines: [],
  puts: [],
  promises: [],
  subscriptions: [],
  watches: [],
};

/** The state, its changes, and answers to those who wait. */
export class Book {
  state: ModelState = EMPTY;
  /** Rises with each change that a commit or a socket keeps. */
  version = 0;
  /** What the channel answered to what is being decided: only for what the rules leave to it. */
  told: Outcome | undefined;
  #effects: Effect[] = [];
  #sent: Effect[] = [];

  get messages(): readonly KeptMessage[] {
    return this.state.records.filter((record) => record.message !== undefined);
  }

  get depth(): number {
    return this.messages.length;
  }

  get bytes(): number {
    return sum(this.state.records.map((record) => record.bytes));
  }

  /** The first record that a get looks at. */
  get headOffset(): number {
    return this.state.records[0]?.offset ?? this.state.nextOffset;
  }

  /** Every request that waits. */
  get waiters(): readonly ModelWaiter[] {
    const { lines, promises, puts } = this.state;
    return [...lines.flatMap((group) => this.gets.filter((get) => get.group === group)), ...promises, ...puts];
  }

  /** The gets that wait, without the members of groups that stand among them. */
  get gets(): readonly ModelWaiter[] {
    return this.state.gets.filter(({ isMember }) => isMember !== true);
  }

  get existing(): ChannelRecord {
    if (this.state.record === undefined) throw new Error("The channel exists");
    return this.state.record;
  }

  find(offset: number): KeptMessage | undefined {
    return this.messages.find((message) => message.offset === offset);
  }

  change(change: Partial<ModelState>): void {
    this.state = { ...this.state, ...change };
    this.version += 1;
  }

  /** A change that is neither stored nor told: delivery has looked further. */
  note(change: Partial<ModelState>): void {
    this.state = { ...this.state, ...change };
  }

  changeGroup(id: number, change: Partial<ModelGroup>): void {
    this.change({ groups: this.state.groups.map((group) => (group.id === id ? { ...group, ...change } : group)) });
  }

  /** As `note`, of one group. */
  noteGroup(id: number, change: Partial<ModelGroup>): void {
    this.note({ groups: this.state.groups.map((group) => (group.id === id ? { ...group, ...change } : group)) });
  }

  append(messages: readonly PutMessage[], sizes: readonly number[], nowMs: number): void {
    const offset = this.state.nextOffset;
    if (messages.length === 0) return;
    const added = messages.map((message, index): KeptMessage => {
      return { offset: offset + index, putAtMs: nowMs, bytes: sizes[index] ?? 0, message };
    });
    this.change({
      records: [...this.state.records, ...added],
      groups: this.state.groups.map((group) => {
        return { ...group, records: [...group.records, ...added.map(freshOf)], put: group.put + added.length };
      }),
      nextOffset: offset + added.length,
      put: this.state.put + added.length,
      ...this.#timesWith(nowMs),
    });
  }

  /** GR2: one that directly follows another supersedes it. */
  appendControl(control: ControlEvent, nowMs: number): void {
    const { records, nextOffset, groups } = this.state;
    const last = records.at(-1);
    const superseded = last?.control !== undefined && last.offset === nextOffset - 1 ? last.offset : 0;
    const added = { offset: nextOffset, putAtMs: nowMs, bytes: 0, control } as const;
    this.change({
      records: [...records.filter(({ offset }) => offset !== superseded), added],
      groups: groups.map((group) => {
        return { ...group, records: [...group.records.filter(({ offset }) => offset !== superseded), added] };
      }),
      nextOffset: nextOffset + 1,
      ...this.#timesWith(nowMs),
    });
  }

  /** Records that the channel does not keep any more; the messages among them ended so. */
  end(offsets: readonly number[], fate: Fate, nowMs: number): void {
    if (offsets.length === 0) return;
    const [ended, kept] = partition(this.state.records, ({ offset }) => offsets.includes(offset));
    const messages = ended.filter(({ message }) => message !== undefined).length;
    this.change({ records: kept, [fate]: this.state[fate] + messages, changedAtMs: nowMs });
  }

  tell({ connection, request }: Origin, outcome: Outcome): void {
    this.#effects.push({ connection, request, outcome });
  }

  /** What a subscriber is sent: it comes after the answers to those who wait. */
  send({ connection, request }: Origin, outcome: Outcome): void {
    this.#sent.push({ connection, request, outcome });
  }

  /** WT10: whether the answer to a request is not told yet. */
  hasUntoldEnd({ connection, request }: Origin): boolean {
    const ends = [
      ...this.#effects.filter(({ outcome }) => outcome.type !== "room"),
      ...this.#sent.filter(({ outcome }) => outcome.type === "ended"),
    ];
    return ends.some((one) => one.connection === connection && one.request === request);
  }

  takeEffects(): Effect[] {
    return [...this.#effects.splice(0), ...this.#sent.splice(0)];
  }

  #timesWith(nowMs: number): Pick<ModelState, "changedAtMs" | "latestPutAtMs" | "isTimeOrdered"> {
    const { latestPutAtMs, isTimeOrdered } = this.state;
    return {
      changedAtMs: nowMs,
      latestPutAtMs: Math.max(latestPutAtMs, nowMs),
      isTimeOrdered: isTimeOrdered && nowMs >= latestPutAtMs,
    };
  }
}

/** A record that a group has not looked at. */
export function freshOf(record: ModelRecord): GroupRecord {
  if (record.message === undefined) return record;
  const fresh: ModelMessage = { ...record, state: "fresh", attempts: 0, dueAtMs: 0, isQuarantined: false };
  return fresh;
}

/** Those that are meant, and the others. */
export function partition<Item>(items: readonly Item[], isMeant: (item: Item) => boolean): [Item[], Item[]] {
  return [items.filter(isMeant), items.filter((item) => !isMeant(item))];
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

export function refused(refusal: Refusal): Extract<Outcome, { type: "refused" }> {
  return { type: "refused", refusal };
}

export function invalid(pointer: string): Extract<Outcome, { type: "refused" }> {
  return refused({ kind: "invalid-request", errors: [{ pointer, detail: "" }] });
}

export function tooLarge(unit: "messages" | "bytes", size: number, limit: number): Extract<Outcome, { type: "refused" }> {
  return refused({ kind: "batch-too-large", size, limit, unit });
}

export function messageOf({ message, offset, putAtMs }: KeptMessage): Message {
  return { ...message, offset, putAtMs };
}

export function controlOf(record: ModelRecord): ControlRecord[] {
  const { offset, putAtMs, control } = record;
  return control === undefined ? [] : [{ offset, putAtMs, control }];
}

/** The most that a channel can ever hold. */
export function ceilingOf({ limits, settings: { growth } }: ChannelRecord): { messages: number; bytes: number } {
  return {
    messages: Math.max(limits.maxMessages, growth?.maxMessages ?? 0),
    bytes: Math.max(limits.maxBytes, growth?.maxBytes ?? 0),
  };
}

export function refusalOfPut({ state, drainUntilMs }: ChannelRecord): Refusal | undefined {
  if (state === "draining") return { kind: "channel-draining", drainUntilMs };
  return state === "closed" ? { kind: "channel-closed" } : undefined;
}

export function deletedRefusal({ deletedAtMs, droppedMessages }: ChannelRecord): Refusal {
  return { kind: "channel-deleted", deletedAtMs: deletedAtMs ?? 0, droppedMessages };
}

export function faultOf({ growth, marks, maxMessages, maxBytes, maxAgeMs, retention }: Settings): string | undefined {
  if (growth !== null && growth.maxMessages < maxMessages) return "/growth/maxMessages";
  if (growth !== null && growth.maxBytes < maxBytes) return "/growth/maxBytes";
  if ((marks.highMessages ?? Infinity) <= (marks.lowMessages ?? 0)) return "/marks/lowMessages";
  if ((marks.highBytes ?? Infinity) <= (marks.lowBytes ?? 0)) return "/marks/lowBytes";
  if (maxAgeMs !== null && retention !== "log") return "/maxAgeMs";
  return growth !== null && retention === "log" ? "/growth" : undefined;
}
