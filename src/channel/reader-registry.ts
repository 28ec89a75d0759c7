// Who reads and who puts, and from where: made of subscriptions, waiters and leases when it is asked for. SPEC section RG.
import type { Place } from "../protocol/place.ts";
import type { ColoCount, ReaderDescription } from "../protocol/reader-routes.ts";
import type { Activity, Tally } from "./activity.ts";
import type { Lease } from "./delivery-store.ts";
import type { Groups } from "./groups.ts";
import type { ListReadersOperation, Outcome } from "./operation.ts";
import type { Streams } from "./streams.ts";
import { placeOfSource } from "./source-place.ts";
import type { Member, PlainReader } from "./subscription.ts";
import type { Waiter, WaitLine } from "./wait-line.ts";

interface RegistryParts {
  readonly groups: Groups;
  readonly line: WaitLine;
  readonly streams: Streams;
  readonly activity: Activity;
  readonly placeOf: (connection: number) => Place | undefined;
}

/** What one source tells of an entry; what several tell of the same one is added up. */
interface Told extends Pick<ReaderDescription, "id" | "role" | "kind"> {
  readonly group?: string | undefined;
  readonly place: Place | undefined;
  readonly connection?: number;
  readonly sinceMs?: number | undefined;
  readonly lastSeenMs?: number | undefined;
  readonly credit?: number;
  readonly inFlight?: number;
  readonly ratePerSecond?: number | undefined;
}

/** No name begins so: who has none is called by this and a number or token. */
const UNNAMED = "~";

export class ReaderRegistry {
  readonly #parts: RegistryParts;

  constructor(parts: RegistryParts) {
    this.#parts = parts;
  }

  list({ after = "", limit, colo, group, role }: ListReadersOperation, nowMs: number): Extract<Outcome, { type: "readers" }> {
    const entries = new Map<string, Entry>();
    for (const told of this.#tell(nowMs)) {
      const isWanted =
        (colo === undefined || told.place?.colo === colo) &&
        (group === undefined || told.group === group) &&
        (role === undefined || told.role === role);
      if (!isWanted) continue;
      const mark = markOf(told);
      let entry = entries.get(mark);
      if (entry === undefined) entries.set(mark, (entry = new Entry(told)));
      entry.add(told);
    }
    const marks = [...entries.keys()].filter((mark) => mark > after).sort();
    const page = marks.slice(0, limit);
    const readers = page.flatMap((mark) => entries.get(mark)?.describe() ?? []);
    return {
      type: "readers",
      readers,
      colos: countByColo(entries.values()),
      next: (marks.length > limit && page.at(-1)) || null,
    };
  }

  *#tell(nowMs: number): Iterable<Told> {
    const members = new Map<string, Member>();
    for (const one of this.#parts.streams.all()) {
      // Who only looks is no reader.
      if (one.type === "presence") continue;
      if (one.type === "watch") yield this.#ofProducer(one.connection, nowMs);
      else yield this.#ofSubscription(one, nowMs);
      if (one.type === "member") members.set(one.holder, one);
    }
    for (const waiter of this.#parts.line.all()) {
      yield waiter.kind === "put" ? this.#ofProducer(waiter.connection, nowMs) : this.#ofWaiter(waiter, nowMs);
    }
    for (const { name, delivery } of this.#parts.groups.all()) {
      for (const lease of delivery.leases()) {
        const told = this.#ofLease(lease, name, members.get(lease.holder), nowMs);
        if (told !== undefined) yield told;
      }
    }
    for (const [connection] of this.#parts.activity.producing()) yield this.#ofProducer(connection, nowMs);
    for (const called of this.#parts.activity.called(nowMs)) {
      const { via, producer } = called.source;
      const id = producer ?? `${UNNAMED}${via}`;
      yield { id, role: "producer", kind: via, place: placeOfSource(called.source), ...seen(called, nowMs) };
    }
  }

