// The checkpoints of a channel: named values beside its messages, each with a version.
import type { CheckpointEntry } from "../protocol/checkpoint.ts";
import { iteratePages, type ChannelCalls } from "./channel-calls.ts";
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
import { hasStreams, type CallOptions, type StreamingTransport, type Transport } from "./transport.ts";

/** A checkpoint as it was read. */
export interface CheckpointValue {
  /** Rises with each write of the name, and never goes back while the channel lives. */
  readonly version: number;
  readonly contentType: string;
  /** When it was written, in milliseconds since 1970. */
  readonly updatedAtMs: number;
  /** A JSON value where the content type is JSON, text where it is `text/…`, else bytes: as it was written, unless with another content type. */
  readonly value: MessageBody;
}

export interface WriteCheckpointOptions extends CallOptions {
  /** The version that has to be there, or `"*"` for any; else it rejects with kind `checkpoint-conflict`. Default: no condition. */
  readonly ifMatch?: number | "*" | undefined;
  /** Nothing may be there. Not together with `ifMatch`. Default: no condition. */
  readonly ifNoneMatch?: "*" | undefined;
  /** Default: `text/plain; charset=utf-8`, `application/octet-stream` or `application/json`, by the kind of the value. */
  readonly contentType?: string | undefined;
}

export interface DeleteCheckpointOptions extends CallOptions {
  /** The version that has to be there, or `"*"` for any. Default: no condition. */
  readonly ifMatch?: number | "*" | undefined;
}

export interface ListCheckpointsOptions extends CallOptions {
  /** Only names that begin so. Default: all. */
  readonly prefix?: string | undefined;
  /** Only names behind this one. Default: all. */
  readonly after?: string | undefined;
  /** Entries of one request, at most 1,000. Default: 100. */
  readonly pageSize?: number | undefined;
}

/** What a channel can be asked for, whatever carries it. Reads are repeated when they fail. */
interface CheckpointStore {
  read(name: string, options: CallOptions): Promise<CheckpointValue>;
  write(name: string, value: MessageBody, options: WriteCheckpointOptions): Promise<CheckpointEntry>;
  delete(name: string, options: DeleteCheckpointOptions): Promise<unknown>;
  list(options: ListCheckpointsOptions): Promise<Page>;
}

interface Page {
  readonly checkpoints: readonly CheckpointEntry[];
  readonly next: string | null;
}

/** The checkpoints of a channel, over the connection that its messages take. */
export class Checkpoints {
  readonly #store: CheckpointStore;

  constructor(transport: Transport, calls: ChannelCalls, retries: Retries) {
    this.#store = hasStreams(transport) ? new SocketCheckpoints(transport, retries) : new HttpCheckpoints(calls);
  }

  named(name: string): Checkpoint {
    return new Checkpoint(this.#store, name);
  }

  /** All in the order of their names, without their values. */
  list(options: ListCheckpointsOptions): AsyncGenerator<CheckpointEntry, void, undefined> {
    return iteratePages<CheckpointEntry, string>(async (after) => {
      const page = await this.#store.list({ ...options, after });
      return { items: page.checkpoints, next: page.next };
    }, options.after);
  }
}

/** One checkpoint, by its name. */
export class Checkpoint {
  readonly name: string;
  readonly #store: CheckpointStore;

  /** Made by `Channel.checkpoint`. */
  constructor(store: CheckpointStore, name: string) {
    this.#store = store;
    this.name = name;
  }

  /** Its value, or undefined where there is none. */
  async read(options: CallOptions = {}): Promise<CheckpointValue | undefined> {
    try {
      return await this.#store.read(this.name, options);
    } catch (error) {
      if (error instanceof EdgeChannelError && error.kind === "unknown-checkpoint") return undefined;
      throw error;
    }
  }

  /** Writes a value of at most 1 MiB, and returns the version that it got. */
  write(value: MessageBody, options: WriteCheckpointOptions = {}): Promise<CheckpointEntry> {
    return this.#store.write(this.name, value, options);
  }

  /** Deletes it; rejects with kind `unknown-checkpoint` where there is none. */
  async delete(options: DeleteCheckpointOptions = {}): Promise<void> {
    await this.#store.delete(this.name, options);
  }
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
    const { version, contentType, bytes, updatedAtMs } = await this.#transport.ask("checkpoint-written", frame, { signal });
    return { name, version, contentType, bytes, updatedAtMs };
  }

  delete(name: string, { signal, ifMatch }: DeleteCheckpointOptions): Promise<unknown> {
    return this.#transport.ask("checkpoint-deleted", { type: "delete-checkpoint", name, ifMatch }, { signal });
  }

  list({ signal, prefix, after, pageSize }: ListCheckpointsOptions): Promise<Page> {
    const frame = { type: "list-checkpoints", prefix, after, limit: pageSize };
    return this.#retries.run(() => this.#transport.ask("checkpoints", frame, { signal }), signal);
  }
}

class HttpCheckpoints implements CheckpointStore {
  readonly #calls: ChannelCalls;

  constructor(calls: ChannelCalls) {
    this.#calls = calls;
  }

  async read(name: string, { signal }: CallOptions): Promise<CheckpointValue> {
    return parseReply(await this.#calls.readBytes({ path: pathOf(name), signal }));
  }

  async write(name: string, value: MessageBody, options: WriteCheckpointOptions): Promise<CheckpointEntry> {
    const { bytes, contentType } = encodeBody(value);
    const { signal, ifMatch, ifNoneMatch } = options;
    const headers = {
      "Content-Type": options.contentType ?? contentType,
      ...formatIfMatch(ifMatch),
      ...(ifNoneMatch !== undefined && { "If-None-Match": ifNoneMatch }),
    };
    return this.#calls.change<CheckpointEntry>({ method: "PUT", path: pathOf(name), headers, bytes, signal });
  }

  delete(name: string, { signal, ifMatch }: DeleteCheckpointOptions): Promise<unknown> {
    return this.#calls.change({ method: "DELETE", path: pathOf(name), headers: formatIfMatch(ifMatch), signal });
  }

  list({ signal, prefix, after, pageSize }: ListCheckpointsOptions): Promise<Page> {
    return this.#calls.read<Page>({ path: pathOf(), query: { after, prefix, limit: pageSize }, signal });
  }
}

function pathOf(...name: readonly string[]): readonly string[] {
  return ["checkpoints", ...name];
}

function parseReply({ headers, bytes }: BytesReply): CheckpointValue {
  // Compression on the way makes the tag weak.
  const version = Number(/^(?:W\/)?"(\d+)"$/.exec(headers.get("ETag") ?? "")?.[1]);
  const updatedAtMs = Number(headers.get("Channel-Updated-At-Ms") ?? Number.NaN);
  const contentType = headers.get("Content-Type") ?? "";
  if (Number.isNaN(version) || Number.isNaN(updatedAtMs)) {
    const facts = { kind: "unexpected-reply", origin: "network", retry: "never", outcome: "not-applied" } as const;
    throw new EdgeChannelError("Cannot read the checkpoint: the reply tells no version", facts);
  }
  return { version, contentType, updatedAtMs, value: decodeBody(contentType, bytes) };
}

function formatIfMatch(ifMatch: number | "*" | undefined): Record<string, string> {
  if (ifMatch === undefined) return {};
  return { "If-Match": ifMatch === "*" ? ifMatch : `"${ifMatch}"` };
}
