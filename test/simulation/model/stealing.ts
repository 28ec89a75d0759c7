// Who may be asked for what it holds: SPEC rule SB13. Whom, and for how many, the channel chooses within it.
import type { Origin } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { ModelDelivery } from "./delivery.ts";
import { GroupBook } from "./group-book.ts";
import type { Book, ModelMember, ModelMessage, ModelWaiter } from "./state.ts";
import type { ModelStreams } from "./streams.ts";

export class ModelStealing {
  readonly #book: Book;
  readonly #delivery: ModelDelivery;
  readonly #streams: ModelStreams;
  /** Leases that were asked for since the channel woke. */
  readonly #asked = new Set<string>();

  constructor(parts: { readonly book: Book; readonly delivery: ModelDelivery; readonly streams: ModelStreams }) {
    this.#book = parts.book;
    this.#delivery = parts.delivery;
    this.#streams = parts.streams;
  }

  wake(): void {
    this.#asked.clear();
  }

  /** Lets a member be asked for leases; returns what is wrong with that. */
  ask(origin: Origin, leaseIds: readonly string[], nowMs: number): string | undefined {
    const member = this.#streams.find(origin);
    if (member?.type !== "member") return `[SB13] ${origin.connection} is no member and is asked for leases`;
    const problem = this.#findFault(member, leaseIds, nowMs);
    for (const leaseId of leaseIds) this.#asked.add(leaseId);
    this.#streams.moveBack(member);
    return problem && `[SB13] connection ${member.connection} is asked for ${leaseIds.join(", ")}: ${problem}`;
  }

  #findFault(member: ModelMember, leaseIds: readonly string[], nowMs: number): string | undefined {
    const group = new GroupBook(this.#book, member.group);
    if (leaseIds.length === 0) return "nothing";
    if (leaseIds.some((leaseId) => this.#asked.has(leaseId))) return "it was asked for some of them before";
    const messages = leaseIds.flatMap((leaseId) => this.#delivery.findHeldBy(leaseId, member) ?? []);
    if (messages.length < leaseIds.length) return "it does not hold all of them";
    if (messages.some(({ lease }) => (lease?.leasedAtMs ?? nowMs) + LIMITS.revokeAgeMs > nowMs)) return "some are too young";
    const isAmong = (message: ModelMessage): boolean => messages.some(({ offset }) => offset === message.offset);
    const isCut = ({ message: { key } }: ModelMessage): boolean =>
      key !== undefined && group.leased.some((other) => other.message.key === key && !isAmong(other));
    if (messages.some(isCut)) return "of a key it keeps some";
    if (group.state.isPaused) return "the group is paused";
    const isWaiting = (get: ModelWaiter): boolean => get.deadlineMs > nowMs && this.#streams.find(get) !== member;
    const waiting = this.#book.state.gets.find((get) => get.group === group.id && isWaiting(get));
    if (waiting === undefined) return "nobody else waits";
    const other = this.#streams.find(waiting);
    const countOf = (holder: number): number => group.leased.filter(({ lease }) => lease?.holder === holder).length;
    const held = other?.type === "member" ? countOf(other.holder) : 0;
    if (leaseIds.length > (countOf(member.holder) - held) / 2) return `who waits holds ${held}, and it ${countOf(member.holder)}`;
    const wanted = other?.type === "member" ? other.credit.messages : waiting.max;
    return leaseIds.length > wanted ? `who waits wants ${wanted}` : undefined;
  }
}
