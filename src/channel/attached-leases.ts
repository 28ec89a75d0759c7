// Leases that lie with the sockets of their holders and not in stored rows (SPEC rule LS13): in frames, one for what a stream was sent at
// a time, with one deadline. What a socket carries through hibernation is made here, and read here on waking.
import type { Lease } from "./delivery-store.ts";
import { pushVarint, VarintReader } from "./varints.ts";

/** What the leases of a frame have in common. */
export interface FrameTerms {
  readonly connection: number;
  /** The number of the group. */
  readonly group: number;
  readonly holder: string;
  readonly reader: string | undefined;
  readonly leasedAtMs: number;
  readonly deadlineMs: number;
}

/** Leases that an attachment tells of. What the messages are, the channel looks up. */
export interface CarriedFrame extends FrameTerms {
  /** In their order. */
  readonly offsets: readonly number[];
}

/** What a socket carries. */
export interface CarriedLeases {
  readonly connection: number;
  readonly bytes: Uint8Array;
}

const HOLDER_BYTES = 8;
const FORMAT = 1;

export class LeaseFrame {
  readonly name: string;
  readonly terms: FrameTerms;
  readonly live = new Map<number, Lease>();
  /** As it was packed last, until it changes. */
  #packed: readonly number[] | undefined;

  constructor(name: string, terms: FrameTerms) {
    this.name = name;
    this.terms = terms;
  }

  noteChange(): void {
    this.#packed = undefined;
  }

  get packed(): readonly number[] {
    return (this.#packed ??= packOffsets([...this.live.keys()]));
  }
}

/** The frames of all groups, by connection. */
export class AttachedLeases {
  readonly #byConnection = new Map<number, Map<string, LeaseFrame>>();
  readonly #changed = new Set<number>();
  /** Connections whose sockets were asked on waking. */
  readonly #carried: ReadonlySet<number>;

  constructor(carried: Iterable<number> = []) {
    this.#carried = new Set(carried);
  }

  /** Whether it is known what the socket of a connection carried. */
  isCarried(connection: number): boolean {
    return this.#carried.has(connection);
  }

  /** Connections whose frames changed and that are not written yet. */
  get changedConnections(): ReadonlySet<number> {
    return this.#changed;
  }

