// What programs give, as JSON text.
import { EdgeChannelError } from "./edge-channel-error.ts";

/** Refuses what JSON cannot say: a bigint, a value that contains itself. */
export function formatJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    const why = error instanceof Error ? error.message : "it has no JSON form";
    throw EdgeChannelError.refused(`Cannot send the value as JSON: ${why}`, "invalid-request", error);
  }
}
