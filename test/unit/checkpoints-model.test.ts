// Random operations on checkpoints and on a naive model of SPEC section CP, over commits that are kept, lost or followed by an eviction.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CheckpointCondition, Operation, Outcome } from "../../src/channel/operation.ts";
import { ChannelHarness } from "./channel-harness.ts";

const NAMES = ["a", "a.1", "b", "c"] as const;

type Step =
  | { readonly type: "write"; readonly name: string; readonly bytes: number; readonly ifMatch: CheckpointCondition | undefined }
  | { readonly type: "delete"; readonly name: string; readonly ifMatch: CheckpointCondition | undefined }
  | { readonly type: "read"; readonly name: string }
  | { readonly type: "list"; readonly after: string; readonly prefix: string; readonly limit: number }
  | { readonly type: "purge" }
  | { readonly type: "recreate" };

interface Kept {
  readonly version: number;
  readonly bytes: number;
}

/** Answers in short: what happened, and the version that it was about. */
class Model {
  #kept: ReadonlyMap<string, Kept> = new Map();
  #deletedVersionMax = 0;

  save(): () => void {
    const [kept, deletedVersionMax] = [this.#kept, this.#deletedVersionMax];
    return () => {
      this.#kept = kept;
      this.#deletedVersionMax = deletedVersionMax;
    };
  }

  apply(step: Step): string {
    if (step.type === "purge") return "purged";
    if (step.type === "recreate") {
      this.#kept = new Map();
      this.#deletedVersionMax = 0;
      return "created";
    }
    if (step.type === "list") return this.#list(step);
    const before = this.#kept.get(step.name);
    if (step.type !== "read" && !isMet(step.ifMatch, before?.version)) return `conflict ${before?.version ?? "none"}`;
    if (step.type === "write") {
      const version = (before?.version ?? this.#deletedVersionMax) + 1;
      this.#kept = new Map(this.#kept).set(step.name, { version, bytes: step.bytes });
      return `written ${version} ${before === undefined ? "anew" : "again"}`;
    }
    if (before === undefined) return "unknown";
    if (step.type === "read") return `read ${before.version} ${before.bytes}`;
    this.#kept = new Map([...this.#kept].filter(([name]) => name !== step.name));
    this.#deletedVersionMax = Math.max(this.#deletedVersionMax, before.version);
    return `deleted ${before.version}`;
  }

  #list({ after, prefix, limit }: Extract<Step, { type: "list" }>): string {
    const all = [...this.#kept].filter(([name]) => name > after && name.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
    const page = all.slice(0, limit);
    const next = page.length < all.length ? page.at(-1)?.[0] : "end";
    return `listed ${page.map(([name, { version, bytes }]) => `${name} ${version} ${bytes}`).join()} then ${next}`;
  }
}

function isMet(condition: CheckpointCondition | undefined, version: number | undefined): boolean {
  const isThere = version !== undefined;
  return condition === undefined || condition === (isThere ? "present" : "absent") || condition === version;
}

function toOperation(step: Exclude<Step, { type: "recreate" }>): Operation {
  if (step.type === "purge") return { type: "purge" };
  if (step.type === "list") return { ...step, type: "list-checkpoints" };
  if (step.type === "read") return { ...step, type: "read-checkpoint" };
  const { name } = step;
  const condition = step.ifMatch === undefined ? {} : { ifMatch: step.ifMatch };
  if (step.type === "delete") return { type: "delete-checkpoint", name, ...condition };
  return { type: "write-checkpoint", write: { name, value: new Uint8Array(step.bytes), contentType: "a/b", ...condition } };
}

function apply(channel: ChannelHarness, step: Step): string {
  if (step.type !== "recreate") return shorten(channel.apply(toOperation(step)));
  channel.delete();
  return shorten(channel.apply({ type: "create", settings: {} }));
}

function shorten(outcome: Outcome): string {
  switch (outcome.type) {
    case "checkpoint-written":
      return `written ${outcome.checkpoint.version} ${outcome.isCreated ? "anew" : "again"}`;
    case "checkpoint-deleted":
      return `deleted ${outcome.version}`;
    case "checkpoint":
      return `read ${outcome.checkpoint.version} ${outcome.checkpoint.value.byteLength}`;
    case "checkpoints": {
      const shown = outcome.checkpoints.map(({ name, version, bytes }) => `${name} ${version} ${bytes}`);
      return `listed ${shown.join()} then ${outcome.next ?? "end"}`;
    }
    case "refused": {
      const { refusal } = outcome;
      return refusal.kind === "checkpoint-conflict"
        ? `conflict ${refusal.current ?? "none"}`
        : refusal.kind.split("-").slice(0, 1).join();
    }
    default:
      return outcome.type;
  }
}

const name = fc.constantFrom(...NAMES);
const ifMatch = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  fc.constantFrom<CheckpointCondition>("present", "absent", 1, 2, 3, 4),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant("write"), name, bytes: fc.nat(9), ifMatch }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("delete"), name, ifMatch }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("read"), name }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("list"),
      after: fc.constantFrom("", "a", "b"),
      prefix: fc.constantFrom("", "a", "a."),
      limit: fc.integer({ min: 1, max: 4 }),
    }),
  },
  fc.constantFrom<Step>({ type: "purge" }, { type: "recreate" }),
);
const commit = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 6 }),
  fate: fc.constantFrom("kept", "kept", "kept", "lost", "evicted"),
});

describe("src/channel/checkpoints", () => {
  test("[CP2] [CP3] [CP6] [CP9] outcomes are those of the model, whatever is committed, lost or evicted", () => {
    const property = fc.property(fc.array(commit, { minLength: 1, maxLength: 10 }), (plan) => {
      const channel = new ChannelHarness({ settings: {} });
      const model = new Model();
      for (const { steps, fate } of plan) {
        const undo = model.save();
        const expected = steps.map((one) => model.apply(one));
        let outcomes: string[] = [];
        const work = (): void => void (outcomes = steps.map((one) => apply(channel, one)));
        if (fate === "lost") channel.failToCommit(work);
        else channel.together(work);
        expect(outcomes).toEqual(expected);
        if (fate === "lost") undo();
        if (fate === "evicted") channel.evict();
        const everything: Step = { type: "list", after: "", prefix: "", limit: 9 };
        expect(apply(channel, everything)).toBe(model.apply(everything));
      }
    });

    expect.hasAssertions();
    fc.assert(property, { numRuns: 400 });
  });
});
