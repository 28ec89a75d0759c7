// Presence: connections that are told which readers there are, and who comes and goes. SPEC rules RG7 to RG11. Who is there is known in
// memory alone, and only while somebody watches: it is made of subscriptions, waiters and leases, and followed by what a commit changes of them.
import { hash32 } from "../base/hash32.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Place } from "../protocol/place.ts";
import type { PresenceChange } from "../protocol/stream-frames.ts";
import type { Groups } from "./groups.ts";
import type { LeaseFlow, LeaseKeeper } from "./lease-flow.ts";
import type { Effect, Origin, Outcome } from "./operation.ts";
import { hasPace } from "./subscription.ts";
import type { Subscriptions } from "./subscriptions.ts";
import type { WaitLine } from "./wait-line.ts";

interface PresenceParts {
  readonly groups: Groups;
  readonly line: WaitLine;
  readonly flow: LeaseFlow;
  /** Where the client of a connection is; undefined where that is not known. */
  readonly placeOf: (connection: number) => Place | undefined;
  /** Where a pull without a connection came from. */
  readonly placeOfPull: (holder: string) => Place | undefined;
}

/** A reader at a colo. */
interface Reader {
  readonly id: string;
  readonly colo: string | null;
}

/** Readers that are there by one connection, or by the leases of one pull. */
interface Source {
  /** Found once: of a connection that has closed nobody knows it. */
  readonly colo: string | null;
  readonly ids: ReadonlySet<string>;
}

const NOBODY: ReadonlySet<string> = new Set();
const [SEED, OTHER_SEED] = [0x9e37_79b9, 0x85eb_ca6b];
const DIGEST_HIGH = 2 ** 16;
const DIGEST_SIZE = 2 ** 48;

