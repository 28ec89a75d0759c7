// Refusals as problems: the table is complete, and a problem says what is needed to recover (G11).
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { quarantineBodySchema } from "../../src/protocol/delivery-routes.ts";
import { createGroupBodySchema, seekBodySchema } from "../../src/protocol/group-routes.ts";
import { invalidRequest, parseJson, parseWith } from "../../src/protocol/fault.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import { PROBLEM_TYPES, type Refusal, type RefusalKind } from "../../src/protocol/problems.ts";

/** A refusal of each kind. */
const REFUSALS: { readonly [Kind in RefusalKind]: Extract<Refusal, { kind: Kind }> } = {
  "invalid-request": { kind: "invalid-request", errors: [{ pointer: "/max", detail: "Expected a whole number" }] },
  "unsupported-version": { kind: "unsupported-version", supported: [1] },
  "unknown-frame": { kind: "unknown-frame", frameType: "x", frameTypes: ["put", "get"] },
  "request-in-use": { kind: "request-in-use", id: 7 },
  "promise-lost": { kind: "promise-lost", id: 7 },
  unauthorized: { kind: "unauthorized" },
  forbidden: { kind: "forbidden", reason: "Not from this page" },
  "not-configured": { kind: "not-configured", setting: "API_TOKEN", remedy: "Set API_TOKEN" },
  "unknown-channel": { kind: "unknown-channel", channel: "orders" },
  "unknown-message": { kind: "unknown-message", offset: 5 },
  "unknown-checkpoint": { kind: "unknown-checkpoint", checkpoint: "totals" },
  "unknown-scheduled": { kind: "unknown-scheduled", scheduledId: "5-1" },
  "unknown-subscription": { kind: "unknown-subscription", id: 7 },
  "taken-over": { kind: "taken-over" },
  "resume-lost": { kind: "resume-lost", resume: "life.5" },
  "unknown-snapshot": { kind: "unknown-snapshot", snapshotId: "0123456789abcdef" },
  "unknown-restore": { kind: "unknown-restore", channel: "orders", restoreId: "0123456789abcdef" },
  "channel-exists": { kind: "channel-exists", channel: "orders" },
  "snapshot-invalid": { kind: "snapshot-invalid", reason: "hash", page: 2 },
  "too-many-snapshots": { kind: "too-many-snapshots", of: "snapshots", limit: 1, retryAfterMs: 1000 },
  "unknown-route": { kind: "unknown-route", path: "/x" },
  "method-not-allowed": { kind: "method-not-allowed", allow: ["GET", "PUT"] },
  "invalid-lease": { kind: "invalid-lease", pointer: "/acks/0/leaseId" },
  "lease-lost": { kind: "lease-lost", offset: 5, cause: "expired" },
  "out-of-order": { kind: "out-of-order", offset: 5, openOffset: 3 },
  "settle-refused": {
    kind: "settle-refused",
    refused: [{ pointer: "/acks/0/leaseId", problem: { kind: "lease-lost", offset: 5, cause: "expired" } }],
  },
  "plain-reading-only": { kind: "plain-reading-only", frameType: "put" },
  "unknown-redrive": { kind: "unknown-redrive" },
  "redrive-running": { kind: "redrive-running", ratePerSecond: 5, moved: 7 },
  "unknown-group": { kind: "unknown-group", group: "billing" },
  "wrong-retention": { kind: "wrong-retention", retention: "queue", needed: ["log"] },
  "too-many-groups": { kind: "too-many-groups", limit: 1000 },
  "no-readers": { kind: "no-readers", retryAfterMs: 1000 },
  "seek-out-of-range": { kind: "seek-out-of-range", firstOffset: 3, nextOffset: 9 },
  "settings-conflict": { kind: "settings-conflict", conflicts: ["maxBytes"], current: {} },
  "too-many-checkpoints": { kind: "too-many-checkpoints", checkpoint: "totals", size: 1001, limit: 1000, unit: "checkpoints" },
  "producer-sequence-gap": { kind: "producer-sequence-gap", producerId: "p", epoch: 1, expectedSeq: 2 },
  "stale-producer-epoch": { kind: "stale-producer-epoch", producerId: "p", epoch: 1 },
  "producer-sequence-reused": { kind: "producer-sequence-reused", producerId: "p", epoch: 1, seq: 2, offset: 3, count: 4 },
  "offset-conflict": { kind: "offset-conflict", expectedOffset: 1, nextOffset: 2 },
  "channel-moving": { kind: "channel-moving", outcome: "not-applied", retryAfterMs: 1000 },
  "already-there": { kind: "already-there", locationHint: "weur" },
  "jurisdiction-unavailable": { kind: "jurisdiction-unavailable", jurisdiction: "eu" },
  "channel-draining": { kind: "channel-draining", drainUntilMs: null },
  "channel-closed": { kind: "channel-closed" },
  "channel-deleted": { kind: "channel-deleted", deletedAtMs: 1, droppedMessages: 2 },
  "checkpoint-conflict": { kind: "checkpoint-conflict", checkpoint: "totals", current: 7 },
  "checkpoint-too-large": { kind: "checkpoint-too-large", checkpoint: "totals", bytes: 5, limit: 4 },
  "message-too-large": { kind: "message-too-large", bytes: 5, limit: 4 },
  "batch-too-large": { kind: "batch-too-large", size: 5, limit: 4, unit: "messages" },
  "request-too-large": { kind: "request-too-large", limit: 4 },
  "unsupported-media-type": { kind: "unsupported-media-type", accepted: ["application/json"] },
  "idempotency-key-reused": { kind: "idempotency-key-reused", idempotencyKey: "k" },
  "upgrade-required": { kind: "upgrade-required", protocols: ["channel.v1.json"] },
  "channel-full": { kind: "channel-full", retryAfterMs: 100, depth: 1, maxMessages: 2, bytes: 3, maxBytes: 4 },
  "too-many-waiters": { kind: "too-many-waiters", limit: 64, retryAfterMs: 1000 },
  "too-many-subscriptions": { kind: "too-many-subscriptions", limit: 4, retryAfterMs: 1000 },
  "too-many-connections": { kind: "too-many-connections", limit: 10, retryAfterMs: 1000 },
  "too-many-producers": { kind: "too-many-producers", limit: 10, retryAfterMs: 1000 },
  "too-many-idempotency-keys": { kind: "too-many-idempotency-keys", limit: 10, retryAfterMs: 1000 },
  "storage-failed": { kind: "storage-failed", outcome: "not-applied", retryAfterMs: 1000 },
  unavailable: { kind: "unavailable", outcome: "unknown", retryAfterMs: 1000 },
  internal: { kind: "internal", outcome: "unknown" },
};
const KINDS = Object.keys(PROBLEM_TYPES) as RefusalKind[];

