// The groups of a channel's readers.
import type { GroupDescription } from "../protocol/description.ts";
import type { GivenDelivery } from "../protocol/settings.ts";
import { iteratePages, type ChannelCalls } from "./channel-calls.ts";
import type { HttpRequest } from "./requester.ts";
import type { CallOptions } from "./transport.ts";

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
  list({ signal, after, pageSize }: ListGroupsOptions = {}): AsyncGenerator<GroupDescription, void, undefined> {
    return iteratePages<GroupDescription, string>(async (mark) => {
      const query = { after: mark, limit: pageSize };
      const page = await this.#calls.read<{ groups: GroupDescription[]; next: string | null }>({
        path: ["groups"],
        query,
        signal,
      });
      return { items: page.groups, next: page.next };
    }, after);
  }

  /** Creates a group, or confirms that it exists: then nothing is changed. */
  create(group: string, { signal, ...json }: CreateGroupOptions = {}): Promise<GroupDescription> {
    return this.#change({ method: "PUT", path: ["groups", group], json, signal });
  }

  describe(group: string, { signal }: CallOptions = {}): Promise<GroupDescription> {
    return this.#calls.read({ path: ["groups", group], signal });
  }

  /** Changes its settings: what is absent stays. */
  configure(group: string, settings: GivenDelivery, { signal }: CallOptions = {}): Promise<GroupDescription> {
    return this.#change({ method: "PATCH", path: ["groups", group], json: { settings }, signal });
  }

  /** Hands out nothing until it is resumed. */
  pause(group: string, { signal }: CallOptions = {}): Promise<GroupDescription> {
    return this.#change({ method: "PATCH", path: ["groups", group], json: { isPaused: true }, signal });
  }

  resume(group: string, { signal }: CallOptions = {}): Promise<GroupDescription> {
    return this.#change({ method: "PATCH", path: ["groups", group], json: { isPaused: false }, signal });
  }

  /** Goes on elsewhere, forwards or back. Rejects with kind `seek-out-of-range` where the offset is not in the channel. */
  seek(group: string, to: GroupPlace, { signal }: CallOptions = {}): Promise<GroupDescription> {
    return this.#change({ method: "POST", path: ["groups", group, "seek"], json: to, signal });
  }

  /** Deletes it with its position. */
  async delete(group: string, { signal }: CallOptions = {}): Promise<void> {
    await this.#calls.change({ method: "DELETE", path: ["groups", group], signal });
  }

  #change(request: HttpRequest): Promise<GroupDescription> {
    return this.#calls.change(request);
  }
}
