// A refusal is lost where the connection is closed while the client still sends the body: what is left of it is read first (RFC 9112, section 9.6).
import { LIMITS } from "../protocol/limits.ts";

/**
 * Reads what nobody wants of a body and keeps nothing, before a refusal. Not one that is larger than `skippedBytesMax`, and not for longer
 * than `skipMsMax`; nor one that the client holds back until it is asked for. Never rejects.
 */
export async function skipBody({ body, bodyUsed, headers }: Request): Promise<void> {
  const bytesSaid = Number(headers.get("Content-Length"));
  if (body === null || bodyUsed || bytesSaid > LIMITS.skippedBytesMax || headers.has("Expect")) return;
  // A body without a length is refused when too much has come of it: what is left is little.
  if (bytesSaid > 0) await readFor(LIMITS.skipMsMax, body.getReader());
}

/** Does not wait for a read that is under way, as a pipe or a cancellation would: nothing may come any more. */
async function readFor(ms: number, reader: ReadableStreamDefaultReader<unknown>): Promise<void> {
  const timeout = AbortSignal.timeout(ms);
  const over = new Promise<void>((resolve) => timeout.addEventListener("abort", () => resolve(), { once: true }));
  const readAll = async (): Promise<void> => {
    while (!timeout.aborted) if ((await reader.read()).done) return;
  };
  await Promise.race([readAll().catch(() => undefined), over]);
}
