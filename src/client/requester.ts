// One HTTP request to the service: address, token, body, and what its failure means. Sent once; who repeats decides elsewhere.
import { isLongerThan } from "../protocol/bytes.ts";
import { REQUEST_BODY_BYTES_MAX } from "../protocol/client-limits.ts";
import { FRAME_MEDIA_TYPE } from "../protocol/version.ts";
import { EdgeChannelError, type RequestOutcome } from "./edge-channel-error.ts";
import { errorOfReply, unexpectedReply, type Fetch } from "./http-reply.ts";
import { formatJson } from "./json-text.ts";

const JSON_TYPE = "application/json";

export interface RequesterOptions {
  /** The deployment's token. Default: none, as in development on this computer. */
  readonly token?: string | undefined;
  /** Default: the platform's `fetch`. */
  readonly fetch?: Fetch | undefined;
}

export interface HttpRequest {
  readonly method: "GET" | "PUT" | "POST" | "PATCH" | "DELETE";
  /** Segments below `/v1/channels`, not escaped yet. */
  readonly path: readonly (string | number)[];
  /** What is undefined is left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** A body in JSON. */
  readonly json?: object;
  readonly bytes?: Uint8Array | undefined;
  /** Reads a binary frame, in which the reply may come then, as the headers ask for. Default: it comes in JSON. */
  readonly readFrame?: ((bytes: Uint8Array) => object | undefined) | undefined;
  /** A member of the reply in JSON: without it something else has answered. Default: none is looked for. */
  readonly member?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface BytesReply {
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}

export class Requester {
  /** `…/v1/channels` without a slash at the end. */
  readonly #base: string;
  readonly #fetch: Fetch;
  readonly #authorization: Readonly<Record<string, string>>;

  /** @param url The address of the service, with or without a path that its own paths come behind. */
  constructor(url: string | URL, options: RequesterOptions = {}) {
    this.#base = baseOf(url);
    this.#fetch = options.fetch ?? ((address, init) => fetch(address, init));
    const { token } = options;
    if (token !== undefined) checkHeader("token", token);
    this.#authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  }

  /** The address of what is below `/v1/channels`. */
  addressOf(path: readonly (string | number)[]): string {
    return [this.#base, ...path.map(formatSegment)].join("/");
  }

  /** Sends a request that is answered in JSON, or in a binary frame if asked for. */
  async requestJson<Body>(request: HttpRequest): Promise<Body> {
    const { reply, outcome } = await this.#send(request);
    const { member, readFrame, signal } = request;
    const contentType = reply.headers.get("Content-Type");
    let body: unknown;
    if (readFrame !== undefined && contentType === FRAME_MEDIA_TYPE)
      body = readFrame(new Uint8Array(await receive(reply.arrayBuffer(), signal, outcome)));
    else if (contentType?.startsWith(JSON_TYPE) === true) body = await receive(reply.json(), signal, outcome);
    else throw await errorOfReply(reply, outcome);
    if (member !== undefined && !(member in Object(body))) throw unexpectedReply(reply, outcome);
    // The rest of the shape is the server's promise.
    return body as Body;
  }

  /** Sends a request whose reply's body is bytes. */
  async requestBytes(request: HttpRequest): Promise<BytesReply> {
    const { reply, outcome } = await this.#send(request);
    const buffer = await receive(reply.arrayBuffer(), request.signal, outcome);
    return { headers: reply.headers, bytes: new Uint8Array(buffer) };
  }

  async #send(request: HttpRequest): Promise<{ reply: Response; outcome: RequestOutcome }> {
    const { method, signal } = request;
    if (signal?.aborted === true) throw EdgeChannelError.aborted("Cannot send the request", signal);
    const body = request.json === undefined ? request.bytes : formatJson(request.json);
    const isTooLarge =
      typeof body === "string" ? isLongerThan(body, REQUEST_BODY_BYTES_MAX) : (body?.length ?? 0) > REQUEST_BODY_BYTES_MAX;
    if (isTooLarge) throw EdgeChannelError.tooLarge("request", REQUEST_BODY_BYTES_MAX);
    const contentType = request.json === undefined ? {} : { "Content-Type": JSON_TYPE };
    const sending = this.#fetch(this.addressOf(request.path) + formatQuery(request.query ?? {}), {
      method,
      headers: { ...contentType, ...request.headers, ...this.#authorization },
      // A post that is sent on may become a get, and the token is for nobody else.
      redirect: "manual",
      ...(body !== undefined && { body: body as string | Uint8Array<ArrayBuffer> }),
      ...(signal !== undefined && { signal }),
    });
    const outcome = method === "GET" ? "not-applied" : "unknown";
    const reply = await receive(sending, signal, outcome);
    if (!reply.ok) throw await errorOfReply(reply, outcome);
    return { reply, outcome };
  }
}

/** What came, or the error that says why it did not. `outcome` is what is known of a request that was sent. */
async function receive<Value>(coming: Promise<Value>, signal: AbortSignal | undefined, outcome: RequestOutcome): Promise<Value> {
  try {
    return await coming;
  } catch (error) {
    if (signal?.aborted === true) throw EdgeChannelError.aborted("No answer came", signal, outcome);
    const facts = { kind: "connection-lost", origin: "network", retry: "after", outcome, cause: error } as const;
    throw new EdgeChannelError("No answer came: the request failed on the way", facts);
  }
}

function baseOf(url: string | URL): string {
  const base = URL.parse(String(url));
  if (base === null || !/^https?:$/.test(base.protocol)) {
    throw EdgeChannelError.refused(`Cannot use "${String(url)}": it has to begin with http(s)://`);
  }
  return `${base.origin}${base.pathname.replace(/\/+$/, "")}/v1/channels`;
}

/** What a header can say without being taken for something else; a token among others: `fetch` would call it a broken way. */
export function checkHeader(what: string, text: string): void {
  if (typeof text === "string" && /^[\x20-\x7e]*$/.test(text)) return;
  throw EdgeChannelError.refused(`Cannot send the ${what} over HTTP: expected visible ASCII and spaces`);
}

function formatSegment(segment: string | number): string {
  try {
    // With others it would be another address.
    if (!/^\.{0,2}$/.test(String(segment))) return encodeURIComponent(segment);
  } catch {
    // Text with lone surrogates.
  }
  throw EdgeChannelError.refused(`Cannot take "${String(segment)}" as a name in an address`);
}

function formatQuery(query: NonNullable<HttpRequest["query"]>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? "" : `?${String(parameters)}`;
}
