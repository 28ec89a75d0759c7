// A `fetch` that gives up on a server that takes a request and does not answer it, or does not end its answer.
import type { StartTimer } from "../../base/timers.ts";
import type { Fetch } from "../../client/http-reply.ts";
import { LIMITS } from "../../protocol/limits.ts";

/** For an answer, beyond what was asked to wait. */
const ANSWER_MS = 30_000;
/** Slow connections are given the time that what is large takes on them. */
const BYTES_PER_MS_MIN = 64;
const MS_PER_SECOND = 1000;

/** Said in the line that tells what could not be reached. */
class AnswerLateError extends Error {
  constructor(waitedMs: number, method: string | undefined) {
    const mayBeDone = method === "GET" ? "" : ", and may have done what was asked";
    super(`it did not answer within ${Math.round(waitedMs / MS_PER_SECOND)} s${mayBeDone}`);
  }
}

export function fetchInTime(fetch: Fetch, startTimer: StartTimer): Fetch {
  let failure: AnswerLateError | undefined;
  return async (url, init) => {
    // The client asks again where that is safe: whoever calls would wait as long once more.
    if (failure !== undefined) throw failure;
    const deadline = new Deadline(ANSWER_MS + waitMsOf(url) + sendMsOf(init.body), startTimer);
    const signals = init.signal ? [init.signal, deadline.signal] : [deadline.signal];
    try {
      const reply = await fetch(url, { ...init, signal: AbortSignal.any(signals) });
      return await readWhole(reply, deadline);
    } catch (error) {
      if (!deadline.signal.aborted) throw error;
      failure = new AnswerLateError(deadline.waitedMs, init.method);
      throw failure;
    } finally {
      deadline.end();
    }
  };
}

/** How long the request asks the server to take. */
function waitMsOf(url: string): number {
  const { pathname, searchParams } = new URL(url);
  return pathname.endsWith("/move") ? LIMITS.moveMsMax : Number(searchParams.get("waitMs") ?? 0);
}

function sendMsOf(body: RequestInit["body"]): number {
  if (typeof body === "string") return Buffer.byteLength(body) / BYTES_PER_MS_MIN;
  return body instanceof Uint8Array ? body.byteLength / BYTES_PER_MS_MIN : 0;
}

/** The reply with its body here already. What is no JSON is of somebody else, may have no end, and nobody reads it. */
async function readWhole(reply: Response, deadline: Deadline): Promise<Response> {
  const isRead = /^application\/(problem\+)?json/.test(reply.headers.get("Content-Type") ?? "");
  if (!isRead || reply.body === null) return reply;
  const chunks: Uint8Array[] = [];
  for await (const chunk of reply.body) {
    chunks.push(chunk);
    deadline.extend(chunk.byteLength / BYTES_PER_MS_MIN);
  }
  return new Response(Buffer.concat(chunks), reply);
}

/** Aborts its signal when the time is over. */
class Deadline {
  readonly #startTimer: StartTimer;
  readonly #over = new AbortController();
  #waitedMs: number;
  #moreMs = 0;
  #stopTimer: () => void;

  constructor(ms: number, startTimer: StartTimer) {
    this.#startTimer = startTimer;
    this.#waitedMs = ms;
    this.#stopTimer = startTimer(() => this.#goOn(), ms);
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** How long it takes in all, once it is over. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  extend(ms: number): void {
    this.#moreMs += ms;
  }

  end(): void {
    this.#stopTimer();
  }

  #goOn(): void {
    const moreMs = this.#moreMs;
    if (moreMs === 0) return this.#over.abort();
    this.#moreMs = 0;
    this.#waitedMs += moreMs;
    this.#stopTimer = this.#startTimer(() => this.#goOn(), moreMs);
  }
}
