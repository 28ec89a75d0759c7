// Snapshots of a channel and restores into one that does not exist: at most one of each is open. SPEC section SN. Pages are made and
// taken piece by piece; between them lies only what is in `SnapshotState`.
import { assertNever } from "../base/assert.ts";
import { NO_DIGEST } from "../protocol/digest.ts";
import { invalidRequest } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal, SnapshotFault } from "../protocol/problems.ts";
import { drawHex } from "./life-cycle.ts";
import type { Moment, OperationOf, Outcome, RestoreOperation, SnapshotOperation } from "./operation.ts";
import { decodePage, digestOf, encodePage, encodeRow } from "./snapshot-page.ts";
import { formatRecord, parseRecord, resumeLife } from "./snapshot-record.ts";
import type { OpenRestore, OpenSnapshot, SnapshotChanges, SnapshotRow, SnapshotState, SnapshotStore } from "./snapshot-store.ts";
import type { ChannelRecord } from "./store.ts";

const NOTHING_OPEN: SnapshotState = { snapshot: null, restore: null };
/** What the first row of a snapshot calls itself. */
const RECORD_TABLE = "channel";

export class Snapshots {
  readonly #store: SnapshotStore;
  #state: SnapshotState;
  /** Whether there is a row of the state, and so tables. */
  #isStored: boolean;

  // What the next commit changes.
  #isChanged = false;
  #isEnded = false;
  #isBegun = false;
  #isUnstaged = false;
  #isStaging = false;
  #isInstalled = false;
  #staged: SnapshotRow[] = [];

  constructor(store: SnapshotStore) {
    this.#store = store;
    const state = store.readState();
    this.#isStored = state !== undefined;
    this.#state = state ?? NOTHING_OPEN;
  }

  /** When something that nobody reads or feeds is dropped. */
  get nextDueAtMs(): number | undefined {
    const { snapshot, restore } = this.#state;
    if (snapshot === null && restore === null) return undefined;
    return Math.min(snapshot === null ? Infinity : endOf(snapshot), restore === null ? Infinity : dropOf(restore));
  }

  /** Whether this commit begins one. */
  get isBegun(): boolean {
    return this.#isBegun;
  }

  /** The id of the snapshot that is open. */
  get openSnapshotId(): string | undefined {
    return this.#state.snapshot?.id;
  }

  get isRestoring(): boolean {
    return this.#state.restore !== null;
  }

  /** Whether nothing is left here but the tables of a restore that came to nothing. */
  get isLeftOver(): boolean {
    return this.#isStored && this.#state.snapshot === null && this.#state.restore === null;
  }

  /** Whether a restore was committed: from then on nothing of what is in memory is true. */
  get isInstalled(): boolean {
    return this.#isInstalled;
  }

  /** Drops what nobody reads or feeds, and what an earlier release began. */
  advance(nowMs: number): void {
    const { snapshot, restore } = this.#state;
    const { version } = this.#store;
    if (snapshot !== null && (endOf(snapshot) <= nowMs || snapshot.version !== version)) this.endSnapshot();
    if (restore !== null && (dropOf(restore) <= nowMs || restore.version !== version)) this.#endRestore();
  }

  /** The refusal of another snapshot; undefined where none is open. */
  refuseAnother(nowMs: number): Refusal | undefined {
    const { snapshot } = this.#state;
    return snapshot === null ? undefined : tooMany("snapshots", Math.max(0, endOf(snapshot) - nowMs));
  }

