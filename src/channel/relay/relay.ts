// A relay: stands between a channel and its plain readers or taps at one colo, and is one of them to the channel. Decides what they are sent
// and what the channel is asked for. SPEC section RY.
import { LIMITS } from "../../protocol/limits.ts";
import type { Refusal } from "../../protocol/problems.ts";
import { formatResume, parseResume, type MessageFilter } from "../../protocol/stream-frames.ts";
import { capCredit, type Size } from "../admission.ts";
import type { Effect, OperationOf, Origin, Outcome, StreamStart } from "../operation.ts";
import { refused } from "../refused.ts";
import { SharedPages } from "../shared-pages.ts";
import { hasCredit, spend, type PlainReader } from "../subscription.ts";
import { Subscriptions } from "../subscriptions.ts";
import { LookBack } from "./look-back.ts";
import type { Followed, LinkAsk, LinkFrame } from "./link-frames.ts";
import { Live } from "./live.ts";

const TOO_MANY_RETRY_AFTER_MS = 1000;
const NO_CREDIT: Size = { messages: 0, bytes: 0 };

/** A subscription of which the channel has to say where it begins. */
interface Probe {
  readonly origin: Origin;
  readonly credit: Size;
  readonly from: StreamStart;
  readonly isTap: boolean;
  readonly filter: MessageFilter | undefined;
}

type LinkState = "down" | "up" | "parting";

export class Relay {
  readonly #kept = new Subscriptions();
  /** By the id under which the channel is asked. */
  readonly #probes = new Map<number, Probe>();
  readonly #lookBack: LookBack;
  readonly #live: Live;
  #followed: Followed | undefined;
  #link: LinkState = "down";
  /** Whether something is to be had of the channel that a closed link can not bring. */
  #isLinkWanted = false;
  /** Under which the channel is asked where it ends, while the link parts. */
  #endId: number | undefined;
  /** What it answered, and the time before. */
  #toldEndOffset = 0;
  #endOffset = 0;
  /** Whether a page was on its way when the link began to part. */
  #isPageOwed = false;
  /** Whether the channel refused to serve it for now. */
  #isBroken = false;
  #lastUseMs = 0;
  #lastId = 0;
  #asks: LinkAsk[] = [];
  #effects: Effect[] = [];
  #hasMore = false;

