// Delayed messages that have not entered their channel yet.
import type { CallOptions } from "./call-options.ts";
import type { ChannelCalls } from "./channel-calls.ts";
import { parseMessage, type MessageJson, type MessageFacts } from "./message-json.ts";

/** A message without an offset: it gets one, and another `putAtMs`, when it enters. */
export interface ScheduledMessage extends MessageFacts {
  readonly scheduledId: string;
  /** In milliseconds since 1970. */
  readonly deliverAtMs: number;
}

export interface ListScheduledOptions extends CallOptions {
  /** Only those that enter after this one, a `scheduledId`. Default: all. */
  readonly after?: string | undefined;
  /** Messages of one request, at most 1,000. Default: 100. */
  readonly pageSize?: number | undefined;
}

export class ScheduledMessages {
  readonly #calls: ChannelCalls;

  constructor(calls: ChannelCalls) {
    this.#calls = calls;
  }

  /** Looks at them, in the order in which they will enter. */
  async *list(options: ListScheduledOptions = {}): AsyncGenerator<ScheduledMessage, void, undefined> {
    for await (const page of this.#calls.pages<ScheduledReply>(["scheduled"], options)) yield* page.scheduled.map(parseMessage);
  }

  /** Rejects with kind `unknown-scheduled` when it has entered. */
  async cancel(scheduledId: string, options: CallOptions = {}): Promise<void> {
    await this.#calls.change("DELETE", ["scheduled", scheduledId], options);
  }
}

interface ScheduledReply {
  readonly scheduled: readonly MessageJson<ScheduledMessage>[];
  readonly next: string | null;
}
