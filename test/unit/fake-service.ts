// A service over HTTP that gives the client the answers which the test has written.
import { assert } from "vitest";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { FRAME_MEDIA_TYPE } from "../../src/protocol/version.ts";

/** A request as the service would get it. */
export interface SentRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Parsed if it is text. */
  readonly body: unknown;
  readonly redirect: string | undefined;
}

/** Answers one request; `signal` is that of the request. */
export type Answer = (signal: AbortSignal | undefined) => Response | Promise<Response>;

/** A service that gives the answers that the test has written, in their order, and keeps what it was sent. */
export class FakeService {
  readonly sent: SentRequest[] = [];
  readonly #answers: Answer[];

  constructor(...answers: Answer[]) {
    this.#answers = answers;
  }

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const { method = "GET", headers, body, redirect, signal } = init;
    const parsed: unknown = typeof body === "string" ? JSON.parse(body) : body;
    this.sent.push({ method, url, headers: headers as Record<string, string>, body: parsed, redirect });
    const answer = this.#answers.shift();
    assert(answer !== undefined, `Nothing is written for ${method} ${url}`);
    return answer(signal ?? undefined);
  };
}

export function replyJson(body: object, status = 200): Answer {
  return () => Response.json(body, { status });
}

/** What a pull of several messages answers. */
export function replyFrame(frame: ArrayBuffer): Answer {
  return () => new Response(frame, { headers: { "Content-Type": FRAME_MEDIA_TYPE } });
}

export function replyProblem(refusal: Refusal): Answer {
  const problem = formatProblem(refusal);
  return () =>
    new Response(JSON.stringify(problem), {
      status: problem.status,
      headers: { "Content-Type": "application/problem+json" },
    });
}

/** What a proxy in between says. */
export function replyPage(status: number, headers: Readonly<Record<string, string>> = {}): Answer {
  return () => new Response("<html>Bad gateway</html>", { status, headers: { "Content-Type": "text/html", ...headers } });
}

/** A problem that ends before it says what it is. */
export const cutOff: Answer = () =>
  new Response('{"kind":', { status: 503, headers: { "Content-Type": "application/problem+json" } });

/** A reply that begins well. */
export const breakOff: Answer = () => {
  const body = new ReadableStream({ start: (stream) => stream.error(new TypeError("terminated")) });
  return new Response(body, { headers: { "Content-Type": "application/json" } });
};

export const failOnTheWay: Answer = () => Promise.reject(new TypeError("fetch failed"));

/** No answer, until the request is aborted. */
export const neverAnswer: Answer = (signal) =>
  new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(new DOMException("This operation was aborted", "AbortError")));
  });
