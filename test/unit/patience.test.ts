// How long the command line waits for a server that is gone.
import { describe, expect, test } from "vitest";
import { Patience } from "../../src/cli/command-line/patience.ts";
import { EdgeChannelError } from "../../src/client/edge-channel-error.ts";

function failureOf(kind: "connection-failed" | "connection-lost" | "channel-full"): EdgeChannelError {
  return new EdgeChannelError(kind, { kind, origin: "network", retry: "after", outcome: "not-applied" });
}

describe("src/cli/command-line/patience", () => {
  test("it is over when nine connections in a row could not be made, and tells the last failure", () => {
    const patience = new Patience();
    for (let failures = 0; failures < 8; failures++) patience.onFailure(failureOf("connection-failed"));
    expect(() => patience.check()).not.toThrow();
    expect(patience.signal.aborted).toBe(false);
    patience.onFailure(failureOf("connection-failed"));

    expect(patience.signal.aborted).toBe(true);
    expect(() => patience.check()).toThrow("connection-failed");
  });

  test("a connection that was there before it was lost, or an answer, begins it anew", () => {
    const patience = new Patience();
    for (const kind of ["connection-lost", "channel-full"] as const) {
      for (let failures = 0; failures < 8; failures++) patience.onFailure(failureOf("connection-failed"));
      patience.onFailure(failureOf(kind));
    }

    expect(patience.signal.aborted).toBe(false);
  });
});