  /** `readers`: as their sockets carried them through the end of an earlier relay. */
  constructor(readers: Iterable<PlainReader>) {
    const ask = (frame: LinkAsk): void => void this.#asks.push(frame);
    const drawId = (): number => (this.#lastId += 1);
    this.#live = new Live({ ask, drawId });
    this.#lookBack = new LookBack({ ask, drawId });
    const all = [...readers];
    const { life, isTap = false } = all.at(-1) ?? {};
    if (life !== undefined) this.#followed = { life, isTap };
    for (const reader of all) {
      this.#kept.set(reader);
      if (reader.life !== life) this.#end(reader, lostFor(reader));
    }
    this.#kept.takeChangedConnections();
  }

  get readers(): number {
    return this.#kept.readers;
  }

  /** Whether a link has to be opened. */
  get wantsLink(): boolean {
    return this.#link === "down" && this.#isLinkWanted && !this.#isUnused;
  }

  /** Whether the link is of no use any more. */
  get isDoneWithLink(): boolean {
    return this.#link !== "down" && (this.#isBroken || this.#isUnused || this.#hasParted);
  }

  /** When to look whether the link is idle; undefined without one. */
  get idleAtMs(): number | undefined {
    return this.#link === "up" ? this.#lastUseMs + LIMITS.relayIdleMs : undefined;
  }

  /** Whether readers have to be served again: more came than a frame of each holds, or they said something. */
  get hasMore(): boolean {
    return this.#hasMore;
  }

  subscriptionsOf(connection: number): readonly PlainReader[] {
    return this.#kept.ofConnection(connection).filter((one) => one.type === "reader");
  }

  takeChangedConnections(): readonly number[] {
    return this.#kept.takeChangedConnections();
  }

  takeAsks(): readonly LinkAsk[] {
    const asks = this.#asks;
    this.#asks = [];
    return asks;
  }

  takeEffects(): readonly Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  subscribe({ credit, target }: OperationOf<"subscribe">, origin: Origin): void {
    const refusal: Refusal | undefined =
      target.type === "member" ? { kind: "plain-reading-only", frameType: "subscribe" } : this.#refuse(origin);
    if (target.type === "member" || refusal !== undefined) {
      if (refusal !== undefined) this.#tell(origin, refused(refusal));
      return;
    }
    const { from = { at: "last" } as const, filter } = target;
    const probe: Probe = { origin, credit, from, isTap: target.type === "tap", filter };
    const place = "resume" in from ? parseResume(from.resume) : undefined;
    const isOfLog = this.#followed !== undefined && !this.#followed.isTap;
    if (place !== undefined && isOfLog && place.life === this.#followed?.life && this.#live.covers(place.offset)) {
      this.#begin(probe, place.offset);
      return;
    }
    const id = (this.#lastId += 1);
    this.#probes.set(id, probe);
    this.#isLinkWanted = true;
    if (this.#link === "up") this.#sendProbe(id, probe);
  }

  grant({ request, credit }: OperationOf<"credit">, { connection }: Origin): void {
    const origin = { connection, request };
    const reader = this.#kept.find(origin);
    if (reader?.type !== "reader") {
      this.#grantProbe(origin, credit);
      return;
    }
    const before = reader.credit;
    this.#kept.set({ ...reader, credit: addCredit(before, credit) });
    // One that had some was sent all there was, and the channel calls when more comes.
    if (!hasCredit(reader)) this.#isLinkWanted = true;
    this.#hasMore = true;
  }

  unsubscribe({ request }: OperationOf<"unsubscribe">, { connection }: Origin): void {
    const origin = { connection, request };
    const reader = this.#kept.find(origin);
    const probe = this.#findProbe(origin);
    if (probe !== undefined) this.#probes.delete(probe);
    if (reader !== undefined) this.#kept.delete(reader);
    const isKnown = reader !== undefined || probe !== undefined;
    this.#tell(origin, isKnown ? { type: "ended" } : refused({ kind: "unknown-subscription", id: request }));
  }

  /** Forgets the subscriptions of a connection that closed. */
  disconnect(connection: number): void {
    for (const reader of this.#kept.ofConnection(connection)) this.#kept.delete(reader);
    for (const [id, probe] of this.#probes) if (probe.origin.connection === connection) this.#probes.delete(id);
  }

  /** The channel has something for it, or may have. */
  wake(): void {
    this.#isLinkWanted = true;
  }

  linkUp(nowMs: number): void {
    this.#link = "up";
    this.#isLinkWanted = false;
    this.#isBroken = false;
    this.#lastUseMs = nowMs;
    this.#goOn();
    for (const [id, probe] of this.#probes) this.#sendProbe(id, probe);
  }

  /** The link broke or was closed. */
  linkDown(): void {
    // Who had parted with the channel has been sent all there was.
    if (this.#link === "up") this.#isLinkWanted = true;
    this.#link = "down";
    this.#endId = undefined;
    this.#asks = [];
    this.#live.cut();
    this.#lookBack.end();
  }

  /** Parts with the channel when nothing came for long. */
  look(nowMs: number): void {
    const isIdle = this.#link === "up" && nowMs - this.#lastUseMs >= LIMITS.relayIdleMs;
    if (!isIdle || this.#probes.size > 0 || !this.#isFollowing) return;
    this.#link = "parting";
    this.#isLinkWanted = false;
    this.#isPageOwed = this.#lookBack.isBusy(this.#live.tail?.headOffset ?? 0);
    this.#lookBack.drop();
    this.#live.part();
    this.#endId = this.#lastId += 1;
    this.#sendProbe(this.#endId, { from: { at: "last" }, isTap: this.#followed?.isTap === true });
  }

  receive(frame: LinkFrame, nowMs: number): void {
    switch (frame.type) {
      case "subscribed":
        this.#lastUseMs = nowMs;
        this.#noteSubscribed(frame);
        break;
      case "deliver":
        this.#lastUseMs = nowMs;
        if (this.#live.is(frame.id)) this.#live.add(frame.page, frame.size);
        else this.#lookBack.add(frame.id, frame.page, frame.size);
        // What comes right behind it goes out in the same frames.
        this.#hasMore = true;
        return;
      case "ended":
        this.#noteEnded(frame.id, frame.refusal);
        break;
      case "refused":
        this.#noteRefused(frame.id, frame.refusal);
        break;
    }
    this.serve();
  }

  /** Sends each reader a frame of what it has credit for, and asks the channel for what is missing. */
  serve(): void {
    this.#hasMore = false;
    const [live, past] = [this.#live.tail, this.#lookBack.tail];
    if (live === undefined || this.#followed === undefined) return;
    const { life } = this.#followed;
    const pages = { live: new SharedPages(live), past: past && new SharedPages(past) };
    for (const one of this.#kept.all()) {
      if (one.type !== "reader") continue;
      let reader = one;
      if (hasCredit(reader) && reader.position < live.nextOffset) {
        if (live.covers(reader.position)) reader = this.#sendPage(reader, pages.live, life);
        else if (pages.past !== undefined && this.#lookBack.reaches(reader.position))
          reader = this.#sendPage(reader, pages.past, life);
      }
      if (reader.position >= live.nextOffset && this.#live.endedBy !== undefined) this.#end(reader, this.#live.endedBy);
    }
    this.#askForMore();
  }

  #sendPage(reader: PlainReader, pages: SharedPages, life: string): PlainReader {
    const { moved, delivered, isCut } = pages.serve(reader, life);
    const sent = delivered === undefined ? moved : { ...moved, credit: spend(moved.credit, delivered) };
    this.#kept.set(sent);
    if (delivered !== undefined) this.#tell(reader, delivered);
    this.#hasMore ||= hasCredit(sent) && (isCut || this.#live.covers(sent.position) !== this.#live.covers(reader.position));
    return sent;
  }

  #askForMore(): void {
    if (this.#link !== "up" || !this.#isFollowing || this.#hasMore) return;
    const { tail } = this.#live;
    if (tail === undefined) return;
    const wanting = this.#kept.all().filter((one) => one.type === "reader" && hasCredit(one)) as readonly PlainReader[];
    if (wanting.some(({ position }) => position >= tail.nextOffset)) this.#live.grant();
    const behind = wanting.filter(({ position }) => !tail.covers(position) && position < tail.nextOffset);
    const positions = behind.map(({ position }) => position);
    if (this.#followed !== undefined) this.#lookBack.seek(positions, tail.headOffset, this.#followed);
  }

  #noteSubscribed({ id, life, position }: Extract<LinkFrame, { type: "subscribed" }>): void {
    if (this.#live.is(id)) this.#live.open();
    if (this.#endId === id) this.#toldEndOffset = position;
    const probe = this.#probes.get(id);
    if (probe === undefined) return;
    this.#probes.delete(id);
    const followed = { life, isTap: probe.isTap };
    if (this.#followed?.life !== life) this.#beginLife(followed);
    this.#begin(probe, position);
    const isFarAhead = position - (this.#live.tail?.nextOffset ?? position) > LIMITS.relayJumpRecords;
    if (this.#live.tail === undefined || isFarAhead) this.#live.begin(followed, position);
    else this.#live.resume(followed);
  }

  /** The channel was deleted and created anew: what is known of the old one is worth nothing. */
  #beginLife(followed: Followed): void {
    this.#endAll(lostFor);
    this.#followed = followed;
    this.#live.drop();
    this.#lookBack.drop();
  }

  #noteEnded(id: number, refusal: Refusal | undefined): void {
    if (this.#endId === id) this.#noteEnd();
    if (this.#lookBack.is(id)) this.#lookBack.end();
    if (!this.#live.is(id)) return;
    if (refusal === undefined) this.#live.notePart();
    else if (refusal.kind === "channel-closed" && this.#followed?.isTap !== true) this.#live.close(refusal);
    else this.#loseChannel(() => refusal);
  }

  /**
   * The channel has confirmed that its last frame was sent, and where it ends. Where that is farther, more may have been to come: so it goes
   * on once. Records that were removed before they were sent are told by no frame.
   */
  #noteEnd(): void {
    this.#endId = undefined;
    const position = this.#toldEndOffset;
    const isOwed = this.#isPageOwed || position > (this.#live.tail?.nextOffset ?? position);
    const isNew = position !== this.#endOffset;
    this.#endOffset = position;
    // Or somebody came meanwhile.
    if (!(isOwed && isNew) && !this.#isLinkWanted) return;
    this.#link = "up";
    this.#isLinkWanted = false;
    this.#goOn();
    for (const [id, probe] of this.#probes) this.#sendProbe(id, probe);
  }

  #noteRefused(id: number, refusal: Refusal): void {
    if (id === this.#endId) {
      this.#endId = undefined;
      return;
    }
    const probe = this.#probes.get(id);
    if (probe !== undefined) {
      this.#probes.delete(id);
      this.#tell(probe.origin, refused(refusal));
    } else if (refusal.kind === "unknown-subscription" || (!this.#live.is(id) && !this.#lookBack.is(id))) return;
    else if ("retryAfterMs" in refusal) this.#isBroken = true;
    else this.#loseChannel(isOfAnother(refusal) ? lostFor : () => refusal);
  }

  #loseChannel(reason: (reader: PlainReader) => Refusal): void {
    this.#endAll(reason);
    this.#followed = undefined;
    this.#live.drop();
    this.#lookBack.drop();
  }

  /** Goes on where it stood: where its tail ends, or where the foremost reader is. */
  #goOn(): void {
    if (this.#followed === undefined || this.#kept.readers === 0) return;
    if (this.#live.tail !== undefined) this.#live.resume(this.#followed);
    else {
      const positions = this.#kept.all().map((one) => (one.type === "reader" ? one.position : 0));
      this.#live.begin(
        this.#followed,
        positions.reduce((most, position) => Math.max(most, position), 0),
      );
    }
  }

  #begin({ origin, credit, isTap, filter }: Probe, position: number): void {
    const life = this.#followed?.life;
    const base = { ...origin, type: "reader", isTap, credit: capCredit(credit), position } as const;
    this.#kept.set({ ...base, ...(life !== undefined && { life }), ...(filter !== undefined && { filter }) });
    this.#tell(origin, { type: "subscribed", ...(!isTap && { resume: formatResume(life ?? "", position) }) });
    this.#hasMore = true;
  }

  /** Whether the tail is all that there is behind it, or will be. */
  get #isFollowing(): boolean {
    return this.#live.isOpen || this.#live.endedBy !== undefined;
  }

  /** Asks where a subscription begins, by one that is sent nothing. */
  #sendProbe(id: number, { from, isTap }: Pick<Probe, "from" | "isTap">): void {
    this.#asks.push({ type: "subscribe", id, credit: NO_CREDIT, from, ...(isTap && { tap: true }) }, { type: "unsubscribe", id });
  }

  #refuse(origin: Origin): Refusal | undefined {
    const { connection, request } = origin;
    if (this.#kept.find(origin) !== undefined || this.#findProbe(origin) !== undefined)
      return { kind: "request-in-use", id: request };
    const probes = [...this.#probes.values()].filter((probe) => probe.origin.connection === connection);
    const limit = LIMITS.subscriptionsPerSocketMax;
    return probes.length + this.#kept.ofConnection(connection).length >= limit
      ? { kind: "too-many-subscriptions", limit, retryAfterMs: TOO_MANY_RETRY_AFTER_MS }
      : undefined;
  }

  #findProbe({ connection, request }: Origin): number | undefined {
    for (const [id, { origin }] of this.#probes) {
      if (origin.connection === connection && origin.request === request) return id;
    }
    return undefined;
  }

  #grantProbe(origin: Origin, credit: Size): void {
    const id = this.#findProbe(origin);
    const probe = id === undefined ? undefined : this.#probes.get(id);
    if (id === undefined || probe === undefined)
      this.#tell(origin, refused({ kind: "unknown-subscription", id: origin.request }));
    else this.#probes.set(id, { ...probe, credit: addCredit(probe.credit, credit) });
  }

  get #hasParted(): boolean {
    return this.#link === "parting" && this.#live.isAway && this.#endId === undefined;
  }

  get #isUnused(): boolean {
    return this.#kept.readers === 0 && this.#probes.size === 0;
  }

  #endAll(reason: (reader: PlainReader) => Refusal): void {
    for (const reader of this.#kept.all()) if (reader.type === "reader") this.#end(reader, reason(reader));
  }

  #end(reader: PlainReader, refusal: Refusal): void {
    this.#kept.delete(reader);
    this.#tell(reader, { type: "ended", refusal });
  }

  #tell({ connection, request }: Origin, outcome: Outcome): void {
    this.#effects.push({ connection, request, outcome });
  }
}

function addCredit(credit: Size, { messages, bytes }: Size): Size {
  return capCredit({ messages: credit.messages + messages, bytes: credit.bytes + bytes });
}

/** Whether a channel refuses to go on because it is not the one that was followed: retention holds for a life (rule GP1). */
function isOfAnother({ kind }: Refusal): boolean {
  return kind === "resume-lost" || kind === "wrong-retention";
}

/** Why a reader of a life that is over gets nothing any more. */
function lostFor({ life = "", position }: PlainReader): Refusal {
  return { kind: "resume-lost", resume: formatResume(life, position) };
}
