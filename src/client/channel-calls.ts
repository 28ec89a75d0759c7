// What is asked of one channel over HTTP alone: requests below its address, reads of which are repeated when they fail.
import type { HttpRequest, BytesReply, Requester } from "./requester.ts";
import type { Retries } from "./retries.ts";

type Reading = Omit<HttpRequest, "method" | "json" | "bytes">;

/** A page of a list, and where the next one begins; null at the end. */
interface Paged<Item, Mark> {
  readonly items: readonly Item[];
  readonly next: Mark | null;
}

export class ChannelCalls {
  readonly #requester: Requester;
  readonly #retries: Retries;
  readonly #prefix: readonly string[];

  /** @param channel Its name; undefined for what is above all channels. */
  constructor(requester: Requester, retries: Retries, channel: string | undefined) {
    this.#requester = requester;
    this.#retries = retries;
    this.#prefix = channel === undefined ? [] : [channel];
  }

  /** Changes nothing, so it may be sent again. */
  read<Body>(request: Reading): Promise<Body> {
    return this.#retries.run(() => this.#requester.requestJson<Body>(this.#below({ ...request, method: "GET" })), request.signal);
  }

  /** The same where the reply's body is bytes. */
  readBytes(request: Reading): Promise<BytesReply> {
    return this.#retries.run(() => this.#requester.requestBytes(this.#below({ ...request, method: "GET" })), request.signal);
  }

  /** Sent once. */
  change<Body>(request: HttpRequest): Promise<Body> {
    return this.#requester.requestJson<Body>(this.#below(request));
  }

  #below(request: HttpRequest): HttpRequest {
    return { ...request, path: [...this.#prefix, ...request.path] };
  }
}

/** Goes over a list page by page, asking for the next page when the last item of one was taken. */
export async function* iteratePages<Item, Mark>(
  readPage: (from: Mark | undefined) => Promise<Paged<Item, Mark>>,
  from: Mark | undefined,
): AsyncGenerator<Item, void, undefined> {
  let mark = from;
  for (;;) {
    const { items, next } = await readPage(mark);
    yield* items;
    if (next === null) return;
    mark = next;
  }
}