  /** Ends the snapshot that is open, as when the life ends. */
  endSnapshot(): void {
    if (this.#state.snapshot === null) return;
    // One that this very commit begins was never stored.
    if (!this.#isBegun) this.#isEnded = true;
    this.#isBegun = false;
    this.#set({ snapshot: null });
  }

  decide(operation: SnapshotOperation, moment: Moment): Outcome {
    switch (operation.type) {
      case "begin-snapshot":
        return this.#begin(moment);
      case "read-snapshot":
        return this.#read(operation, moment.nowMs);
      case "end-snapshot":
        if (this.#state.snapshot?.id !== operation.snapshotId) return refuseUnknown(operation);
        this.endSnapshot();
        return { type: "snapshot-ended", snapshotId: operation.snapshotId };
      default:
        return assertNever(operation);
    }
  }

  /** `record` is that of the name, if it has one: only one that does not exist takes a restore. */
  decideRestore(
    operation: Exclude<RestoreOperation, { type: "commit-restore" }>,
    { channel, record }: { readonly channel: string; readonly record: ChannelRecord | undefined },
    moment: Moment,
  ): Outcome {
    if (operation.type === "begin-restore") {
      return exists(record) ? refuse({ kind: "channel-exists", channel }) : this.#beginRestore(moment);
    }
    const { restore } = this.#state;
    if (restore?.id !== operation.restoreId) return refuse({ kind: "unknown-restore", channel, restoreId: operation.restoreId });
    if (operation.type === "stage-page") return this.#stage(restore, operation, moment.nowMs);
    this.#endRestore();
    return { type: "restore-aborted", restoreId: restore.id };
  }

  /** The record of the channel that is restored, which the caller makes the channel's. */
  commitRestore(
    { restoreId, record: moved }: OperationOf<"commit-restore">,
    { channel, record }: { readonly channel: string; readonly record: ChannelRecord | undefined },
    moment: Moment,
  ): ChannelRecord | Refusal {
    const { restore } = this.#state;
    if (restore?.id !== restoreId) return { kind: "unknown-restore", channel, restoreId };
    if (exists(record)) return { kind: "channel-exists", channel };
    const carried = restore.isComplete && restore.record !== null ? parseRecord(restore.record) : undefined;
    if (carried === undefined) return { kind: "snapshot-invalid", reason: "cut", page: restore.page + 1 };
    this.#isInstalled = true;
    this.#set({ restore: null });
    return moved ?? resumeLife(carried, record, moment);
  }

  /** Hands over what has to be written and begins the next commit. `record` is the channel's after the commit. */
  takeChanges(record: ChannelRecord | undefined): SnapshotChanges | undefined {
    if (!this.#isChanged) return undefined;
    const { snapshot } = this.#state;
    if (this.#isBegun && snapshot !== null && record !== undefined) {
      this.#state = { ...this.#state, snapshot: { ...snapshot, record: formatRecord(record) } };
    }
    const changes: SnapshotChanges = {
      state: this.#state,
      isEnded: this.#isEnded,
      isBegun: this.#isBegun,
      isUnstaged: this.#isUnstaged,
      isStaging: this.#isStaging,
      stage: this.#staged,
      isInstalled: this.#isInstalled,
    };
    this.#isStored = true;
    this.#isChanged = false;
    this.#isEnded = false;
    this.#isBegun = false;
    this.#isUnstaged = false;
    this.#isStaging = false;
    this.#staged = [];
    return changes;
  }

  #begin(moment: Moment): Outcome {
    const { nowMs } = moment;
    const another = this.refuseAnother(nowMs);
    if (another !== undefined) return refuse(another);
    const mark = { cursor: null, digest: NO_DIGEST };
    const id = drawHex(moment) + drawHex(moment);
    const { version } = this.#store;
    const about = { id, version, readAtMs: nowMs, record: "" };
    this.#set({ snapshot: { ...about, page: 0, isLast: false, before: mark, after: mark } });
    this.#isBegun = true;
    return { type: "snapshot-begun", snapshotId: id };
  }

  #read(operation: OperationOf<"read-snapshot">, nowMs: number): Outcome {
    const { snapshot } = this.#state;
    const { page, bytesMax = LIMITS.snapshotPageBytes } = operation;
    // One that this commit begins shows nothing yet, and nobody knows its id.
    if (snapshot?.id !== operation.snapshotId || this.#isBegun) return refuseUnknown(operation);
    const isAgain = page === snapshot.page && page > 0;
    const isNext = page === snapshot.page + 1 && !snapshot.isLast;
    if (!isAgain && !isNext) {
      const next = snapshot.isLast ? "" : `${snapshot.page === 0 ? "" : " or "}${snapshot.page + 1}`;
      return refuse(invalidRequest("/query/page", `Expected ${snapshot.page === 0 ? "" : snapshot.page}${next}`));
    }
    // With another size it would be another page, and what was saved of the ones behind it would not follow it.
    if (isAgain && bytesMax !== (snapshot.bytesMax ?? bytesMax)) {
      return refuse(invalidRequest("/query/maxBytes", `Expected ${snapshot.bytesMax}, as this page was read with before`));
    }
    const before = isAgain ? snapshot.before : snapshot.after;
    const { rows, cursor, isLast } = this.#collect(snapshot, before.cursor, { page, bytesMax });
    const { bytes, digest } = encodePage({ version: snapshot.version, page, isLast }, rows, before.digest);
    this.#set({ snapshot: { ...snapshot, readAtMs: nowMs, page, isLast, bytesMax, before, after: { cursor, digest } } });
    return { type: "snapshot-page", page, bytes, isLast, sha256: digest };
  }

  /** The encoded rows of a page: as many as fit, but one at least. */
  #collect(
    { record }: OpenSnapshot,
    after: string | null,
    { page, bytesMax }: { readonly page: number; readonly bytesMax: number },
  ): { rows: Uint8Array[]; cursor: string | null; isLast: boolean } {
    const rows = page === 1 ? [encodeRow({ table: RECORD_TABLE, values: [record] })] : [];
    let cursor = after;
    let bytes = rows[0]?.byteLength ?? 0;
    for (const next of this.#store.readRows(after)) {
      const encoded = encodeRow(next.row);
      if (bytes > 0 && bytes + encoded.byteLength > bytesMax) return { rows, cursor, isLast: false };
      rows.push(encoded);
      bytes += encoded.byteLength;
      cursor = next.cursor;
    }
    return { rows, cursor, isLast: true };
  }

  #beginRestore(moment: Moment): Outcome {
    const { nowMs } = moment;
    const open = this.#state.restore;
    if (open !== null) return refuse(tooMany("restores", dropOf(open) - nowMs));
    const id = drawHex(moment) + drawHex(moment);
    const { version } = this.#store;
    this.#set({ restore: { id, version, fedAtMs: nowMs, page: 0, digest: NO_DIGEST, record: null, isComplete: false } });
    this.#isStaging = true;
    return { type: "restore-begun", restoreId: id };
  }

  #stage(restore: OpenRestore, { page, bytes }: OperationOf<"stage-page">, nowMs: number): Outcome {
    // Its reply was lost: it is here already.
    if (page > 0 && page === restore.page && digestOf(bytes) === restore.digest) {
      return { type: "page-staged", page, isLast: restore.isComplete };
    }
    if (page !== restore.page + 1 || restore.isComplete) return refuseInvalid("order", page);
    const decoded = decodePage(bytes, { version: this.#store.version, page, before: restore.digest });
    if (typeof decoded === "string") return refuseInvalid(decoded, page);
    const record = restore.record ?? readRecord(decoded.rows);
    const rows = page === 1 ? decoded.rows.slice(1) : decoded.rows;
    if (record === undefined || !rows.every((row) => this.#store.accepts(row))) return refuseInvalid("content", page);
    this.#staged.push(...rows);
    const { isLast, digest } = decoded;
    this.#set({ restore: { ...restore, fedAtMs: nowMs, page, digest, record, isComplete: isLast } });
    return { type: "page-staged", page, isLast };
  }

  #endRestore(): void {
    this.#isUnstaged = !this.#isStaging;
    this.#isStaging = false;
    this.#staged = [];
    this.#set({ restore: null });
  }

  #set(change: Partial<SnapshotState>): void {
    this.#state = { ...this.#state, ...change };
    this.#isChanged = true;
  }
}

function readRecord([first]: readonly SnapshotRow[]): string | undefined {
  const [text] = first?.table === RECORD_TABLE ? first.values : [];
  return typeof text === "string" && parseRecord(text) !== undefined ? text : undefined;
}

function exists(record: ChannelRecord | undefined): boolean {
  return record !== undefined && record.state !== "deleted";
}

function endOf({ readAtMs }: OpenSnapshot): number {
  return readAtMs + LIMITS.snapshotIdleMs;
}

function dropOf({ fedAtMs }: OpenRestore): number {
  return fedAtMs + LIMITS.restoreIdleMs;
}

function refuseUnknown({ snapshotId }: { readonly snapshotId: string }): Outcome {
  return refuse({ kind: "unknown-snapshot", snapshotId });
}

function refuseInvalid(reason: SnapshotFault, page: number): Outcome {
  return refuse({ kind: "snapshot-invalid", reason, page });
}

function tooMany(of: "snapshots" | "restores", retryAfterMs: number): Refusal {
  return { kind: "too-many-snapshots", of, limit: 1, retryAfterMs };
}

function refuse(refusal: Refusal): Outcome {
  return { type: "refused", refusal };
}
