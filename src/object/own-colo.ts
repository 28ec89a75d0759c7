// In which colo an object is. No interface of the runtime tells it: one request to the outside does, where the deployment wants that.
import { logWarning } from "./log.ts";

const TRACE = "https://www.cloudflare.com/cdn-cgi/trace";
const TRACE_MS_MAX = 5000;
/** The trace is a few hundred bytes. */
const TRACE_CHARS_MAX = 4096;

/** Never rejects: undefined where it could not be learnt. */
export async function learnOwnColo(
  request: (url: string, init: { readonly signal: AbortSignal }) => Promise<Response> = (url, init) => fetch(url, init),
): Promise<string | undefined> {
  try {
    const reply = await request(TRACE, { signal: AbortSignal.timeout(TRACE_MS_MAX) });
    const text = (await reply.text()).slice(0, TRACE_CHARS_MAX);
    return /^colo=([A-Z]{3})$/mu.exec(text)?.[1];
  } catch (error) {
    logWarning("colo-unknown", {}, error);
    return undefined;
  }
}
