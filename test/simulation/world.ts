// The world around a channel: storage, sockets, an alarm and a clock, all of which can fail; beside it the model and the ledger.
// Operations are decided by channel and model alike and compared at once; a commit makes them stand, a fault undoes them on both sides.
import { listMessages } from "../../src/channel/put-batch.ts";
import { Block } from "../../src/protocol/block.ts";
import { encodeStoredBlock } from "../../src/protocol/block-writer.ts";
import { Channel } from "../../src/channel/channel.ts";
import type { Moment, Operation, OperationOf, Origin, Outcome } from "../../src/channel/operation.ts";
import type { Changes } from "../../src/channel/store.ts";
import { listLeaseIds } from "../../src/protocol/lease-run.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { comparable, countOutcome, formatOperation, formatOutcome, inOrder } from "./answers.ts";
import { Broken, expectHolds, StorageDown } from "./failure.ts";
import { FaultyStore } from "./faulty-store.ts";
import { checkInvariants } from "./invariants.ts";
import { Ledger, type Said } from "./ledger.ts";
import { describeWoken, findReader, look } from "./look.ts";
import { type LeftOver, Model } from "./model/model.ts";
import { Random } from "./random.ts";
import { expectSame } from "./same.ts";
import { Sockets } from "./sockets.ts";
import type { Tally } from "./tally.ts";

const START_MS = 1_800_000_000_000;
/** The object lets so much time pass between two alarms. */
const ALARM_INTERVAL_MS = 1000;
/** An alarm that fails to make its reason go away rings once a second; a jump of a day does not play all of it. */
const RINGS_MAX = 20;

/** What goes wrong at the end of a step, at one of the boundaries of storage. */
export type Fault =
  | "none"
  /** The next step is committed together with this one. */
  | "hold"
  /** Hibernation: memory is lost, sockets and their attachments stay. */
  | "evict"
  /** A read of storage fails while the operation is decided: what was not committed is dropped. */
  | "read-fails"
  | "commit-fails"
  /** The process is killed: memory, sockets and attachments are lost. Nothing of the commit is on disk. */
  | "crash-before-commit"
  /** As above, but the commit is on disk, and nobody was answered. */
  | "crash-after-commit";

/** The step ends here: what it did was dropped. */
export class StepDropped extends Error {}

export class World {
  readonly tally: Tally;
  /** What happened, for people; only filled when it is asked for. */
  readonly history: string[] = [];
  readonly ledger = new Ledger((connection) => this.isOpen(connection));
  readonly model: Model;
  nowMs = START_MS;
  mayCreate: boolean;
  /** Of the current step: what is drawn does not depend on the steps before, so that a history can be shortened. */
  random = new Random(0);
  readonly #isRecording: boolean;
  #store = new FaultyStore();
  #channel: Channel;
  /** What stands after the last commit. */
  #stored: Model["state"];
  #storedVersion = 0;
  readonly #sockets = new Sockets();
  #lastConnection = 0;
  #lives = 0;
  #uncommitted: Said[] = [];
  /** Whether storage changed since a second channel was last built from it. */
  #isWritten = false;
  /** When the platform rings, and when the object believes that it does. */
  #alarmAtMs: number | undefined;
  #knownAlarmAtMs = Number.MAX_SAFE_INTEGER;
  /** The latest time since the channel woke. */
  #latestMs = START_MS;
  /** Alarms that follow each other keep a distance. */
  #mayRingAtMs = 0;
  #isAlarmLost = false;
  /** Whether a commit failed and its operations are tried again one by one (rule RC6). */
  #isRecovering = false;
  /** Whether anything was decided since the last commit: without that there is none. */
  #isDecided = false;
  /** Whether operations were tried again after a failure, and subscribers not sent what they brought. */
  #isDeliveryOwed = false;

  constructor(options: { readonly tally: Tally; readonly isRecording: boolean; readonly mayCreate: boolean }) {
    this.mayCreate = options.mayCreate;
    this.tally = options.tally;
    this.#isRecording = options.isRecording;
    this.model = new Model((connection) => this.isOpen(connection));
    this.#stored = this.model.state;
    this.#channel = this.#build();
  }

