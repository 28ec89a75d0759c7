// The checkpoints of a channel: named values beside its messages, each with a version.
import type { CheckpointEntry } from "../protocol/checkpoint.ts";
import { iteratePages, type ChannelCalls } from "./channel-calls.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { decodeBody, encodeBody, type MessageBody } from "./message-json.ts";
import type { BytesReply } from "./requester.ts";
import type { CallOptions } from "./transport.ts";

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

/** One checkpoint, by its name. */
export class Checkpoint {
  readonly name: string;
  readonly #calls: ChannelCalls;

  constructor(calls: ChannelCalls, name: string) {
    this.#calls = calls;
    this.name = name;
  }

  /** Its value, or undefined where there is none. */
  async read({ signal }: CallOptions = {}): Promise<CheckpointValue | undefined> {
    try {
      return parseCheckpoint(await this.#calls.readBytes({ path: this.#path, signal }));
    } catch (error) {
      if (error instanceof EdgeChannelError && error.kind === "unknown-checkpoint") return undefined;
      throw error;
    }
  }

  /** Writes a value of at most 1 MiB, and returns the version that it got. */
  async write(value: MessageBody, options: WriteCheckpointOptions = {}): Promise<CheckpointEntry> {
    const { bytes, contentType } = encodeBody(value);
    const { signal, ifMatch, ifNoneMatch } = options;
    const headers = {
      "Content-Type": options.contentType ?? contentType,
      ...formatIfMatch(ifMatch),
      ...(ifNoneMatch !== undefined && { "If-None-Match": ifNoneMatch }),
    };
    return this.#calls.change<CheckpointEntry>({ method: "PUT", path: this.#path, headers, bytes, signal });
  }

  /** Deletes it; rejects with kind `unknown-checkpoint` where there is none. */
  async delete({ signal, ifMatch }: DeleteCheckpointOptions = {}): Promise<void> {
    await this.#calls.change({ method: "DELETE", path: this.#path, headers: formatIfMatch(ifMatch), signal });
  }

  get #path(): readonly string[] {
    return ["checkpoints", this.name];
  }
}

/** All checkpoints in the order of their names, without their values. */
export function listCheckpoints(
  calls: ChannelCalls,
  { signal, prefix, after, pageSize }: ListCheckpointsOptions,
): AsyncGenerator<CheckpointEntry, void, undefined> {
  return iteratePages<CheckpointEntry, string>(async (mark) => {
    const query = { after: mark, prefix, limit: pageSize };
    const page = await calls.read<{ checkpoints: CheckpointEntry[]; next: string | null }>({
      path: ["checkpoints"],
      query,
      signal,
    });
    return { items: page.checkpoints, next: page.next };
  }, after);
}

function parseCheckpoint({ headers, bytes }: BytesReply): CheckpointValue {
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
