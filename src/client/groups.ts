// The groups of a channel's readers.
import type { GroupDescription } from "../protocol/description.ts";
import type { GivenDelivery } from "../protocol/settings.ts";
import { checkOptions, type CallOptions } from "./call-options.ts";
import type { ChannelCalls } from "./channel-calls.ts";

/** An offset, what was put at a time (milliseconds since 1970) or later, the first message that is kept, or what comes next. */
export type GroupPlace = { readonly offset: number } | { readonly timeMs: number } | { readonly at: "first" | "last" };

export interface CreateGroupOptions extends CallOptions {
  /** What it says differently from the channel's `delivery`. Default: nothing. */
  readonly settings?: GivenDelivery | undefined;
  /** Where it begins. Default: `{ at: "last" }`, with the next message. */
  readonly start?: GroupPlace | undefined;
  /** After how many milliseconds without a reader it ends by itself, 10 seconds to 365 days. Default: never. */
  readonly expireAfterIdleMs?: number | undefined;
}

export interface ListGroupsOptions extends CallOptions {
  /** Only names behind this one. Default: all. */
  readonly after?: string | undefined;
  /** Groups of one request, at most 1,000. Default: 100. */
  readonly pageSize?: number | undefined;
}

export class Groups {
  readonly #calls: ChannelCalls;

  constructor(calls: ChannelCalls) {
    this.#calls = calls;
  }

  /** All groups in the order of their names. */
  async *list(options: ListGroupsOptions = {}): AsyncGenerator<GroupDescription, void, undefined> {
    for await (const { groups } of this.#calls.pages<GroupsReply>(["groups"], options)) yield* groups;
  }

  /** Creates a group, or confirms that it exists: then nothing is changed. */
  async create(group: string, options: CreateGroupOptions = {}): Promise<GroupDescription> {
    const { signal, ...json } = checkOptions(options);
    return this.#calls.change("PUT", ["groups", group], { signal }, { json });
  }

  describe(group: string, options: CallOptions = {}): Promise<GroupDescription> {
    return this.#calls.read(["groups", group], options);
  }

  /** Changes its settings: what is absent stays. */
  configure(group: string, settings: GivenDelivery, options: CallOptions = {}): Promise<GroupDescription> {
    return this.#calls.change("PATCH", ["groups", group], options, { json: { settings } });
  }

  /** Hands out nothing until it is resumed. */
  pause(group: string, options: CallOptions = {}): Promise<GroupDescription> {
    return this.#calls.change("PATCH", ["groups", group], options, { json: { isPaused: true } });
  }

  resume(group: string, options: CallOptions = {}): Promise<GroupDescription> {
    return this.#calls.change("PATCH", ["groups", group], options, { json: { isPaused: false } });
  }

  /** Goes on elsewhere, forwards or back. Rejects with kind `seek-out-of-range` where the offset is not in the channel. */
  seek(group: string, to: GroupPlace, options: CallOptions = {}): Promise<GroupDescription> {
    return this.#calls.change("POST", ["groups", group, "seek"], options, { json: to });
  }

  /** Deletes it with its position. */
  async delete(group: string, options: CallOptions = {}): Promise<void> {
    await this.#calls.change("DELETE", ["groups", group], options);
  }
}

interface GroupsReply {
  readonly groups: readonly GroupDescription[];
  readonly next: string | null;
}
