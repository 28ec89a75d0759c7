// Messages as they are shown: as JSON, as bytes, or in a line for people; and bytes as the body of a message.
import { decodeUtf8 } from "../../protocol/bytes.ts";
import { encodeBody, formatBody, type MessageBody, type ReceivedMessage } from "../../client/message-json.ts";
import { formatBytes, formatTime, type Output } from "./output.ts";

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;

/** Bytes as text where they are UTF-8 that people can read, so that every reader sees it as such. The bytes are the same either way. */
export function bodyOfBytes(bytes: Uint8Array): MessageBody {
  // In JSON a control character takes six bytes, and in base64 at most two.
  if (bytes.some((byte) => byte < SPACE && byte !== TAB && byte !== LINE_FEED && byte !== CARRIAGE_RETURN)) return bytes;
  return decodeUtf8(bytes) ?? bytes;
}

/** The bytes of the body alone. Those of a JSON value are compact JSON. */
export function bytesOfMessage({ body }: ReceivedMessage): Uint8Array {
  return encodeBody(body).bytes;
}

/** A message as the protocol shows it. */
export function jsonOfMessage(message: ReceivedMessage): object {
  const { body, ...rest } = message;
  return { ...rest, ...formatBody(body) };
}

/** A message in a line: its offset, when it was put, its key and headers, its lease where that is given, its body. */
export function lineOfMessage(message: ReceivedMessage, output: Output, leaseId?: string): string {
  const { offset, putAtMs, key, headers = {} } = message;
  const parts = [
    output.style("bold", String(offset)),
    output.style("dim", formatTime(putAtMs)),
    ...(key === undefined ? [] : [output.style("cyan", escapeControls(key))]),
    ...Object.entries(headers).map(([name, value]) => output.style("dim", `${name}=${escapeControls(value)}`)),
    ...(leaseId === undefined ? [] : [output.style("dim", leaseId)]),
    formatShownBody(message.body),
  ];
  return parts.join("  ");
}

function formatShownBody(body: MessageBody): string {
  if (body instanceof Uint8Array) return `(${formatBytes(body.byteLength)} of binary)`;
  return escapeControls(typeof body === "string" ? body.replace(/\r?\n$/, "") : JSON.stringify(body.json));
}

/** A message may come from anybody: on a terminal its control characters would be commands. */
export function escapeControls(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (character) => {
    if (character === "\n") return String.raw`\n`;
    if (character === "\t") return String.raw`\t`;
    return String.raw`\x` + (character.codePointAt(0) ?? 0).toString(16).padStart(2, "0");
  });
}
