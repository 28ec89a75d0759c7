// What programs give, as JSON text.
import { EdgeChannelError } from "./edge-channel-error.ts";

/** Refuses what JSON cannot say: a bigint, a value that contains itself. Of a batch the refusal says which message. */
export function formatJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    const { messages = [] } = value as { readonly messages?: readonly unknown[] };
    const index = messages.findIndex((message) => jsonTextOf(message) === undefined);
    throw refusedValue(`as JSON: ${String(error)}`, messages.length > 1 ? index : -1, error);
  }
}

/** `index`: its place in a batch, -1 without one. */
export function refusedValue(why: string, index: number, cause?: unknown): EdgeChannelError {
  return EdgeChannelError.refused(`Cannot send the value${index < 0 ? "" : ` at index ${index}`} ${why}`, cause);
}

/** Undefined for what JSON cannot say, or leaves out. */
export function jsonTextOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
