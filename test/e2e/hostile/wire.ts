// HTTP/1.1 over a bare socket: sends exactly the bytes that a test made up, and reads the reply. Knows nothing of channels.
import { connect, type Socket } from "node:net";

const REPLY_TIMEOUT_MS = 15_000;

export interface WireReply {
  readonly status: number;
  /** Names in lower case; repeated ones joined with ", ". */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

export interface SendOptions {
  /** A reply to HEAD has no body, whatever its headers say. */
  readonly isHead?: boolean;
  /** Ends the sending side after the bytes, as a client that gives up in the middle of its body. */
  readonly isHalfClosed?: boolean;
}

/** "closed": the server ended the connection without a reply. "silent": nothing came in time. */
export type WireAnswer = WireReply | "closed" | "silent";

export class WireClient {
  readonly #port: number;
  #socket: Socket | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  /** Sends the bytes on the connection that is open, or on a new one, and reads one reply. */
  async send(bytes: Uint8Array, options: SendOptions = {}): Promise<WireAnswer> {
    const socket = this.#open();
    const answer = await readAnswer(socket, options.isHead === true, () => {
      socket.write(bytes);
      if (options.isHalfClosed === true) socket.end();
    });
    const isLast =
      typeof answer === "string" || answer.status === 101 || answer.headers.get("connection") === "close" || isStream(answer);
    if (isLast || options.isHalfClosed === true) this.close();
    return answer;
  }

  /** Forgets the connection: after bytes that the server may have taken for more requests. */
  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #open(): Socket {
    if (this.#socket !== undefined && this.#socket.writable && this.#socket.readable) return this.#socket;
    this.#socket = connect({ host: "127.0.0.1", port: this.#port, allowHalfOpen: true, noDelay: true });
    // A reset is an "error" and then "close", which is what ends the wait for a reply.
    this.#socket.on("error", () => undefined);
    return this.#socket;
  }
}

/** A stream of events goes on until somebody ends it. */
function isStream({ headers }: Pick<WireReply, "headers">): boolean {
  return headers.get("content-type")?.startsWith("text/event-stream") === true;
}

function readAnswer(socket: Socket, isHead: boolean, begin: () => void): Promise<WireAnswer> {
  return new Promise((resolve) => {
    let received: Buffer = Buffer.alloc(0);
    const finish = (answer: WireAnswer): void => {
      clearTimeout(timer);
      socket.off("data", onData).off("end", onEnd).off("close", onEnd);
      resolve(answer);
    };
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      const reply = parseReply(received, isHead);
      if (reply !== undefined) finish(reply);
    };
    const onEnd = (): void => finish("closed");
    const timer = setTimeout(() => finish("silent"), REPLY_TIMEOUT_MS);
    socket.on("data", onData).on("end", onEnd).on("close", onEnd);
    begin();
  });
}

/** The reply, or undefined while bytes of it are missing. Interim replies (100) are skipped. */
function parseReply(bytes: Buffer, isHead: boolean): WireReply | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [statusLine = "", ...lines] = bytes.toString("latin1", 0, headEnd).split("\r\n");
  const status = Number(statusLine.split(" ")[1]);
  const rest = bytes.subarray(headEnd + 4);
  if (status === 100) return parseReply(rest, isHead);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const earlier = headers.get(name);
    headers.set(name, earlier === undefined ? value : `${earlier}, ${value}`);
  }
  if (isHead || isStream({ headers }) || status === 101 || status === 204 || status === 304)
    return { status, headers, body: Buffer.alloc(0) };
  const body =
    headers.get("transfer-encoding") === "chunked" ? parseChunks(rest) : parseSized(rest, headers.get("content-length"));
  return body === undefined ? undefined : { status, headers, body };
}

function parseSized(bytes: Buffer, length: string | undefined): Buffer | undefined {
  const size = Number(length ?? 0);
  return bytes.byteLength < size ? undefined : bytes.subarray(0, size);
}

function parseChunks(bytes: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  let start = 0;
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", start);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(bytes.toString("latin1", start, lineEnd), 16);
    const end = lineEnd + 2 + size;
    if (bytes.byteLength < end + 2) return undefined;
    if (size === 0) return Buffer.concat(chunks);
    chunks.push(bytes.subarray(lineEnd + 2, end));
    start = end + 2;
  }
}
