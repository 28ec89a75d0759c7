// A channel over HTTP: one request for each call, waits held by the server.
import type { ProducerMark } from "../protocol/dedup.ts";
import type { ChannelDescription } from "../protocol/description.ts";
import { FRAME_MEDIA_TYPE } from "../protocol/version.ts";
import type { CallOptions } from "./call-options.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { loadBlockCodec, type BlockCodec } from "./load-block-codec.ts";
import { formatPuts, type PutGiven } from "./message-json.ts";
import { checkHeader, type HttpRequest, type Requester } from "./requester.ts";
import type {
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
import { formatSettle, parseGetResult, parsePullResult, parsePutReceipt, parseReply } from "./transport-json.ts";

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
    const { signal, producer, idempotencyKey, reserve: _, ...query } = options;
    const codec = messages?.length > 1 ? await loadCodec() : undefined;
    const block = codec?.packPuts(messages);
    const conditions = formatConditions({ producer, idempotencyKey });
    const reply = await this.#post<Parameters<typeof parsePutReceipt>[0]>("batch", {
      // With what is no option, which is refused there as over a socket.
      query,
      ...(block === undefined
        ? { headers: conditions, json: { messages: formatPuts(messages) } }
        : { headers: { ...conditions, "Content-Type": FRAME_MEDIA_TYPE }, bytes: codec?.joinPut("{}", block) }),
      member: "count",
      signal,
    });
    return parsePutReceipt(reply);
  }

  async get({ signal, ...take }: GetOptions = {}): Promise<GetResult> {
    return parseGetResult(await this.#take({ ...take, ack: "auto" }, signal));
  }

  async pull({ signal, detached: _, ...take }: PullOptions = {}): Promise<PullResult> {
    return parsePullResult(await this.#take(take, signal));
  }

  async settle(request: SettleRequest, { signal }: CallOptions = {}): Promise<SettleReport> {
    const json = formatSettle(request);
    return parseReply<SettleReport>(await this.#post("settle", { json, member: "acked", signal }));
  }

  stats({ signal }: CallOptions = {}): Promise<ChannelDescription> {
    return this.#request({ method: "GET", path: [], member: "depth", signal });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const closing of this.#unanswered) closing.abort();
  }

  async #take<Reply>(json: PullOptions & { readonly ack?: "auto" }, signal: AbortSignal | undefined): Promise<Reply> {
    const codec = Number(json.max) > 1 ? await loadCodec() : undefined;
    const framed = codec && { headers: { Accept: FRAME_MEDIA_TYPE }, readFrame: codec.readBinaryFrame };
    return await this.#post("pull", { ...framed, json, member: "messages", signal });
  }

  #post<Body>(what: string, request: Omit<HttpRequest, "method" | "path">): Promise<Body> {
    return this.#request({ ...request, method: "POST", path: ["messages", what] });
  }

  async #request<Body>(request: HttpRequest): Promise<Body> {
    if (this.#isClosed) throw EdgeChannelError.closed();
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

/** Reads and writes binary frames, for more than one message; where it cannot be loaded, JSON does as well. */
function loadCodec(): Promise<BlockCodec | undefined> {
  return loadBlockCodec().catch(() => undefined);
}

/** The headers that make a put safe to send again. */
function formatConditions({ producer, idempotencyKey }: PutOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  if (producer !== undefined) {
    const { id, epoch, seq } = Object(producer) as ProducerMark;
    checkHeader("producer id", id);
    headers["Producer-Id"] = id;
    headers["Producer-Epoch"] = String(epoch);
    headers["Producer-Seq"] = String(seq);
  }
  if (idempotencyKey !== undefined) {
    checkHeader("idempotency key", idempotencyKey);
    headers["Idempotency-Key"] = `"${idempotencyKey.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  }
  return headers;
}
