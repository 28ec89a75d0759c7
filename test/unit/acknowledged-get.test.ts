// A get with acks of the client, against a transport that the test plays: what of it is returned, whatever becomes of the ack.
import { assert, describe, expect, test } from "vitest";
import { getAcknowledged } from "../../src/client/acknowledged-get.ts";
import { EdgeChannelError, type Leased, type SettleReport, type Transport } from "../../src/client/index.ts";
import { Retries } from "../../src/client/retries.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import type { LeaseLossCause } from "../../src/protocol/problems.ts";
import { errorOf } from "../client-calls.ts";
import { goOffAtOnce } from "./client-doubles.ts";

const STATE = { depth: 2, bytes: 2, utilization: 0, waiters: 0 };
const AFTER = { ...STATE, depth: 0 };
const LOST = new EdgeChannelError("No answer came", {
  kind: "connection-lost",
  origin: "network",
  retry: "after",
  outcome: "unknown",
});
const REFUSED = new EdgeChannelError("Closed", {
  kind: "connection-lost",
  origin: "network",
  retry: "never",
  outcome: "not-applied",
});

function leased(offset: number): Leased {
  return {
    offset,
    putAtMs: 1,
    contentType: "text/plain",
    body: `m${offset}`,
    leaseId: `l${offset}`,
    attempt: 1,
    redelivered: false,
  };
}

/** What a settle call answers where the leases at these places of its acks were lost. */
function report(causes: Readonly<Record<number, LeaseLossCause>> = {}): SettleReport {
  const refused = Object.entries(causes).map(([place, cause]) => ({
    pointer: `/acks/${place}/leaseId`,
    problem: formatProblem({ kind: "lease-lost", offset: Number(place) + 1, cause }),
  }));
  return { acked: 2 - refused.length, retried: 0, extended: 0, rejected: 0, released: 0, refused, state: AFTER };
}

function refuseCall(): never {
  throw new Error("Nothing but pull and settle is called");
}

/** Takes two messages, or `count`; each settle call answers the next of `answers`. */
function take(
  answers: readonly (SettleReport | EdgeChannelError)[],
  { count = 2, signal }: { count?: number; signal?: AbortSignal } = {},
) {
  const left = [...answers];
  const messages = [1, 2].slice(0, count).map(leased);
  const transport: Transport = {
    keepsOrder: true,
    put: refuseCall,
    putBatch: refuseCall,
    get: refuseCall,
    stats: refuseCall,
    close: refuseCall,
    pull: () => Promise.resolve({ messages, controls: [], leaseUntilMs: 9, state: STATE }),
    settle: ({ acks }) => {
      expect(acks).toEqual(messages);
      const answer = left.shift();
      assert(answer !== undefined, "One settle call more than there are answers");
      return answer instanceof EdgeChannelError ? Promise.reject(answer) : Promise.resolve(answer);
    },
  };
  return { getting: getAcknowledged(transport, new Retries({ retries: 2, startTimer: goOffAtOnce }), { max: 2, signal }), left };
}

async function bodiesOf({ getting }: ReturnType<typeof take>): Promise<unknown[]> {
  return (await getting).messages.map(({ body }) => body);
}

describe("src/client/acknowledged-get", () => {
  test("messages are returned when their ack is answered, with the state behind it", async () => {
    const { getting } = take([report()]);

    expect((await getting).state).toEqual(AFTER);
    expect(await bodiesOf(take([report()]))).toEqual(["m1", "m2"]);
  });

  test("nothing is acked where nothing came", async () => {
    expect(await bodiesOf(take([], { count: 0 }))).toEqual([]);
  });

  test("an ack whose reply was lost is repeated, and finds that the leases have ended with it", async () => {
    const taking = take([LOST, report({ 0: "settled", 1: "settled" })]);

    expect(await bodiesOf(taking)).toEqual(["m1", "m2"]);
    expect(taking.left).toEqual([]);
  });

  test("messages are returned where nobody knows what became of their ack", async () => {
    const taking = take([LOST, LOST, LOST]);

    expect(await bodiesOf(taking)).toEqual(["m1", "m2"]);
    expect(taking.left).toEqual([]);
  });

  test("messages whose lease was over before their ack are left to who has them now", async () => {
    expect(await bodiesOf(take([report({ 0: "expired" })]))).toEqual(["m2"]);
    const error = await errorOf(take([report({ 0: "expired", 1: "superseded" })]).getting);
    expect(error).toMatchObject({ kind: "lease-lost", outcome: "not-applied", problem: { cause: "expired" } });
  });

  test("an ack that certainly was not made leaves the messages in the channel", async () => {
    expect(await errorOf(take([REFUSED]).getting)).toBe(REFUSED);
  });

  test("an abort behind the pull still delivers what came", async () => {
    const signal = AbortSignal.abort("enough");

    expect(await bodiesOf(take([EdgeChannelError.aborted("Cannot send", signal)], { signal }))).toEqual(["m1", "m2"]);
  });
});
