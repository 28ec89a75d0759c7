// What is given and told about checkpoints.
import type { CheckpointEntry } from "../protocol/checkpoint.ts";
import type { CallOptions } from "./call-options.ts";
import type { ChannelCalls } from "./channel-calls.ts";
import type { MessageBody } from "./message-json.ts";
import type { Retries } from "./retries.ts";
import type { Transport } from "./transport.ts";

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
export interface CheckpointStore {
  read(name: string, options: CallOptions): Promise<CheckpointValue>;
  write(name: string, value: MessageBody, options: WriteCheckpointOptions): Promise<CheckpointEntry>;
  delete(name: string, options: DeleteCheckpointOptions): Promise<unknown>;
  list(options: ListCheckpointsOptions): Promise<CheckpointPage>;
}

export interface CheckpointPage {
  readonly checkpoints: readonly CheckpointEntry[];
  readonly next: string | null;
}

/** What a store is made of. */
export interface CheckpointParts {
  readonly transport: Transport;
  readonly calls: ChannelCalls;
  readonly retries: Retries;
}