export class Presence {
  readonly #parts: PresenceParts;
  #isOn = false;
  readonly #sources = new Map<LeaseKeeper, Source>();
  /** How many sources each reader has. */
  readonly #counts = new Map<string, number>();
  readonly #colos = new Map<string | null, number>();
  /** Tells one set of readers from another: what a watch was told last is compared with it after hibernation. */
  #digest = 0;
  /** The readers that changed since the last look, and whether they were there before. */
  readonly #before = new Map<string, Reader & { readonly wasThere: boolean }>();
  /** Readers with leases that were over. */
  readonly #expired = new Set<string>();
  /** Connections that changed in commits without a look. */
  readonly #missed = new Set<number>();
  #hasLooked = false;
  /** Whether a watch may have been told of other readers than there were when this began. */
  #mayDiffer = false;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
  }

  /** Looks who is there, where it is not known yet: for the first watch, and on waking with one. */
  begin(kept: Subscriptions): void {
    if (this.#isOn) return;
    this.#isOn = this.#mayDiffer = true;
    const { groups, line, flow } = this.#parts;
    for (const { delivery } of groups.all()) flow.begin(delivery.leases());
    const connections = [...kept.all(), ...line.all()].map(({ connection }) => connection);
    for (const keeper of new Set([...connections, ...flow.keepers()])) this.#follow(keeper, kept, false);
    flow.take();
    this.#before.clear();
  }

  /** Begins a watch, and tells who is there as the commits before left it. */
  watch(origin: Origin, kept: Subscriptions): Outcome {
    this.begin(kept);
    const { digest, outcome } = this.#tell();
    kept.set({ ...origin, type: "presence", digest });
    return outcome;
  }

  /** Notes whose requests a commit changed, in case no turn has looked at it (rule RC6). */
  noteCommit(kept: Subscriptions): void {
    const { line } = this.#parts;
    if (this.#isOn && !this.#hasLooked)
      for (const connection of [...kept.changedConnections, ...line.changedConnections]) this.#missed.add(connection);
    this.#hasLooked = false;
  }

  /** Tells who watches what the commit changed. To be called when all of it is decided. */
  look(kept: Subscriptions): readonly Effect[] {
    if (kept.presences === 0) this.#end();
    if (!this.#isOn) return [];
    const known = this.#digest;
    const changes = this.#takeChanges(kept);
    if (changes.length === 0 && !this.#mayDiffer) return [];
    this.#mayDiffer = false;
    const { digest, outcome: whole } = this.#tell();
    const listed: Outcome = changes.length > LIMITS.presenceChangesMax ? whole : { type: "presence", changes };
    return kept.all().flatMap((watch) => {
      if (watch.type !== "presence" || (changes.length === 0 && watch.digest === known)) return [];
      kept.set({ ...watch, digest });
      const { connection, request } = watch;
      return { connection, request, outcome: watch.digest === known ? listed : whole };
    });
  }

  /** How many are there, and what a watch that is told so has to keep. */
  #tell(): { readonly digest: number; readonly outcome: Outcome } {
    const colos = [...this.#colos].map(([colo, readers]) => ({ colo, readers }));
    colos.sort((a, b) => b.readers - a.readers || ((a.colo ?? "") < (b.colo ?? "") ? -1 : 1));
    return { digest: this.#digest, outcome: { type: "present", readers: this.#counts.size, colos } };
  }

  #takeChanges(kept: Subscriptions): PresenceChange[] {
    const { line, flow } = this.#parts;
    const { touched, expired } = flow.take();
    for (const keeper of new Set([...this.#missed, ...kept.changedConnections, ...line.changedConnections, ...touched]))
      this.#follow(keeper, kept, expired.has(keeper));
    this.#missed.clear();
    this.#hasLooked = true;
    const changes: PresenceChange[] = [];
    for (const [mark, { id, colo, wasThere }] of this.#before) {
      const isThere = this.#counts.has(mark);
      if (isThere === wasThere) continue;
      changes.push({ change: isThere ? "join" : this.#expired.has(mark) ? "expiry" : "leave", reader: id, colo });
    }
    this.#before.clear();
    this.#expired.clear();
    return changes;
  }

  #end(): void {
    if (!this.#isOn) return;
    this.#isOn = false;
    this.#parts.flow.end();
    this.#sources.clear();
    this.#counts.clear();
    this.#colos.clear();
    this.#missed.clear();
    this.#digest = 0;
  }

  /** Counts who is there by a connection, or by the leases of a pull, in place of who was. */
  #follow(keeper: LeaseKeeper, kept: Subscriptions, isExpired: boolean): void {
    const known = this.#sources.get(keeper);
    const ids = typeof keeper === "number" ? this.#readersOf(keeper, kept) : this.#holdersOf(keeper, NOBODY);
    const { colo } = known ?? { colo: this.#findColo(keeper) };
    for (const id of ids) if (known?.ids.has(id) !== true) this.#count({ id, colo }, 1);
    for (const id of known?.ids ?? NOBODY) {
      if (ids.has(id)) continue;
      this.#count({ id, colo }, -1);
      if (isExpired) this.#expired.add(markOf({ id, colo }));
    }
    if (ids.size > 0) this.#sources.set(keeper, { colo, ids });
    else this.#sources.delete(keeper);
  }

  #readersOf(connection: number, kept: Subscriptions): Set<string> {
    const unnamed = `~${connection}`;
    const subscriptions = kept.ofConnection(connection);
    const members = subscriptions.filter((one) => one.type === "member");
    const ids = this.#holdersOf(connection, new Set(members.map(({ holder }) => holder)));
    for (const one of subscriptions) if (hasPace(one)) ids.add((one.type === "member" ? one.reader : undefined) ?? unnamed);
    for (const { kind, lease } of this.#parts.line.ofConnection(connection))
      if (kind === "get") ids.add(lease?.reader ?? unnamed);
    return ids;
  }

  /** Those that are there by leases, but for members, which are there by their subscriptions. */
  #holdersOf(keeper: LeaseKeeper, members: ReadonlySet<string>): Set<string> {
    const ids = new Set<string>();
    for (const { holder, reader } of this.#parts.flow.heldBy(keeper)) if (!members.has(holder)) ids.add(reader ?? `~${keeper}`);
    return ids;
  }

  #findColo(keeper: LeaseKeeper): string | null {
    const { placeOf, placeOfPull } = this.#parts;
    return (typeof keeper === "number" ? placeOf(keeper) : placeOfPull(keeper))?.colo ?? null;
  }

  #count(reader: Reader, change: 1 | -1): void {
    const mark = markOf(reader);
    const before = this.#counts.get(mark) ?? 0;
    const after = before + change;
    if (after > 0) this.#counts.set(mark, after);
    else this.#counts.delete(mark);
    if (before > 0 && after > 0) return;
    if (!this.#before.has(mark)) this.#before.set(mark, { ...reader, wasThere: before > 0 });
    const ofColo = (this.#colos.get(reader.colo) ?? 0) + change;
    if (ofColo > 0) this.#colos.set(reader.colo, ofColo);
    else this.#colos.delete(reader.colo);
    this.#digest = (this.#digest + change * digestOf(mark) + DIGEST_SIZE) % DIGEST_SIZE;
  }
}

/** No id has a slash. */
function markOf({ id, colo }: Reader): string {
  return `${id}/${colo ?? ""}`;
}

function digestOf(mark: string): number {
  return (hash32(mark, SEED) % DIGEST_HIGH) * 2 ** 32 + hash32(mark, OTHER_SEED);
}
