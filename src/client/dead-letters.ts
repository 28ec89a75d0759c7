// Messages that could not be delivered: the dead letters of a channel, and what it keeps in quarantine.
import type { RedriveDescription } from "../protocol/description.ts";
import { checkOptions, type CallOptions } from "./call-options.ts";
import type { ChannelCalls } from "./channel-calls.ts";
import { parseMessage, type MessageJson, type ReceivedMessage } from "./message-json.ts";

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
  async *list(options: ListDeadLettersOptions = {}): AsyncGenerator<DeadLetter, void, undefined> {
    for await (const page of this.#calls.pages<DeadLettersReply>(PATH, options, "from"))
      yield* page.deadLetters.map(parseMessage);
  }

  /** Puts them again, as new messages, as many as fit. */
  redrive(filter: BoundedDeadLetterFilter = {}, options: CallOptions = {}): Promise<MovedReport> {
    return this.#calls.change("POST", [...PATH, "redrive"], options, { json: filter });
  }

  /** Begins a job that puts them again, `ratePerSecond` (1 to 10,000) a second, until none is left; `stats` shows how far it is. */
  async beginRedrive(
    ratePerSecond: number,
    filter: DeadLetterFilter = {},
    options: CallOptions = {},
  ): Promise<RedriveDescription> {
    const json = { ...filter, ratePerSecond };
    const reply = await this.#calls.change<RedriveReply>("POST", [...PATH, "redrive"], options, { json });
    return reply.redrive;
  }

  /** Stops that job; what it has put again stays. Rejects with kind `unknown-redrive` where none runs. */
  async stopRedrive(options: CallOptions = {}): Promise<RedriveDescription> {
    return (await this.#calls.change<RedriveReply>("DELETE", [...PATH, "redrive"], options)).redrive;
  }

  /** Deletes them. */
  drop(filter: BoundedDeadLetterFilter = {}, options: CallOptions = {}): Promise<MovedReport> {
    return this.#calls.change("POST", [...PATH, "drop"], options, { json: filter });
  }
}

const PATH = ["dead-letters"] as const;

interface DeadLettersReply {
  readonly deadLetters: readonly MessageJson<DeadLetter>[];
  readonly next: number | null;
}

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
  async list(options: ListQuarantineOptions = {}): Promise<QuarantinedMessage[]> {
    const { signal, max, ...others } = checkOptions(options);
    const query = { ...others, limit: max };
    const reading = this.#calls.read<{ messages: MessageJson<QuarantinedMessage>[] }>(["quarantine"], { signal }, query);
    return (await reading).messages.map(parseMessage);
  }

  /** Hands them out again, their attempts counted anew. */
  release(which: QuarantineFilter, options: CallOptions = {}): Promise<MovedReport> {
    return this.#calls.change("POST", ["quarantine", "release"], options, { json: which });
  }

  /** Removes them; their keys go on. */
  drop(which: QuarantineFilter, options: CallOptions = {}): Promise<MovedReport> {
    return this.#calls.change("POST", ["quarantine", "drop"], options, { json: which });
  }
}
