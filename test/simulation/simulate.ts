// Plays seeds: a plan is drawn from the seed alone, each step's choices from the step's own number, so that the same seed gives the same
// history to the byte, and a plan with steps left out is a plan too.
import { LIMITS } from "../../src/protocol/limits.ts";
import { Broken } from "./failure.ts";
import { OPERATIONS } from "./operations/table.ts";
import type { ActorOperation } from "./operations/operation.ts";
import { Random } from "./random.ts";
import { Tally } from "./tally.ts";
import { type Fault, StepDropped, World } from "./world.ts";

export const STEPS_PER_SEED = 300;

/** Limits so low that a short history meets every one of them; each seed has its own mixture. */
const LOW_LIMITS: Partial<Record<keyof typeof LIMITS, readonly [number, ...number[]]>> = {
  segmentBytesMax: [600, 300, 5_000],
  segmentRecordsMax: [5, 1, 3, 50],
  headWindowBytesMax: [900, 100, 5_000],
  replyBytesMax: [400, 150, 2_000],
  batchMessagesMax: [12],
  batchBytesMax: [1_500],
  waitersPerSocketMax: [4],
  waitersMax: [9],
  leasesPerRowMax: [3, 1, 50],
  attachedLeasesBytesMax: [12_288, 12_288, 40, 30, 0],
  deferredOffsetsPerRow: [4, 1, 1_024],
  scanMarkLagMax: [4, 1, 50],
  lookAheadMax: [8, 2, 100],
  deadLettersMax: [6, 2, 100],
  deadLetterBytesMax: [500, 100],
  expiredPerSweepMax: [1_000, 2, 1],
  groupsMax: [3, 2],
  doneOffsetsPerRow: [4, 1, 8_192],
  compactionSlackBytes: [4_000_000, 100],
  delayMsMax: [120_000],
  scheduledEntryMessagesMax: [2, 1, 1_000],
  scheduledEntryBytesMax: [100, 8_000],
  producerOutcomesMax: [3, 1, 1_024],
  producersMax: [2, 2, 2, 100],
  producerBuckets: [1],
  producerIdleMs: [600_000],
  producerIdleMsMin: [5_000],
  idempotencyKeysMax: [1_000, 2, 2, 1],
  subscriptionsPerSocketMax: [2, 1, 4],
  subscriptionsMax: [6, 3],
  streamFrameMessagesMax: [3, 1, 1_000],
  creditMessagesMax: [20, 6],
  creditBytesMax: [8_000, 500],
  browseRecordsMax: [20_000, 6, 3, 3],
  checkpointBytesMax: [60],
  checkpointsMax: [2, 4],
  checkpointsBytesMax: [100, 200],
};

interface Step {
  readonly operation: ActorOperation;
  readonly seed: number;
  readonly fault: Fault;
}

export interface Failure {
  readonly seed: number;
  /** The step at which it showed, from 1. */
  readonly step: number;
  readonly error: unknown;
  readonly history: readonly string[];
}

/** In percent; what is left is `none`. */
const FAULTS: readonly (readonly [Fault, number])[] = [
  ["hold", 20],
  ["evict", 8],
  ["commit-fails", 4],
  ["read-fails", 4],
  ["crash-before-commit", 2],
  ["crash-after-commit", 2],
];

/** What the tally has to have seen. */
export const REFUSALS: readonly string[] = [
  "unknown-channel",
  "unknown-message",
  "channel-full",
  "channel-draining",
  "channel-closed",
  "channel-deleted",
  "message-too-large",
  "batch-too-large",
  "too-many-waiters",
  "request-in-use",
  "promise-lost",
  "invalid-request",
  "settings-conflict",
  "invalid-lease",
  "out-of-order",
  "wrong-retention",
  "unknown-group",
  "too-many-groups",
  "seek-out-of-range",
  "no-readers",
  "unknown-scheduled",
  "producer-sequence-gap",
  "producer-sequence-reused",
  "stale-producer-epoch",
  "too-many-producers",
  "too-many-idempotency-keys",
  "idempotency-key-reused",
  "offset-conflict",
  "unknown-checkpoint",
  "checkpoint-conflict",
  "checkpoint-too-large",
  "too-many-checkpoints",
  "settle-refused",
  "unknown-subscription",
  "too-many-subscriptions",
  "resume-lost",
  ...["lease-lost", "out-of-order", "checkpoint-conflict", "checkpoint-too-large", "too-many-checkpoints", "channel-full"].map(
    (part) => `settle-refused: ${part}`,
  ),
  ...["settled", "expired", "retried", "released", "predecessor", "disconnected", "superseded"].map(
    (cause) => `lease-lost: ${cause}`,
  ),
];

