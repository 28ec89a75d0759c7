// Where checkpoints are asked for: over the socket that the messages take, or over HTTP.
import type { CheckpointEntry } from "../protocol/checkpoint.ts";
import type { CallOptions } from "./call-options.ts";
import type { ChannelCalls } from "./channel-calls.ts";
import type {
  CheckpointPage,
  CheckpointParts,
  CheckpointStore,
  CheckpointValue,
  DeleteCheckpointOptions,
  ListCheckpointsOptions,
  WriteCheckpointOptions,
} from "./checkpoint-options.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import {
  decodeBody,
  encodeBody,
  formatBody,
  parseMessage,
  type MessageBody,
  type MessageJson,
  type ReceivedMessage,
} from "./message-json.ts";
import type { BytesReply } from "./requester.ts";
import type { Retries } from "./retries.ts";
import { hasStreams, type StreamingTransport } from "./transport.ts";
import { parseReply } from "./transport-json.ts";

export function openCheckpoints({ transport, calls, retries }: CheckpointParts): CheckpointStore {
  return hasStreams(transport) ? new SocketCheckpoints(transport, retries) : new HttpCheckpoints(calls);
}

class SocketCheckpoints implements CheckpointStore {
  readonly #transport: StreamingTransport;
  readonly #retries: Retries;

  constructor(transport: StreamingTransport, retries: Retries) {
    this.#transport = transport;
    this.#retries = retries;
  }

  async read(name: string, options: CallOptions): Promise<CheckpointValue> {
    const ask = { type: "read-checkpoint", name };
    const frame = await this.#retries.run(() => this.#transport.ask("checkpoint", ask, options), options.signal);
    const { version, contentType, updatedAtMs } = frame;
    const { body } = parseMessage(frame as unknown as MessageJson<ReceivedMessage>);
    // What JSON cannot show as its content type says comes as text or as bytes.
    const isShown = typeof body !== "string" && !(body instanceof Uint8Array);
    const value = isShown ? body : decodeBody(contentType, encodeBody(body).bytes);
    return { version, contentType, updatedAtMs, value };
  }

  async write(name: string, value: MessageBody, options: WriteCheckpointOptions): Promise<CheckpointEntry> {
    const { signal, ...given } = options;
    const frame = { type: "write-checkpoint", name, ...given, ...formatBody(value) };
    return parseReply<CheckpointEntry>(await this.#transport.ask("checkpoint-written", frame, { signal }));
  }

  delete(name: string, { signal, ...given }: DeleteCheckpointOptions): Promise<unknown> {
    return this.#transport.ask("checkpoint-deleted", { type: "delete-checkpoint", name, ...given }, { signal });
  }

  list({ signal, prefix, after, pageSize }: ListCheckpointsOptions): Promise<CheckpointPage> {
    const frame = { type: "list-checkpoints", prefix, after, limit: pageSize };
    return this.#retries.run(() => this.#transport.ask("checkpoints", frame, { signal }), signal);
  }
}

class HttpCheckpoints implements CheckpointStore {
  readonly #calls: ChannelCalls;

  constructor(calls: ChannelCalls) {
    this.#calls = calls;
  }

  async read(name: string, options: CallOptions): Promise<CheckpointValue> {
    return parseValue(await this.#calls.readBytes(pathOf(name), options));
  }

  async write(name: string, value: MessageBody, options: WriteCheckpointOptions): Promise<CheckpointEntry> {
    const { bytes, contentType } = encodeBody(value);
    // With what is no option, which the server refuses: a write without the condition that was meant would be a lost one.
    const { signal, ifMatch, ifNoneMatch, contentType: given, ...query } = options;
    if (given === "") throw EdgeChannelError.refused("Cannot take the content type: it is empty");
    const headers = {
      "Content-Type": given ?? contentType,
      ...formatIfMatch(ifMatch),
      ...(ifNoneMatch !== undefined && { "If-None-Match": ifNoneMatch }),
    };
    return this.#calls.change<CheckpointEntry>("PUT", pathOf(name), { signal }, { headers, bytes, query });
  }

  async delete(name: string, { signal, ifMatch, ...query }: DeleteCheckpointOptions): Promise<unknown> {
    return await this.#calls.change("DELETE", pathOf(name), { signal }, { headers: formatIfMatch(ifMatch), query });
  }

  list(options: ListCheckpointsOptions): Promise<CheckpointPage> {
    const { signal, prefix, after, pageSize } = options;
    return this.#calls.read<CheckpointPage>(pathOf(), { signal }, { after, prefix, limit: pageSize });
  }
}

function pathOf(...name: readonly string[]): readonly string[] {
  return ["checkpoints", ...name];
}

function parseValue({ headers, bytes }: BytesReply): CheckpointValue {
  // Compression on the way makes the tag weak.
  const version = Number(/^(?:W\/)?"(\d+)"$/.exec(headers.get("ETag") ?? "")?.[1]);
  const updatedAtMs = Number(headers.get("Channel-Updated-At-Ms") ?? NaN);
  const contentType = headers.get("Content-Type") ?? "";
  if (Number.isNaN(version) || Number.isNaN(updatedAtMs)) {
    const facts = { kind: "unexpected-reply", origin: "network", retry: "never", outcome: "not-applied" } as const;
    throw new EdgeChannelError("Cannot read the checkpoint: it has no version", facts);
  }
  return { version, contentType, updatedAtMs, value: decodeBody(contentType, bytes) };
}

function formatIfMatch(ifMatch: number | "*" | undefined): Record<string, string> {
  if (ifMatch === undefined) return {};
  if (ifMatch !== "*" && typeof ifMatch !== "number")
    throw EdgeChannelError.refused('Cannot take ifMatch: expected a version, which is a number, or "*"');
  return { "If-Match": ifMatch === "*" ? ifMatch : `"${ifMatch}"` };
}