  get connections(): readonly number[] {
    return this.#sockets.all;
  }

  get openConnections(): readonly number[] {
    return this.connections.filter((connection) => this.isOpen(connection));
  }

  isOpen(connection: number): boolean {
    return this.#sockets.isOpen(connection);
  }

  record(line: () => string): void {
    if (this.#isRecording) this.history.push(line());
  }

  connect(): void {
    // As the object does: a number that no socket and no lease has any more is given again.
    this.#lastConnection += 1;
    this.#sockets.open(this.#lastConnection);
    this.record(() => `  connection ${this.#lastConnection} opens`);
  }

  /** The socket closes; the channel has not heard of it yet. */
  cut(connection: number): void {
    this.#sockets.cut(connection);
    this.ledger.forgetConnection(connection);
    this.record(() => `  connection ${connection} is cut`);
  }

  /** The channel hears that a connection closed. */
  disconnect(connection: number, isClean: boolean): void {
    this.cut(connection);
    this.#sockets.remove(connection);
    this.record(() => `  connection ${connection} closed ${isClean ? "cleanly" : "uncleanly"}`);
    this.#isDecided = true;
    this.#do(() => this.#channel.disconnect(connection, this.#moment(), isClean));
    this.model.disconnect(connection, isClean, this.nowMs);
    this.#compareEffects();
  }

  /** Asks the channel and the model, and compares. */
  perform(operation: Operation, origin?: Origin): Outcome {
    this.#lives += 1;
    const moment = this.#moment();
    this.#isDecided = true;
    if (operation.type === "put") this.ledger.retries.noteSent(operation);
    // Half of the puts come in a block, as over a binary connection or from a worker.
    const given = operation.type === "put" && this.#lives % 2 === 0 ? inBlock(operation) : operation;
    const outcome = this.#do(() => this.#channel.apply(given, moment, origin));
    const expected = this.model.apply(operation, moment, origin, outcome);
    this.record(() => formatOperation(operation, origin, outcome));
    countOutcome(this.tally, outcome);
    expectSame(comparable(outcome), comparable(expected), `The outcome of ${operation.type}`);
    this.#say({ operation, origin, outcome }, expected);
    this.#compareEffects();
    return outcome;
  }

  failNextRead(afterReads: number): void {
    this.#store.readsUntilFailure = afterReads;
  }

  /** Ends a step, with what goes wrong there. */
  end(fault: Fault): void {
    this.#store.readsUntilFailure = undefined;
    switch (fault) {
      case "hold":
        return;
      case "commit-fails":
        this.#failToCommit();
        return;
      case "crash-before-commit":
        this.#killSockets();
        this.drop();
        return;
      case "crash-after-commit":
        this.#deliver();
        this.#write();
        this.#stand(false);
        this.#killSockets();
        this.#wake();
        return;
      case "evict":
        this.commit();
        this.#wake();
        return;
      default:
        this.commit();
    }
  }

  /** Writes what was decided, answers, and writes the attachments. What subscribers are owed beyond that follows at once, or with the next. */
  commit(): void {
    this.#deliver();
    this.#write();
    this.#stand(true);
    this.#writeAttachments();
    const isOwed = !this.#isRecovering && (this.#isDeliveryOwed || this.#channel.hasMoreToDeliver);
    if (isOwed && this.random.chance(70)) this.tick();
  }