  #ofSubscription(one: Member | PlainReader, nowMs: number): Told {
    const { connection } = one;
    const base = {
      id: (one.type === "member" ? one.reader : undefined) ?? `${UNNAMED}${connection}`,
      role: "reader",
      place: this.#parts.placeOf(connection),
      connection,
      credit: Math.max(0, one.credit.messages),
      ...seen(this.#parts.activity.ofConnection(connection), nowMs),
    } as const;
    if (one.type === "reader") return { ...base, kind: one.isTap ? "tap" : "plain" };
    return { ...base, kind: "member", group: this.#parts.groups.findById(one.group)?.name };
  }

  #ofWaiter({ connection, group, max, lease }: Waiter, nowMs: number): Told {
    return {
      id: lease?.reader ?? `${UNNAMED}${connection}`,
      role: "reader",
      kind: "pull",
      group: this.#parts.groups.findById(group)?.name,
      place: this.#parts.placeOf(connection),
      connection,
      credit: max,
      ...seen(this.#parts.activity.ofConnection(connection), nowMs),
    };
  }

  /** Undefined for one that is kept for a reader that was cut off: nobody is there. */
  #ofLease(lease: Lease, group: string, member: Member | undefined, nowMs: number): Told | undefined {
    const { connection, holder, reader, leasedAtMs, graceUntilMs } = lease;
    if (member !== undefined) {
      // Its credit is told by its subscription.
      return { ...this.#ofSubscription(member, nowMs), credit: 0, inFlight: 1 };
    }
    if (graceUntilMs !== undefined) return undefined;
    const base = { role: "reader", kind: "pull", group, inFlight: 1, sinceMs: leasedAtMs, lastSeenMs: leasedAtMs } as const;
    if (connection === undefined) {
      return { ...base, id: reader ?? `${UNNAMED}${holder}`, place: this.#parts.activity.placeOfPull(holder) };
    }
    const place = this.#parts.placeOf(connection);
    const id = reader ?? `${UNNAMED}${connection}`;
    return { ...base, id, place, connection, ...seen(this.#parts.activity.ofConnection(connection), nowMs) };
  }

  #ofProducer(connection: number, nowMs: number): Told {
    const puts = this.#parts.activity.ofConnection(connection)?.puts;
    const id = puts?.producer ?? `${UNNAMED}${connection}`;
    const place = this.#parts.placeOf(connection);
    return { id, role: "producer", kind: "socket", place, connection, ...seen(puts, nowMs) };
  }
}

/** Its rate is that of each of its connections, counted once. */
class Entry {
  readonly #told: Told;
  readonly #rates = new Map<number | undefined, number>();
  #connections = new Set<number>();
  #sinceMs: number | undefined;
  #lastSeenMs: number | undefined;
  #credit = 0;
  #inFlight = 0;

  constructor(told: Told) {
    this.#told = told;
  }

  get role(): ReaderDescription["role"] {
    return this.#told.role;
  }

  get colo(): string | null {
    return this.#told.place?.colo ?? null;
  }

  add({ connection, sinceMs, lastSeenMs, credit = 0, inFlight = 0, ratePerSecond }: Told): void {
    if (connection !== undefined) this.#connections.add(connection);
    if (ratePerSecond !== undefined) this.#rates.set(connection, ratePerSecond);
    if (sinceMs !== undefined) this.#sinceMs = Math.min(this.#sinceMs ?? sinceMs, sinceMs);
    if (lastSeenMs !== undefined) this.#lastSeenMs = Math.max(this.#lastSeenMs ?? lastSeenMs, lastSeenMs);
    this.#credit += credit;
    this.#inFlight += inFlight;
  }

  describe(): ReaderDescription {
    const { id, role, kind, group, place } = this.#told;
    const rate = [...this.#rates.values()].reduce((sum, one) => sum + one, 0);
    return {
      id,
      role,
      kind,
      ...(group !== undefined && { group }),
      colo: this.colo,
      region: place?.region ?? null,
      continent: place?.continent ?? null,
      country: place?.country ?? null,
      connections: this.#connections.size,
      sinceMs: this.#sinceMs ?? null,
      lastSeenMs: this.#lastSeenMs ?? null,
      credit: this.#credit,
      inFlight: this.#inFlight,
      ratePerSecond: Math.round(rate * 100) / 100,
    };
  }
}

/** Names an entry, and its place in the order. */
function markOf({ id, place, role, kind, group = "" }: Told): string {
  return [id, place?.colo ?? "", role, kind, group].join("/");
}

function seen(tally: Tally | undefined, nowMs: number): Pick<Told, "sinceMs" | "lastSeenMs" | "ratePerSecond"> {
  if (tally === undefined) return {};
  return { sinceMs: tally.sinceMs, lastSeenMs: tally.lastSeenMs, ratePerSecond: tally.rate.perSecond(nowMs) };
}

function countByColo(entries: Iterable<Entry>): ColoCount[] {
  const counts = new Map<string | null, { readers: number; producers: number }>();
  for (const { colo, role } of entries) {
    const count = counts.get(colo) ?? { readers: 0, producers: 0 };
    counts.set(colo, count);
    count[role === "reader" ? "readers" : "producers"] += 1;
  }
  return [...counts].map(([colo, count]) => ({ colo, ...count })).sort((a, b) => ((a.colo ?? "") < (b.colo ?? "") ? -1 : 1));
}
