// The checkpoints of a channel: named values beside its messages, each with a version.
import type { CheckpointEntry } from "../protocol/checkpoint.ts";
import { checkOptions, refuseUnknown, signalOf, type CallOptions } from "./call-options.ts";
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
import { loadMachinery } from "./load-machinery.ts";
import type { MessageBody } from "./message-json.ts";

/** How to get at it: it is loaded with the first use. */
type OpenStore = (options: CallOptions) => Promise<CheckpointStore>;

/** The checkpoints of a channel, over the connection that its messages take. */
export class Checkpoints {
  readonly #open: OpenStore;

  constructor(parts: CheckpointParts) {
    this.#open = async (options) => {
      checkOptions(options);
      return (await loadMachinery(parts.retries)).openCheckpoints(parts);
    };
  }

  named(name: string): Checkpoint {
    return new Checkpoint(this.#open, name);
  }

  /** All in the order of their names, without their values. */
  async *list(options: ListCheckpointsOptions): AsyncGenerator<CheckpointEntry, void, undefined> {
    const { signal, prefix, after: from, pageSize, ...rest } = checkOptions(options);
    refuseUnknown(rest);
    for (let after: string | null | undefined = from; after !== null;) {
      const page: CheckpointPage = await (await this.#open(options)).list({ signal, prefix, after, pageSize });
      yield* page.checkpoints;
      after = page.next;
    }
  }
}

/** One checkpoint, by its name. */
export class Checkpoint {
  readonly name: string;
  readonly #open: OpenStore;

  /** Made by `Channel.checkpoint`. */
  constructor(open: OpenStore, name: string) {
    this.#open = open;
    this.name = name;
  }

  /** Its value, or undefined where there is none. */
  async read(options: CallOptions = {}): Promise<CheckpointValue | undefined> {
    try {
      return await (await this.#open(options)).read(this.name, { signal: signalOf(options) });
    } catch (error) {
      if (error instanceof EdgeChannelError && error.kind === "unknown-checkpoint") return undefined;
      throw error;
    }
  }

  /** Writes a value of at most 1 MiB, and returns the version that it got. */
  async write(value: MessageBody, options: WriteCheckpointOptions = {}): Promise<CheckpointEntry> {
    return (await this.#open(options)).write(this.name, value, options);
  }

  /** Deletes it; rejects with kind `unknown-checkpoint` where there is none. */
  async delete(options: DeleteCheckpointOptions = {}): Promise<void> {
    await (await this.#open(options)).delete(this.name, options);
  }
}