  /** As the object does, when all operations of a commit are decided: what they brought is sent to subscribers. */
  #deliver(): void {
    if (!this.#isDecided) return;
    this.#isDecided = false;
    // While operations are carried out again after a failure nothing is sent (rule SB4).
    this.#isDeliveryOwed = this.#isRecovering;
    if (this.#isRecovering) return;
    this.#do(() => this.#channel.deliver(this.#moment()));
    const findPosition = (origin: Origin): number | undefined => findReader(this.#channel, origin)?.position;
    this.model.deliver(this.nowMs, findPosition);
    this.#compareEffects();
    if (this.#channel.hasMoreToDeliver) this.tally.count("event", "subscribers are owed more than a frame");
    else expectHolds(!this.model.isDeliveryOwed(this.nowMs, () => undefined), "[SB4] Subscribers are owed nothing more");
  }

  #writeAttachments(): void {
    for (const connection of this.#channel.takeChangedConnections()) {
      this.#sockets.attach(connection, {
        waiters: this.#channel.waitersOf(connection),
        subscriptions: this.#channel.subscriptionsOf(connection),
        leases: this.#channel.leasesOf(connection),
      });
      const bytes = this.#channel.leasesOf(connection)?.byteLength ?? 0;
      expectHolds(bytes <= LIMITS.attachedLeasesBytesMax, `[G6] connection ${connection} carries ${bytes} bytes of leases`);
    }
  }

  /** What was not committed is forgotten, as if it had never been asked for. */
  drop(): void {
    this.#uncommitted = [];
    this.#isDecided = false;
    this.#wake();
  }

