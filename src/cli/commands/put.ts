// `channel put`: one message.
import { createReadStream } from "node:fs";
import { addAbortSignal } from "node:stream";
import { LIMITS } from "../../protocol/limits.ts";
import type { MessageBody, PutReceipt } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import { type Given, UsageError } from "../command-line/given.ts";
import { checkInput } from "../command-line/input.ts";
import { bodyOfBytes } from "../command-line/message-text.ts";
import { formatTime } from "../command-line/output.ts";
import type { Session } from "../command-line/session.ts";

/** Why a file cannot be read, by the code of the system. */
const UNREADABLE: Readonly<Record<string, string>> = { ENOENT: "there is no such file", EISDIR: "it is a folder" };

export const PUT: Command = {
  name: "put",
  needed: ["CHANNEL"],
  optional: ["TEXT"],
  summary: "Puts one message: TEXT, the bytes of a file, or all of the input",
  notes: "Bytes that are readable UTF-8 are put as text, others as binary; they come out the same either way.",
  options: [
    { name: "file", value: "FILE", text: "the body is what is in FILE; - is the input" },
    { name: "key", value: "KEY", text: "messages with the same key are handled one after another" },
    { name: "id", value: "ID", text: "finds the message again, for removal" },
    { name: "header", value: "NAME=VALUE", isMany: true, text: "a header, its name in lower case" },
    { name: "content-type", value: "TYPE", text: "default: text/plain; charset=utf-8, or application/octet-stream" },
    { name: "delay", value: "TIME", text: "enters the channel after so long, 30d at most" },
    { name: "ttl", value: "TIME", text: "is worth handing out for so long" },
    { name: "wait", value: "TIME", text: "waits for room in a full channel, 5m at most; default: tries once" },
    { name: "idempotency-key", value: "KEY", text: "put again with the same key, it is stored once" },
  ],
  run: put,
};

async function put(given: Given, session: Session): Promise<ExitCode> {
  const message = {
    key: given.text("key"),
    messageId: given.text("id"),
    headers: parseHeaders(given.texts("header")),
    contentType: given.text("content-type"),
    delayMs: given.timeMs("delay", 0, LIMITS.delayMsMax),
    ttlMs: given.timeMs("ttl", LIMITS.ttlMsMin, LIMITS.ttlMsMax),
  };
  const options = {
    waitMs: given.timeMs("wait", 0, LIMITS.waitMsMax),
    idempotencyKey: given.text("idempotency-key"),
    signal: session.signal,
  };
  const channel = session.channel(given.channel);
  const receipt = await channel.put({ ...message, body: await readBody(given, session) }, options);
  await session.output.show(receipt, () => formatReceipt(receipt));
  return EXIT.ok;
}

function parseHeaders(texts: readonly string[]): Record<string, string> | undefined {
  if (texts.length === 0) return undefined;
  const headers = new Map<string, string>();
  for (const text of texts) {
    const equalsAt = text.indexOf("=");
    if (equalsAt < 1) throw new UsageError(`Cannot use --header "${text}": expected NAME=VALUE`);
    const name = text.slice(0, equalsAt);
    if (headers.has(name)) throw new UsageError(`Cannot use --header "${text}": a message has one ${name} at most`);
    headers.set(name, text.slice(equalsAt + 1));
  }
  return Object.fromEntries(headers);
}

async function readBody(given: Given, { input, signal }: Session): Promise<MessageBody> {
  const text = given.operand("TEXT");
  const path = given.text("file");
  if (text !== undefined && path !== undefined) throw new UsageError("Cannot put both TEXT and --file: give one of them");
  if (text !== undefined) return text;
  if (path === undefined || path === "-") {
    checkInput(input);
    return bodyOfBytes(await readAll(addAbortSignal(signal, input)));
  }
  try {
    return bodyOfBytes(await readAll(createReadStream(path, { signal })));
  } catch (error) {
    if (!(error instanceof Error && "code" in error) || signal.aborted) throw error;
    throw new UsageError(`Cannot read ${path}: ${UNREADABLE[String(error.code)] ?? error.message}`, { cause: error });
  }
}

/** Stops at what no message can hold. */
async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    length += chunk.byteLength;
    if (length > LIMITS.messageBytesMax) {
      throw new UsageError(
        `Cannot put more than ${LIMITS.messageBytesMax} bytes in a message: use channel pipe, which puts a line each`,
      );
    }
  }
  return Buffer.concat(chunks);
}

function formatReceipt({ offset, scheduled, isDuplicate }: PutReceipt): string {
  const [delayed] = scheduled ?? [];
  if (delayed !== undefined) return `Enters at ${formatTime(delayed.deliverAtMs)}, scheduled as ${delayed.scheduledId}`;
  if (isDuplicate) return offset === null ? "Put before" : `Put before, at offset ${offset}`;
  return `Put at offset ${offset}`;
}