/** What neither an operation nor a refusal tells. */
const EVENTS: readonly string[] = [
  "a duplicate is answered",
  "a checkpoint rides on a settle",
  "puts ride on a settle",
  "a put waits for a message behind a control record to expire",
  "messages are scheduled",
  "scheduled messages enter",
  "more are due than may enter at once",
  "leases lie with their sockets",
  "leases are lost with their sockets",
  "a member is sent a frame",
  "a member is sent what came back",
  "a member is asked for leases",
  "a member is told of control records that others were handed",
  "a connection that watches is told of high pressure",
  "a connection that watches is told of low pressure",
  "a reader is sent a frame",
  "a reader is told of a gap",
  "a reader is only told how far it came",
  "a tap is sent a frame",
  "subscribers are owed more than a frame",
  "a subscription ends: taken-over",
  "a subscription ends: channel-closed",
  "a subscription ends: channel-deleted",
  "a subscription ends: unknown-group",
];

export function createTally(): Tally {
  const tally = new Tally();
  tally.expect("event", EVENTS);
  tally.expect("refusal", REFUSALS);
  tally.expect(
    "operation",
    OPERATIONS.map(({ name }) => name),
  );
  tally.expect(
    "fault",
    FAULTS.map(([fault]) => fault),
  );
  return tally;
}

export function planSeed(seed: number): Step[] {
  const random = new Random(seed);
  const total = OPERATIONS.reduce((sum, { weight }) => sum + weight, 0);
  return Array.from({ length: STEPS_PER_SEED }, () => ({
    operation: drawOperation(random.below(total)),
    seed: random.draw32(),
    fault: drawFault(random.below(100)),
  }));
}

/** Plays a plan; returns how it failed, or undefined. */
export function playPlan(seed: number, plan: readonly Step[], tally: Tally, isRecording = false): Failure | undefined {
  const world = createWorld(seed, tally, isRecording);
  return withLowLimits(seed, () => {
    for (const [index, step] of plan.entries()) {
      try {
        playStep(world, step, index === plan.length - 1);
      } catch (error) {
        return { seed, step: index + 1, error, history: world.history };
      }
    }
    return undefined;
  });
}

/** The history of a seed, as text. */
export function recordSeed(seed: number): string {
  const world = createWorld(seed, createTally(), true);
  withLowLimits(seed, () => {
    const plan = planSeed(seed);
    for (const [index, step] of plan.entries()) playStep(world, step, index === plan.length - 1);
  });
  return world.history.join("\n");
}

/** In some seeds first use makes a queue; in the others somebody has to say what it shall be. */
function createWorld(seed: number, tally: Tally, isRecording: boolean): World {
  return new World({ tally, isRecording, mayCreate: seed % 3 === 0 });
}

/** Runs `work` with the limits of a seed. */
function withLowLimits<Value>(seed: number, work: () => Value): Value {
  const usual = { ...LIMITS };
  const random = new Random(~seed);
  const low = Object.entries(LOW_LIMITS).map(([name, values]) => [name, random.oneOf(...values)]);
  Object.assign(LIMITS, Object.fromEntries(low));
  try {
    return work();
  } finally {
    Object.assign(LIMITS, usual);
  }
}

function playStep(world: World, { operation, seed, fault }: Step, isLast: boolean): void {
  const { tally } = world;
  tally.steps += 1;
  tally.count("operation", operation.name);
  world.record(() => `${operation.name}${fault === "none" ? "" : ` (${fault})`}`);
  world.random = new Random(seed);
  if (fault === "read-fails") world.failNextRead(seed % 3);
  try {
    operation.run(world, world.random);
    if (fault !== "none") tally.count("fault", fault);
    world.end(isLast ? "none" : fault);
  } catch (error) {
    if (!(error instanceof StepDropped)) throw error;
    world.drop();
  }
  // After time that passed in silence, the next operation has to find what is due by itself.
  if (fault !== "hold" && operation.name !== "alarm lost" && operation.name !== "clock jump") world.check();
}

function drawOperation(ticket: number): ActorOperation {
  let left = ticket;
  for (const operation of OPERATIONS) {
    left -= operation.weight;
    if (left < 0) return operation;
  }
  throw new Broken("The weights add up");
}

function drawFault(ticket: number): Fault {
  let left = ticket;
  for (const [fault, percent] of FAULTS) {
    left -= percent;
    if (left < 0) return fault;
  }
  return "none";
}
