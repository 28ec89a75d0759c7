// Messages between the program and the JSON frames: a body goes as text, base64 or JSON and comes back in the form in which it was put.
import { decodeBase64, encodeBase64 } from "../protocol/bytes.ts";
import type { PutMessageJson } from "../protocol/message.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";

/** Text, bytes, or a JSON value. */
type MessageBody = string | Uint8Array | { readonly json: unknown };

/** A message to put. */
export interface PutInput {
  readonly body: MessageBody;
  /** Orders messages among each other. 1 to 256 bytes of UTF-8. Default: none. */
  readonly key?: string | undefined;
  /** Finds the message again, for removal. 1 to 256 bytes of UTF-8. Default: none. */
  readonly messageId?: string | undefined;
  /** Lower-case names, any text; at most 16 KiB together. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Default: `text/plain; charset=utf-8`, `application/octet-stream` or `application/json`, by the kind of the body. */
  readonly contentType?: string | undefined;
  /** Enters the channel after so many milliseconds, at most 30 days. Default: at once. */
  readonly delayMs?: number | undefined;
  /** Enters the channel at this time, in milliseconds since 1970; at once if it is over. Not together with `delayMs`. Default: at once. */
  readonly deliverAtMs?: number | undefined;
}

/** A message as a reader gets it. */
export interface ReceivedMessage {
  /** Its place in the channel. The first message of a channel has 1; later ones have higher offsets, with gaps. */
  readonly offset: number;
  /** When it was stored, in milliseconds since 1970. */
  readonly putAtMs: number;
  readonly contentType: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: MessageBody;
}

type ReceivedJson = Omit<ReceivedMessage, "body"> & { readonly json?: unknown; readonly text?: string; readonly base64?: string };

export function formatPutMessage({ body, ...rest }: PutInput): PutMessageJson {
  if (typeof body === "string") return { ...rest, text: body };
  if (body instanceof Uint8Array) return { ...rest, base64: encodeBase64(body) };
  return { ...rest, json: body.json };
}

export function parseReceivedMessage(form: unknown): ReceivedMessage {
  // The shape is the server's promise; only what could turn into a wrong body is checked.
  const { json, text, base64, ...rest } = form as ReceivedJson;
  if (text !== undefined) return { ...rest, body: text };
  if (json !== undefined) return { ...rest, body: { json } };
  const bytes = base64 === undefined ? undefined : decodeBase64(base64);
  if (bytes === undefined) {
    const facts = { kind: "protocol-violation", origin: "server", retry: "never", outcome: "unknown" } as const;
    throw new EdgeChannelError(`Cannot read message ${rest.offset}: it has no body`, facts);
  }
  return { ...rest, body: bytes };
}