  takeChangedConnections(): readonly number[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  /** Frames of a connection, the oldest first; none where nothing of it lies with its socket. */
  framesOf(connection: number): readonly LeaseFrame[] {
    return [...(this.#byConnection.get(connection)?.values() ?? [])];
  }

  /** The frame of these terms, a new one where there is none; a lease is added to it. */
  open(terms: FrameTerms): LeaseFrame {
    const { connection, group, holder, reader = "", leasedAtMs, deadlineMs } = terms;
    let frames = this.#byConnection.get(connection);
    if (frames === undefined) this.#byConnection.set(connection, (frames = new Map()));
    const name = [group, holder, reader, leasedAtMs, deadlineMs].join();
    let frame = frames.get(name);
    if (frame === undefined) frames.set(name, (frame = new LeaseFrame(name, terms)));
    return frame;
  }

  /** Notes that a lease was added to a frame, or removed from it: it is forgotten without any. */
  noteChange(frame: LeaseFrame): void {
    const { connection } = frame.terms;
    frame.noteChange();
    this.#changed.add(connection);
    if (frame.live.size > 0) return;
    const frames = this.#byConnection.get(connection);
    frames?.delete(frame.name);
    if (frames?.size === 0) this.#byConnection.delete(connection);
  }

  /** What the socket of a connection has to carry; undefined for nothing. */
  pack(connection: number): Uint8Array | undefined {
    const frames = this.framesOf(connection);
    return frames.length === 0 ? undefined : packFrames(frames);
  }

  /** Frames that do not fit in so many bytes: the newest, as many as needed. */
  findExcess(connection: number, bytesMax: number): readonly LeaseFrame[] {
    const frames = this.framesOf(connection);
    let kept = frames.length;
    while (kept > 0 && packFrames(frames.slice(0, kept)).byteLength > bytesMax) kept -= 1;
    return frames.slice(kept);
  }
}

/** Reads what a socket carried. */
export function unpackFrames({ connection, bytes }: CarriedLeases): CarriedFrame[] {
  const reader = new VarintReader(bytes);
  if (reader.read() !== FORMAT) return [];
  const owners: Pick<FrameTerms, "group" | "holder" | "reader">[] = [];
  for (let left = reader.read(); left > 0; left--) owners.push(readOwner(reader, bytes));
  const frames: CarriedFrame[] = [];
  let leasedAtMs = 0;
  for (let left = reader.read(); left > 0; left--) {
    const owner = owners[reader.read()];
    leasedAtMs += readSigned(reader);
    const deadlineMs = leasedAtMs + readSigned(reader);
    const offsets = readOffsets(reader);
    if (owner !== undefined) frames.push({ connection, ...owner, leasedAtMs, deadlineMs, offsets });
  }
  return frames;
}

function packFrames(frames: readonly LeaseFrame[]): Uint8Array {
  const owners = new Map<string, { readonly place: number; readonly terms: FrameTerms }>();
  const body: number[] = [];
  let leasedAtMs = 0;
  for (const { terms, packed } of frames) {
    const name = [terms.group, terms.holder, terms.reader ?? ""].join();
    const owner = owners.get(name) ?? { place: owners.size, terms };
    owners.set(name, owner);
    pushVarint(body, owner.place);
    pushSigned(body, terms.leasedAtMs - leasedAtMs);
    pushSigned(body, terms.deadlineMs - terms.leasedAtMs);
    body.push(...packed);
    leasedAtMs = terms.leasedAtMs;
  }
  const bytes: number[] = [FORMAT];
  pushVarint(bytes, owners.size);
  for (const { terms } of owners.values()) pushOwner(bytes, terms);
  pushVarint(bytes, frames.length);
  return Uint8Array.from([...bytes, ...body]);
}

function pushOwner(bytes: number[], { group, holder, reader = "" }: FrameTerms): void {
  pushVarint(bytes, group);
  for (let place = 0; place < HOLDER_BYTES; place++) bytes.push(Number.parseInt(holder.slice(2 * place, 2 * place + 2), 16));
  // A reader's name has letters, digits and marks alone.
  pushVarint(bytes, reader.length);
  for (let place = 0; place < reader.length; place++) bytes.push(reader.charCodeAt(place));
}

function readOwner(reader: VarintReader, bytes: Uint8Array): Pick<FrameTerms, "group" | "holder" | "reader"> {
  const group = reader.read();
  const take = (count: number): number[] => [...bytes.subarray(reader.position, (reader.position += count))];
  const holder = take(HOLDER_BYTES).map((byte) => byte.toString(16).padStart(2, "0"));
  const name = String.fromCharCode(...take(reader.read()));
  return { group, holder: holder.join(""), reader: name === "" ? undefined : name };
}

/** The number of ranges, then of each how far it begins behind the end of the last, and its length. */
function packOffsets(unsorted: readonly number[]): readonly number[] {
  const offsets = unsorted.toSorted((a, b) => a - b);
  const bytes: number[] = [];
  let ranges = 0;
  let end = 0;
  for (let place = 0; place < offsets.length;) {
    const start = offsets[place] ?? 0;
    let length = 1;
    while (offsets[place + length] === start + length) length += 1;
    pushVarint(bytes, start - end);
    pushVarint(bytes, length);
    end = start + length;
    place += length;
    ranges += 1;
  }
  const count: number[] = [];
  pushVarint(count, ranges);
  return [...count, ...bytes];
}

function readOffsets(reader: VarintReader): number[] {
  const offsets: number[] = [];
  let end = 0;
  for (let left = reader.read(); left > 0; left--) {
    const start = end + reader.read();
    end = start + reader.read();
    for (let offset = start; offset < end; offset++) offsets.push(offset);
  }
  return offsets;
}

/** A clock that is set back makes later times earlier. */
function pushSigned(bytes: number[], value: number): void {
  pushVarint(bytes, value < 0 ? -2 * value - 1 : 2 * value);
}

function readSigned(reader: VarintReader): number {
  const value = reader.read();
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