  /** Time passes; the alarm and the timers ring when they should. */
  pass(ms: number): void {
    this.commit();
    const untilMs = this.nowMs + ms;
    for (let ring = 0; ring < RINGS_MAX; ring++) {
      const { nextReservationEndMs = Infinity, nextStealingAtMs = Infinity } = this.#channel;
      const nextMs = Math.min(this.#alarmAtMs ?? Infinity, nextReservationEndMs, nextStealingAtMs);
      if (nextMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, nextMs);
      if (this.#alarmAtMs !== undefined && this.#alarmAtMs <= this.nowMs) this.ring();
      else this.tick();
    }
    this.nowMs = untilMs;
    this.#latestMs = Math.max(this.#latestMs, this.nowMs);
    this.record(() => `  ${ms} ms pass`);
  }

  /** Time passes, and nothing rings. */
  jump(ms: number): void {
    // A commit has one time.
    this.commit();
    this.nowMs += ms;
    this.#latestMs = Math.max(this.#latestMs, this.nowMs);
    this.record(() => `  the clock jumps by ${ms} ms`);
  }

  loseAlarm(): void {
    this.#alarmAtMs = undefined;
    this.#isAlarmLost = true;
    this.record(() => "  the alarm is lost");
  }

  get hasAlarm(): boolean {
    return this.#alarmAtMs !== undefined;
  }

  /** The alarm rings, as the object hears it: does what is due, tells the directory, erases what is forgotten, sets the next alarm. */
  ring(): void {
    this.#alarmAtMs = undefined;
    this.#knownAlarmAtMs = Number.MAX_SAFE_INTEGER;
    // A read that fails ends the step here, as a handler that throws does.
    this.#isAlarmLost = true;
    this.#doWhatIsDue();
    this.#tellDirectory();
    this.#isAlarmLost = false;
    this.#mayRingAtMs = this.nowMs + ALARM_INTERVAL_MS;
    expectSame(this.#channel.isForgotten(this.nowMs), this.model.isForgotten(this.nowMs), "[LC5] Whether all is forgotten");
    if (this.#channel.isForgotten(this.nowMs)) this.#erase();
    else {
      const dueAtMs = this.#do(() => this.#channel.nextAlarmAtMs);
      this.#setAlarm(dueAtMs && Math.max(dueAtMs, this.#mayRingAtMs));
    }
  }

  /** As the object does: one commit takes only so many delayed messages, and it goes on while it helps (rule SD6). */
  #doWhatIsDue(): void {
    let overdue = Infinity;
    for (let commits = 0; commits < LIMITS.alarmCommitsMax && overdue > 0; commits++) {
      this.tick();
      const left = this.#channel.countOverdue(this.nowMs);
      if (left >= overdue) return;
      overdue = left;
    }
  }

  tick(): void {
    this.record(() => `  tick at ${this.nowMs - START_MS}`);
    this.#isDecided = true;
    this.#do(() => this.#channel.tick(this.#moment()));
    this.model.tick(this.nowMs);
    this.#compareEffects();
    this.commit();
  }

  /** Everything that can be seen is what the model says, for this channel and for one that wakes now, and the guarantees hold. */
  check(): void {
    // What was due may be done only now, and not all of it with one operation (TL3, SD6). Ends: each one that does more leaves less.
    for (let version = -1; version !== this.model.version;) {
      ({ version } = this.model);
      this.perform({ type: "describe" });
      this.commit();
    }
    // Rows are counted when they are stored.
    const described = this.#channel.apply({ type: "describe" }, this.#moment());
    const facts = described.type === "described" ? described.facts : undefined;
    const looked = { model: this.model, moment: this.#moment() };
    const seen = facts && look({ ...looked, channel: this.#channel, who: "The channel" }, facts);
    expectHolds(this.#channel.takeChanges(this.nowMs) === undefined, "Looking changes nothing");
    // Requests of sockets that closed unheard are not found again on waking.
    if (this.#isWritten && this.openConnections.length === this.connections.length) {
      const model = new Model((connection) => this.isOpen(connection));
      model.wake(this.#stored, this.#leftOver);
      const woken = { ...looked, channel: this.#build(), model, who: "[G1] A channel that wakes" };
      const wokenFacts = describeWoken(woken);
      if (wokenFacts !== undefined) look(woken, wokenFacts);
      this.#isWritten = false;
    }
    this.#checkTimes();
    if (seen === undefined) return;
    checkInvariants({ store: this.#store, frames: this.#sockets.frames }, seen, this.nowMs);
    this.ledger.check(seen, this.model.state.deadLetters);
  }

  /** The alarm is set in time for everything that is due. */
  #checkTimes(): void {
    // What was due before the clock was set back needs no alarm to be due again.
    const expected = this.model.nextAlarmAtMs(this.#latestMs);
    const actual = this.#channel.nextAlarmAtMs;
    expectHolds(expected === undefined || (actual ?? Infinity) <= expected, `The next alarm is ${actual}, not ${expected}`);
    // The idle time of a channel begins anew with each change, but only the alarm itself looks after it.
    const neededAtMs = this.model.nextAlarmAtMs(this.#latestMs, true);
    const isSet = neededAtMs === undefined || (this.#alarmAtMs ?? Infinity) <= Math.max(neededAtMs, this.#mayRingAtMs);
    if (this.model.waitsBehindControl) this.tally.count("event", "a put waits for a message behind a control record to expire");
    expectHolds(isSet || this.#isAlarmLost, `The alarm is set for ${this.#alarmAtMs}, not ${neededAtMs}`);
    const { nextStealingAtMs = Infinity, hasMoreToDeliver } = this.#channel;
    expectHolds(hasMoreToDeliver || nextStealingAtMs > this.nowMs, "[SB13] A look that is owed is done in its time");
    expectSame(this.#channel.nextReservationEndMs, this.model.state.promises[0]?.reservedUntilMs, "The end of the first promise");
  }

  #do<Value>(work: () => Value): Value {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof StorageDown)) throw error;
      this.record(() => "  a read failed: what was not committed is dropped");
      throw new StepDropped("A read failed", { cause: error });
    }
  }

  /** Storage refuses the write; where there is nothing to write, nothing fails. */
  #failToCommit(): void {
    const refused = this.#uncommitted;
    this.#deliver();
    this.#store.isRefusingCommits = true;
    try {
      this.#write();
      this.#stand(true);
      this.#writeAttachments();
    } catch (error) {
      if (!(error instanceof StorageDown)) throw error;
      this.drop();
      this.#store.isRefusingCommits = false;
      if (this.random.chance(70)) this.#recover(refused);
    }
    this.#store.isRefusingCommits = false;
  }

  /** As the object does: what was asked for is tried again, each in a commit of its own, in which nothing else is done. */
  #recover(refused: readonly Said[]): void {
    this.#isRecovering = true;
    for (const { operation, origin } of refused) {
      if (operation === undefined) continue;
      this.perform(operation, origin);
      this.commit();
    }
    this.#isRecovering = false;
    if (this.#isDeliveryOwed) this.tick();
  }

  #say(said: Pick<Said, "operation" | "origin" | "outcome">, expected: Outcome | undefined): void {
    const { outcome } = said;
    const made = expected !== undefined && "granted" in expected ? expected.granted?.leaseIds : undefined;
    const told = "granted" in outcome ? outcome.granted?.leaseIds : undefined;
    const group = made === undefined ? undefined : this.model.issue(told ?? [], made);
    if (outcome.type === "put" && outcome.scheduled !== undefined) this.model.issueScheduled(outcome.scheduled);
    const { record } = this.model.state;
    const isQueue = record?.settings.retention === "queue";
    const keyWindowMs = record?.settings.idempotencyWindowMs ?? 0;
    this.#uncommitted.push({ ...said, group, life: record?.life ?? "", isQueue, atMs: this.nowMs, keyWindowMs });
  }

  #compareEffects(): void {
    const told = this.#channel.takeEffects();
    const effects = inOrder(told.filter(({ outcome }) => outcome.type !== "revoke"));
    const expected = inOrder(this.model.takeEffects());
    expectSame(effects, expected, "The answers to those who wait");
    for (const [index, { connection, request, outcome }] of effects.entries()) {
      this.record(() => `  connection ${connection} request ${request} -> ${formatOutcome(outcome)}`);
      countOutcome(this.tally, outcome);
      const isMember = this.model.state.subscriptions.some(
        (one) => one.type === "member" && one.connection === connection && one.request === request,
      );
      if (isMember && outcome.type === "delivered" && outcome.granted === undefined)
        this.tally.count("event", "a member is told of control records that others were handed");
      this.#say({ operation: undefined, origin: { connection, request }, outcome }, expected[index]?.outcome);
    }
    for (const { outcome, ...origin } of told) if (outcome.type === "revoke") this.#noteAsked(origin, outcome);
  }

  #noteAsked(origin: Origin, outcome: Extract<Outcome, { type: "revoke" }>): void {
    this.record(() => `  connection ${origin.connection} request ${origin.request} -> ${formatOutcome(outcome)}`);
    this.tally.count("event", "a member is asked for leases");
    const leaseIds = outcome.leases.flatMap(listLeaseIds);
    const problem = this.model.ask(origin, leaseIds, this.nowMs);
    if (problem !== undefined) throw new Broken(problem);
    this.ledger.noteAsked(leaseIds);
  }

  #write(): void {
    // It may read, to compact.
    const changes = this.#do(() => this.#channel.takeChanges(this.nowMs));
    // As the object does, before anything is written: where the head stands may have to be read.
    const alarmAtMs = this.#do(() => this.#findDeadline(changes));
    if (changes !== undefined) {
      this.#store.commit(changes);
      this.#isWritten = true;
    }
    const stored = this.#store.readGroupStates();
    const isMarkMoved = this.#stored.groups.some(
      (before) => stored.find(({ id }) => id === before.id)?.scanMark !== before.scanMark,
    );
    const isUnchanged = this.model.version === this.#storedVersion;
    // Keys whose window is over go with whatever commit comes then.
    // Connections that never held anything that counts may be noted, and forgotten.
    const isNoted = [...(changes?.delivery?.values() ?? [])].some(({ mark }) => mark !== undefined);
    const areKeysDropped = (changes?.idempotency?.dropGenerations.length ?? 0) > 0;
    expectHolds(!isUnchanged || changes === undefined || isMarkMoved || isNoted || areKeysDropped, "A refusal changes nothing");
    if (this.#sockets.frames.length > 0) this.tally.count("event", "leases lie with their sockets");
    if (this.model.state.entered.messages > 0) this.tally.count("event", "scheduled messages enter");
    if (this.#channel.countOverdue(this.nowMs) > 0) this.tally.count("event", "more are due than may enter at once");
    const isKeyStored = areKeysDropped ? (key: string, putAtMs: number): boolean => this.#store.hasKey(key, putAtMs) : undefined;
    const problem = this.model.noteCommit(this.nowMs, isKeyStored) ?? this.model.adopt(stored);
    if (problem !== undefined) throw new Broken(problem);
    this.#stored = this.model.state;
    this.#storedVersion = this.model.version;
    this.#setAlarm(alarmAtMs);
  }

  /** As the object does: where it does not know what the alarm is set to, it sets it for all that is due. */
  #findDeadline(changes: Changes | undefined): number | undefined {
    const isNearer = (this.#channel.nextServiceAtMs ?? Infinity) < this.#knownAlarmAtMs;
    if (changes === undefined && !isNearer) return undefined;
    return changes?.channel === undefined ? this.#channel.nextDueAtMs : this.#channel.nextAlarmAtMs;
  }

  /** What was written stands; who asked is answered, or not. */
  #stand(isAnswered: boolean): void {
    for (const said of this.#uncommitted) this.ledger.note(said, isAnswered);
    this.ledger.endCommit();
    this.#uncommitted = [];
  }

  #setAlarm(atMs: number | undefined): void {
    if (atMs === undefined || atMs >= this.#knownAlarmAtMs) return;
    this.#isAlarmLost = false;
    this.#alarmAtMs = atMs;
    this.#knownAlarmAtMs = atMs;
  }

  #tellDirectory(): void {
    const { record } = this.model.state;
    if (record === undefined || !record.outbox.isPending || record.outbox.nextAttemptAtMs > this.nowMs) return;
    const isDone = this.random.chance(80);
    const { version } = record.outbox;
    this.#isDecided = true;
    this.#channel.settleOutbox(version, isDone, this.nowMs);
    this.model.settleOutbox(version, isDone, this.nowMs);
    this.record(() => `  the directory ${isDone ? "was told" : "did not answer"}`);
    this.commit();
  }

  #erase(): void {
    this.record(() => "  storage is erased");
    this.#store = new FaultyStore();
    this.#stored = new Model(() => true).state;
    this.#alarmAtMs = undefined;
    this.#wake();
  }

  #killSockets(): void {
    for (const connection of this.connections) this.ledger.forgetConnection(connection);
    this.#sockets.removeAll();
  }

  #wake(): void {
    this.#store.readsUntilFailure = undefined;
    this.#knownAlarmAtMs = Number.MAX_SAFE_INTEGER;
    this.#latestMs = this.nowMs;
    this.#channel = this.#build();
    this.#lastConnection = Math.max(0, ...this.connections, ...this.#channel.lostConnections);
    const problem = this.model.wake(this.#stored, this.#leftOver);
    if (problem !== undefined) throw new Broken(problem);
    if (this.model.hasDoubts) this.tally.count("event", "leases are lost with their sockets");
    // Sockets that are gone took their requests with them, also when their number is given again.
    const { gets, lines, puts, promises, subscriptions, watches } = this.model.state;
    this.#stored = { ...this.#stored, gets, lines, puts, promises, subscriptions, watches };
    this.#storedVersion = this.model.version;
  }

  /** What is stored or carried of leases. */
  get #leftOver(): LeftOver {
    const rows = this.#store.readRows();
    const { frames } = this.#sockets;
    return {
      hasLease: (group, offset) =>
        frames.some((frame) => frame.group === group && frame.offsets.includes(offset)) ||
        (rows.get(group)?.leases ?? []).some(({ leases }) => leases.some((lease) => lease.offset === offset)),
      lostHolders: (group) =>
        (rows.get(group)?.mark?.connections ?? []).filter((connection) => !this.#sockets.isKnown(connection)),
    };
  }

  #build(): Channel {
    const isConnected = (connection: number): boolean => this.isOpen(connection);
    return new Channel({ name: "orders", store: this.#store, ...this.#sockets.attached, isConnected });
  }

  #moment(): Moment {
    const { nowMs, mayCreate } = this;
    const isRecovering = this.#isRecovering;
    const life = `life-${this.#lives}`;
    return { nowMs, drawLife: () => life, mayCreate, draw32: () => this.random.draw32(), isRecovering };
  }
}

function inBlock(put: OperationOf<"put">): OperationOf<"put"> {
  if (put.delays !== undefined) return put;
  const records = listMessages(put.messages).map((message) => ({ ...message, isControl: false, putAtMs: 0 }));
  return { ...put, messages: Block.ofStored(encodeStoredBlock(records, 0)) };
}
