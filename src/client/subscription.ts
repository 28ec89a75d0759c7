// A plain reader's stream as an async iterable: it grants credit as the program takes messages and goes on over new connections.
import { CREDIT_MESSAGES_MAX, CREDIT_BYTES_MAX } from "../protocol/client-limits.ts";
import type { ControlRecord } from "../protocol/message.ts";
import type { MessageFilter, StreamGap } from "../protocol/stream-frames.ts";
import { checkCallbacks, expectType, refuseUnknown, type CallOptions } from "./call-options.ts";
import { CreditWindow } from "./credit-window.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { checkNumbers } from "./given-number.ts";
import { KeptSubscription } from "./kept-subscription.ts";
import { MessageIterator } from "./message-iterator.ts";
import type { ReceivedMessage } from "./message-json.ts";
import type { Retries } from "./retries.ts";
import type { Credit, DeliverFrame, StreamStart, SubscribeRequest } from "./socket-streams.ts";
import { needStreams, type Transport } from "./transport.ts";
import { parseGetResult } from "./transport-json.ts";

export interface SubscribeOptions extends CallOptions {
  /** Where to begin in a log. Default: `{ at: "last" }`, with what comes next. */
  readonly from?: StreamStart | undefined;
  /** Where an earlier subscription stood (`Subscription.resume`); in place of `from`. Default: none. */
  readonly resume?: string | undefined;
  /** Sees what comes next through a channel that is no log; what is taken before it could be sent is missing. Default: false. */
  readonly tap?: boolean | undefined;
  /** Only messages that have one of the keys and all of the headers; at most 256 bytes of JSON. Default: all. */
  readonly filter?: MessageFilter | undefined;
  /** What may lie here or be on the way, at most 10,000 messages and 16 MiB; one larger message comes alone. Default: 500 and 1 MiB. */
  readonly credit?: Partial<Credit> | undefined;
  /** Told of records of the channel itself, such as a change of its limits, in their place: before the message behind them. Default: none. */
  readonly onControl?: ((record: ControlRecord) => void) | undefined;
  /** Told of records that the log gave up before they were sent, in their place. Default: the stream ends with an error of kind `gap`. */
  readonly onGap?: ((gap: StreamGap) => void) | undefined;
  /** Told when what comes next will be sent: at first, and again on each new connection. Default: none. */
  readonly onBegin?: (() => void) | undefined;
  /** Told why each time before another connection is made. Default: none. */
  readonly onReconnect?: ((error: EdgeChannelError) => void) | undefined;
}

export interface SubscriptionParts {
  readonly transport: Transport;
  readonly retries: Retries;
}

/** What came, in its place; exactly one of the members but `offset` and `bytes` is there, none for a mark of a tap. */
interface Entry {
  readonly offset?: number;
  readonly message?: ReceivedMessage;
  readonly bytes?: number;
  readonly control?: ControlRecord;
  readonly gap?: StreamGap;
  /** Where the program stands when it has come here. */
  readonly resume?: string | undefined;
}

const CREDIT_BOUNDS = {
  messages: [500, 1, CREDIT_MESSAGES_MAX],
  bytes: [1024 * 1024, 1, CREDIT_BYTES_MAX],
} as const;

function checkSubscribeOptions(options: SubscribeOptions): void {
  const { signal, from, resume, tap, filter, credit, onControl, onGap, onBegin, onReconnect, ...rest } = options;
  refuseUnknown(rest);
  checkCallbacks(options);
  expectType("object", credit ?? {}, "credit");
}

/**
 * Messages in order, each once, also over connections that are lost. Ends cleanly when its signal is aborted, and by `return` and disposal;
 * with an EdgeChannelError when the server ends it (`channel-closed` after the rest, `channel-deleted`, `resume-lost`) or refuses it.
 */
export class Subscription extends MessageIterator<ReceivedMessage> {
  readonly #options: SubscribeOptions;
  readonly #window: CreditWindow;
  readonly #kept: KeptSubscription;
  readonly #over = new AbortController();
  #entries: Entry[] = [];
  #ended: { readonly error: Error | undefined } | undefined;
  /** Where the server stands. */
  #sentResume: string | undefined;
  #resume: string | undefined;

