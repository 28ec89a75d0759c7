// Delayed messages that have not entered their channel yet.
import { iteratePages, type ChannelCalls } from "./channel-calls.ts";
import { parseMessage, type MessageJson, type MessageFacts } from "./message-json.ts";
import type { CallOptions } from "./transport.ts";

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
  list({ signal, after, pageSize }: ListScheduledOptions = {}): AsyncGenerator<ScheduledMessage, void, undefined> {
    return iteratePages<ScheduledMessage, string>(async (mark) => {
      const query = { after: mark, limit: pageSize };
      const page = await this.#calls.read<{ scheduled: MessageJson<ScheduledMessage>[]; next: string | null }>({
        path: ["scheduled"],
        query,
        signal,
      });
      return { items: page.scheduled.map(parseMessage), next: page.next };
    }, after);
  }

  /** Rejects with kind `unknown-scheduled` when it has entered. */
  async cancel(scheduledId: string, { signal }: CallOptions = {}): Promise<void> {
    await this.#calls.change({ method: "DELETE", path: ["scheduled", scheduledId], signal });
  }
}