const isError = (kind: RefusalKind): boolean => PROBLEM_TYPES[kind].status >= 400 && PROBLEM_TYPES[kind].status < 600;
const isUntimed = (kind: RefusalKind): boolean => "retryAfterMs" in REFUSALS[kind] !== (PROBLEM_TYPES[kind].retry === "after");

describe("src/protocol/problems", () => {
  test.each(KINDS)("[G11] %s becomes a problem of RFC 9457 with its facts", (kind) => {
    const refusal: Refusal = REFUSALS[kind];

    const problem = formatProblem(refusal);

    const { status, title, retry } = PROBLEM_TYPES[kind];
    expect(problem).toMatchObject({ ...refusal, type: `urn:edge-channel:problem:${kind}`, status, title, retry });
    expect(problem.detail).toMatch(/^\S.*\S$/);
    expect(problem.detail).not.toMatch(/undefined|\[object|NaN/);
    expect(JSON.parse(JSON.stringify(problem))).toEqual(problem);
  });

  test("[G11] no fact of a refusal hides a member of the problem", () => {
    const reserved = ["type", "title", "status", "detail", "retry", "instance"];

    const hiding = Object.values(REFUSALS).filter((refusal) => Object.keys(refusal).some((name) => reserved.includes(name)));

    expect(hiding).toEqual([]);
  });

  test("[G11] statuses are those of errors, and what may be tried after a pause says how long", () => {
    expect([KINDS.filter((kind) => !isError(kind)), KINDS.filter(isUntimed)]).toEqual([[], []]);
  });

  test("[G11] what stands behind a server's error says whether it was applied", () => {
    const failures = KINDS.filter((kind) => PROBLEM_TYPES[kind].status >= 500 && PROBLEM_TYPES[kind].retry !== "never");

    expect(failures.filter((kind) => !("outcome" in REFUSALS[kind]))).toEqual([]);
  });

  test("[G11] PROTOCOL.md names every kind with its status", () => {
    const protocol = readFileSync(resolve(import.meta.dirname, "../../src/protocol/PROTOCOL.md"), "utf8");
    const rows = protocol.split("\n").filter((line) => line.startsWith("| `"));

    const isNamed = (kind: RefusalKind): boolean => {
      const row = rows.find((line) => line.split("|")[1]?.includes(`\`${kind}\``));
      return row?.includes(String(PROBLEM_TYPES[kind].status)) === true;
    };

    expect(KINDS.filter((kind) => !isNamed(kind))).toEqual([]);
  });

  test("[G11] a detail names the message by what it was asked for", () => {
    expect(formatProblem({ kind: "unknown-message", offset: 5 }).detail).toContain("5");
    expect(formatProblem({ kind: "unknown-message", messageId: "m" }).detail).toContain('"m"');
    expect(formatProblem({ kind: "checkpoint-conflict", checkpoint: "c", current: 7 }).detail).toContain("version 7");
    expect(formatProblem({ kind: "checkpoint-conflict", checkpoint: "c", current: null }).detail).toContain("does not exist");
    expect(formatProblem({ kind: "unsupported-media-type", acceptedEncodings: ["identity"] }).detail).toContain("identity");
    expect(formatProblem(invalidRequest("", "Expected an object")).detail).toBe("The body: Expected an object");
  });
});

describe("src/protocol/fault", () => {
  test("[G11] faults point into the input with RFC 6901 pointers, from a base", () => {
    const schema = v.strictObject({ "a/b": v.array(v.object({ "~": v.number() })) });

    const parsed = parseWith(schema, { "a/b": [{ "~": 1 }, { "~": "x" }] }, "/query");

    expect(parsed).toMatchObject({ ok: false, refusal: { errors: [{ pointer: "/query/a~1b/1/~0" }] } });
  });

  test("[G11] malformed JSON is refused as a whole, well-formed JSON is a value", () => {
    expect(parseJson("{")).toMatchObject({ ok: false, refusal: { kind: "invalid-request", errors: [{ pointer: "" }] } });
    expect(parseJson(" [1] ")).toEqual({ ok: true, value: [1] });
  });
});

describe("problems in problems", () => {
  test("the parts of a refused settle are whole problems, as the refused entries of one that was carried out", () => {
    const lost = { kind: "lease-lost", offset: 5, cause: "expired" } as const;

    const problem = formatProblem({ kind: "settle-refused", refused: [{ pointer: "/acks/0/leaseId", problem: lost }] });

    expect(problem).toMatchObject({ refused: [{ pointer: "/acks/0/leaseId", problem: formatProblem(lost) }] });
  });
});

function detailOf(conflicts: readonly string[]): string {
  return formatProblem({ kind: "settings-conflict", conflicts, current: {} }).detail;
}

describe("texts of refusals", () => {
  test("a conflict of the retention does not advise a change that is refused as well", () => {
    expect(detailOf(["maxBytes"])).toMatch(/maxBytes: change maxBytes with PATCH$/);
    expect(detailOf(["retention"])).toMatch(/retention is fixed at creation$/);
    expect(detailOf(["retention", "maxBytes"])).toContain("change maxBytes with PATCH");
  });

  test("a conflict of the place tells to move the channel", () => {
    expect(detailOf(["locationHint"])).toMatch(/locationHint: change locationHint with POST …\/move$/);
    expect(detailOf(["jurisdiction", "maxBytes"])).toMatch(/change jurisdiction with POST …\/move, change maxBytes with PATCH$/);
  });

  test("a message that is kept and not quarantined is not said to be missing", () => {
    const { detail } = formatProblem({ kind: "unknown-message", offset: 2, isKept: true });

    expect(detail).toBe("The message at offset 2 is not quarantined");
  });

  test.each([
    [quarantineBodySchema, { offset: 0 }, "/offset", "Expected at least 1"],
    [quarantineBodySchema, { offset: 2, key: "a" }, "", "Expected either offset or key"],
    [quarantineBodySchema, { group: "g", key: "" }, "/key", "A key has at least one character"],
    [quarantineBodySchema, { offset: "3" }, "/offset", 'Invalid type: Expected number but received "3"'],
    [quarantineBodySchema, { key: "a", foo: 1 }, "/foo", "Unknown member: expected one of group, offset, key"],
    [quarantineBodySchema, {}, "", "Expected either offset or key"],
    [seekBodySchema, { timeMs: -1 }, "/timeMs", "Expected at least 0"],
    [createGroupBodySchema, { start: { offset: 0.5 } }, "/start/offset", "Expected a whole number"],
    [
      createGroupBodySchema,
      { start: { at: "middle" } },
      "/start",
      'Expected {"offset"}, {"timeMs"} or {"at": "first" or "last"}',
    ],
  ])("of several forms the one that a value nearly has says what is wrong: %#", (schema, value, pointer, detail) => {
    expect(parseWith(schema, value)).toMatchObject({ ok: false, refusal: { errors: [{ pointer, detail }] } });
  });
});
