// What is asked of one channel over HTTP alone: requests below its address, reads of which are repeated when they fail.
import { checkOptions, signalOf, type CallOptions } from "./call-options.ts";
import type { HttpRequest, BytesReply, Requester } from "./requester.ts";
import type { Retries } from "./retries.ts";

type Path = HttpRequest["path"];
type Content = Omit<HttpRequest, "method" | "path" | "signal">;

/** Where the next page begins; null at the end. */
interface Page<Mark> {
  readonly next: Mark | null;
}

interface PageOptions extends CallOptions {
  readonly after?: string | undefined;
  readonly from?: number | undefined;
  readonly pageSize?: number | undefined;
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
  read<Body>(path: Path, options: CallOptions, query?: HttpRequest["query"]): Promise<Body> {
    return this.#read(path, options, (request) => this.#requester.requestJson<Body>({ ...request, query }));
  }

  /** The same where the reply's body is bytes. */
  readBytes(path: Path, options: CallOptions): Promise<BytesReply> {
    return this.#read(path, options, (request) => this.#requester.requestBytes(request));
  }

  /** Goes over a list page by page, asking for the next one when all of the one before was taken. What else the options say is asked for. */
  async *pages<Reply extends Page<string | number>>(
    path: Path,
    options: PageOptions,
    mark: "after" | "from" = "after",
  ): AsyncGenerator<Reply, void, undefined> {
    const { signal, pageSize, ...query } = checkOptions(options);
    for (let at: string | number | null | undefined = query[mark]; at !== null;) {
      const page: Reply = await this.read<Reply>(path, { signal }, { ...query, [mark]: at, limit: pageSize });
      yield page;
      at = page.next;
    }
  }

  /** Sent once. */
  async change<Body>(method: HttpRequest["method"], path: Path, options: CallOptions, content?: Content): Promise<Body> {
    return this.#requester.requestJson<Body>({ ...content, ...this.#request(method, path, options) });
  }

  async #read<Body>(path: Path, options: CallOptions, attempt: (request: HttpRequest) => Promise<Body>): Promise<Body> {
    const request = this.#request("GET", path, options);
    return this.#retries.run(() => attempt(request), request.signal);
  }

  #request(method: HttpRequest["method"], path: Path, options: CallOptions): HttpRequest {
    return { method, path: [...this.#prefix, ...path], signal: signalOf(options) };
  }
}
