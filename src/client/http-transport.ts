// A channel over HTTP: one request for each call, waits held by the server.
import type { ChannelDescription } from "../protocol/description.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { formatPuts, type PutGiven } from "./message-json.ts";
import type { HttpRequest, Requester } from "./requester.ts";
import type {
  CallOptions,
  GetOptions,
  GetResult,
  PullOptions,
  PullResult,
  PutOptions,
  PutReceipt,
  SettleReport,
  SettleRequest,
  Transport,
} from "./transport.ts";
import { formatSettle, parseGetResult, parsePullResult, parsePutReceipt, parseSettleReport } from "./transport-json.ts";

export class HttpTransport implements Transport {
  readonly keepsOrder = false;
  readonly #requester: Requester;
  readonly #channel: string;
  /** One for each request: a runtime may bind what aborts it to the event that it was made in. */
  readonly #unanswered = new Set<AbortController>();
  #isClosed = false;

  constructor(requester: Requester, channel: string) {
    this.#requester = requester;
    this.#channel = channel;
  }

  put(message: PutGiven, options: PutOptions = {}): Promise<PutReceipt> {
    return this.putBatch([message], options);
  }

  // One message goes as a batch as well: sent alone, its body would be all there is to tell bytes, text and JSON apart.
  async putBatch(messages: readonly PutGiven[], options: PutOptions = {}): Promise<PutReceipt> {
    const { waitMs, expectedOffset, signal } = options;
    const reply = await this.#request<Parameters<typeof parsePutReceipt>[0]>({
      method: "POST",
      path: ["messages", "batch"],
      query: { waitMs, expectedOffset },
      headers: formatConditions(options),
      json: { messages: formatPuts(messages) },
      signal,
    });
    return parsePutReceipt(reply);
  }

  async get({ signal, ...take }: GetOptions = {}): Promise<GetResult> {
    return parseGetResult(await this.#pull({ ...take, ack: "auto" }, signal));
  }

  async pull({ signal, detached: _, ...take }: PullOptions = {}): Promise<PullResult> {
    return parsePullResult(await this.#pull(take, signal));
  }

  async settle(request: SettleRequest, { signal }: CallOptions = {}): Promise<SettleReport> {
    const json = formatSettle(request);
    return parseSettleReport(await this.#request({ method: "POST", path: ["messages", "settle"], json, signal }));
  }

  stats({ signal }: CallOptions = {}): Promise<ChannelDescription> {
    return this.#request({ method: "GET", path: [], signal });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const closing of this.#unanswered) closing.abort();
  }

  #pull(json: object, signal: AbortSignal | undefined): Promise<Parameters<typeof parsePullResult>[0]> {
    return this.#request({ method: "POST", path: ["messages", "pull"], json, signal });
  }

  async #request<Body>(request: HttpRequest): Promise<Body> {
    if (this.#isClosed) throw EdgeChannelError.closed("not-applied");
    const closing = new AbortController();
    const signal = request.signal === undefined ? closing.signal : AbortSignal.any([request.signal, closing.signal]);
    this.#unanswered.add(closing);
    try {
      return await this.#requester.requestJson<Body>({ ...request, path: [this.#channel, ...request.path], signal });
    } catch (error) {
      const isClosed = closing.signal.aborted && error instanceof EdgeChannelError && error.kind === "aborted";
      throw isClosed ? EdgeChannelError.closed(error.outcome) : error;
    } finally {
      this.#unanswered.delete(closing);
    }
  }
}

/** The headers that make a put safe to send again. */
function formatConditions({ producer, idempotencyKey }: PutOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  if (producer !== undefined) {
    headers["Producer-Id"] = producer.id;
    headers["Producer-Epoch"] = String(producer.epoch);
    headers["Producer-Seq"] = String(producer.seq);
  }
  if (idempotencyKey !== undefined) {
    if (!/^[\x20-\x7e]*$/.test(idempotencyKey)) {
      throw EdgeChannelError.refused(
        "Cannot send the idempotency key over HTTP: it has other characters than visible ASCII and spaces",
      );
    }
    headers["Idempotency-Key"] = `"${idempotencyKey.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  }
  return headers;
}