  constructor(parts: SubscriptionParts, options: SubscribeOptions) {
    super();
    const transport = needStreams(parts.transport, "subscribe");
    checkSubscribeOptions(options);
    this.#window = new CreditWindow(checkNumbers(options.credit ?? {}, CREDIT_BOUNDS));
    this.#options = options;
    this.#sentResume = this.#resume = options.resume;
    this.#kept = new KeptSubscription({
      transport,
      retries: parts.retries,
      makeRequest: () => this.#makeRequest(),
      onBegin: (resume) => {
        this.#receive([], resume);
        options.onBegin?.();
      },
      onDeliver: (frame) => this.#deliver(frame),
      onLost: (error) => options.onReconnect?.(error),
      onEnd: (error) => this.#end(error),
    });
    options.signal?.addEventListener("abort", () => this.#end(undefined), { signal: this.#over.signal });
    if (options.signal?.aborted === true) this.#end(undefined);
  }

  /**
   * Where the program stands in a log, to go on there later: behind all messages before the one that it took last, or up to a whole frame
   * before that. For the exact place keep the offset of a message that is done, and begin `from` the next one. Undefined for a tap.
   */
  get resume(): string | undefined {
    return this.#resume;
  }

  protected async *iterate(): AsyncGenerator<ReceivedMessage, void, undefined> {
    try {
      for (;;) {
        const entry = this.#entries.shift();
        if (entry?.message !== undefined) {
          yield entry.message;
          this.#window.free(entry.bytes ?? 0);
          this.#grant();
        } else if (entry !== undefined) this.#tell(entry);
        else if (this.#ended === undefined) await this.sleep();
        else if (this.#ended.error !== undefined) throw this.#ended.error;
        else return;
      }
    } finally {
      this.#end(undefined);
    }
  }

  protected leave(): void {
    this.#end(undefined);
  }

  #tell({ control, gap, resume }: Entry): void {
    const { onControl, onGap } = this.#options;
    if (control !== undefined) onControl?.(control);
    else if (gap === undefined) this.#resume = resume;
    else if (onGap !== undefined) onGap(gap);
    else {
      const facts = { kind: "gap", origin: "server", retry: "never", outcome: "not-applied", cause: gap } as const;
      throw new EdgeChannelError(`Cannot read on: the log gave up the records ${gap.fromOffset} to ${gap.toOffset}`, facts);
    }
  }

  #makeRequest(): SubscribeRequest {
    const { from = { at: "last" }, tap, filter } = this.#options;
    const place = this.#sentResume === undefined ? from : { resume: this.#sentResume };
    return { ...(tap === true ? { tap } : { from: place }), filter, credit: this.#window.takeAll() };
  }

  #deliver(frame: DeliverFrame): void {
    const { messages, controls } = parseGetResult(frame);
    const bytesOf = this.#window.hold(messages.length, frame.bytes);
    const entries: Entry[] = messages.map((message, index) => ({ message, offset: message.offset, bytes: bytesOf(index) }));
    for (const control of controls) entries.push({ control, offset: control.offset });
    if (frame.gap !== undefined) entries.push({ gap: frame.gap, offset: frame.gap.fromOffset });
    entries.sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0));
    this.#receive(entries, frame.resume);
  }

  #receive(entries: readonly Entry[], resume: string | undefined): void {
    if (this.#ended !== undefined) return;
    this.#sentResume = resume;
    for (const entry of entries) this.#entries.push(entry);
    // Of the places where nothing was wanted the last is enough.
    if (entries.length === 0 && this.#entries.at(-1)?.offset === undefined) this.#entries.pop();
    this.#entries.push({ resume });
    this.wake();
  }

  #grant(): void {
    const isHungry = this.#entries.every(({ message }) => message === undefined);
    const owed = this.#window.takeOwed(isHungry);
    if (owed !== undefined) this.#kept.grant(owed);
  }

  /** Without an error at once, with one behind what has come. */
  #end(error: Error | undefined): void {
    if (error === undefined) this.#entries = [];
    if (error === undefined || this.#ended === undefined) this.#ended = { error };
    this.#over.abort();
    this.#kept.end();
    this.wake();
  }
}
