// Messages that could not be delivered: the dead letters of a channel, and what it keeps in quarantine.
import type { RedriveDescription } from "../protocol/description.ts";
import { iteratePages, type ChannelCalls } from "./channel-calls.ts";
import { parseMessage, type MessageJson, type ReceivedMessage } from "./message-json.ts";
import type { CallOptions } from "./transport.ts";

export interface DeadLetter extends ReceivedMessage {
  /** Whose readers could not deal with it. */
  readonly group: string;
  readonly attempts: number;
  readonly reason: string;
  /** In milliseconds since 1970. */
  readonly diedAtMs: number;
}

export interface ListDeadLettersOptions extends CallOptions {
  readonly key?: string | undefined;
  readonly group?: string | undefined;
  readonly reason?: string | undefined;
  /** The offset to begin at. Default: the first. */
  readonly from?: number | undefined;
  /** Dead letters of one request, at most 1,000. Default: 100. */
  readonly pageSize?: number | undefined;
}

/** Which dead letters; an absent member means any. */
export interface DeadLetterFilter {
  readonly offset?: number | undefined;
  readonly key?: string | undefined;
  readonly group?: string | undefined;
  readonly reason?: string | undefined;
  /** Only those that died so long ago, in milliseconds. */
  readonly olderThanMs?: number | undefined;
  /** The offset to begin at: `next` of the call before. Default: the first. */
  readonly from?: number | undefined;
}

export interface BoundedDeadLetterFilter extends DeadLetterFilter {
  /** The most to move, at most 1,000. Default: 100. */
  readonly max?: number | undefined;
}

/** How far a call came that moves or deletes many. */
export interface MovedReport {
  readonly moved: number;
  /** Whether more may be left: go on with `from: next`. */
  readonly isMore: boolean;
  readonly next?: number;
}

export class DeadLetters {
  readonly #calls: ChannelCalls;

  constructor(calls: ChannelCalls) {
    this.#calls = calls;
  }

  /** Looks at them, in the order of their offsets. */
  list(options: ListDeadLettersOptions = {}): AsyncGenerator<DeadLetter, void, undefined> {
    const { signal, from, pageSize, ...filter } = options;
    return iteratePages<DeadLetter, number>(async (mark) => {
      const query = { ...filter, from: mark, limit: pageSize };
      const page = await this.#calls.read<{ deadLetters: MessageJson<DeadLetter>[]; next: number | null }>({
        path: PATH,
        query,
        signal,
      });
      return { items: page.deadLetters.map(parseMessage), next: page.next };
    }, from);
  }

  /** Puts them again, as new messages, as many as fit. */
  redrive(filter: BoundedDeadLetterFilter = {}, { signal }: CallOptions = {}): Promise<MovedReport> {
    return this.#calls.change({ method: "POST", path: [...PATH, "redrive"], json: filter, signal });
  }

  /** Begins a job that puts them again, `ratePerSecond` (1 to 10,000) a second, until none is left; `stats` shows how far it is. */
  async beginRedrive(
    ratePerSecond: number,
    filter: DeadLetterFilter = {},
    { signal }: CallOptions = {},
  ): Promise<RedriveDescription> {
    const json = { ...filter, ratePerSecond };
    const reply = await this.#calls.change<RedriveReply>({ method: "POST", path: [...PATH, "redrive"], json, signal });
    return reply.redrive;
  }

  /** Stops that job; what it has put again stays. Rejects with kind `unknown-redrive` where none runs. */
  async stopRedrive({ signal }: CallOptions = {}): Promise<RedriveDescription> {
    return (await this.#calls.change<RedriveReply>({ method: "DELETE", path: [...PATH, "redrive"], signal })).redrive;
  }

  /** Deletes them. */
  drop(filter: BoundedDeadLetterFilter = {}, { signal }: CallOptions = {}): Promise<MovedReport> {
    return this.#calls.change({ method: "POST", path: [...PATH, "drop"], json: filter, signal });
  }
}

const PATH = ["dead-letters"] as const;

interface RedriveReply {
  readonly redrive: RedriveDescription;
}

export interface QuarantinedMessage extends ReceivedMessage {
  readonly attempts: number;
}

/** The message at an offset, or those of a key. */
export type QuarantineFilter = ({ readonly offset: number } | { readonly key: string }) & { readonly group?: string };

export interface ListQuarantineOptions extends CallOptions {
  /** Default: the one group of a queue. */
  readonly group?: string | undefined;
  /** At most 1,000. Default: 100. */
  readonly max?: number | undefined;
}

/** Messages that used up their attempts and stop their keys. */
export class Quarantine {
  readonly #calls: ChannelCalls;

  constructor(calls: ChannelCalls) {
    this.#calls = calls;
  }

  /** The first of them. */
  async list({ signal, group, max }: ListQuarantineOptions = {}): Promise<QuarantinedMessage[]> {
    const query = { group, limit: max };
    const { messages } = await this.#calls.read<{ messages: MessageJson<QuarantinedMessage>[] }>({
      path: ["quarantine"],
      query,
      signal,
    });
    return messages.map(parseMessage);
  }

  /** Hands them out again, their attempts counted anew. */
  release(which: QuarantineFilter, { signal }: CallOptions = {}): Promise<MovedReport> {
    return this.#calls.change({ method: "POST", path: ["quarantine", "release"], json: which, signal });
  }

  /** Removes them; their keys go on. */
  drop(which: QuarantineFilter, { signal }: CallOptions = {}): Promise<MovedReport> {
    return this.#calls.change({ method: "POST", path: ["quarantine", "drop"], json: which, signal });
  }
}
