// A message that a reader holds, and how it is settled by itself.
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { MessageBody } from "./message-json.ts";
import type { CallOptions, Leased, SettleRequest, Transport } from "./transport.ts";

export interface RetryMessageOptions extends CallOptions {
  /** When it may be handed out again, in milliseconds from now, at most 30 days. Default: the channel's delay for the attempt. */
  readonly delayMs?: number | undefined;
  /** At most 1,024 bytes; the message's history shows it. Default: none. */
  readonly reason?: string | undefined;
}

/**
 * Held until it is settled or its lease is over. Each call rejects with kind `lease-lost` when the lease is over, and an ack with
 * `out-of-order` when an earlier message of its key is not settled yet. No call is repeated by itself.
 */
export class LeasedMessage implements Leased {
  readonly offset: number;
  readonly putAtMs: number;
  readonly contentType: string;
  readonly key: string | undefined;
  readonly messageId: string | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly ttlMs: number | undefined;
  readonly redrivenFrom: number | undefined;
  readonly body: MessageBody;
  readonly leaseId: string;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly #transport: Transport;

  constructor(message: Leased, transport: Transport) {
    this.offset = message.offset;
    this.putAtMs = message.putAtMs;
    this.contentType = message.contentType;
    this.key = message.key;
    this.messageId = message.messageId;
    this.headers = message.headers;
    this.ttlMs = message.ttlMs;
    this.redrivenFrom = message.redrivenFrom;
    this.body = message.body;
    this.leaseId = message.leaseId;
    this.attempt = message.attempt;
    this.redelivered = message.redelivered;
    this.#transport = transport;
  }

  /** It is done: nobody gets it again. */
  async ack(options: CallOptions = {}): Promise<void> {
    await this.#settle({ acks: [this] }, options);
  }

  /** It is handed out again later, as another attempt, or becomes a dead letter when its attempts are used up. */
  async retry({ signal, delayMs, reason }: RetryMessageOptions = {}): Promise<void> {
    await this.#settle({ retries: [{ leaseId: this.leaseId, delayMs, reason }] }, { signal });
  }

  /** It is held for `leaseMs` from now on, 1,000 to 43,200,000. */
  async extend(leaseMs: number, options: CallOptions = {}): Promise<void> {
    await this.#settle({ extends: [{ leaseId: this.leaseId, leaseMs }] }, options);
  }

  /** It becomes a dead letter. `reason` has at most 1,024 bytes. */
  async reject(reason?: string, options: CallOptions = {}): Promise<void> {
    await this.#settle({ rejects: [{ leaseId: this.leaseId, reason }] }, options);
  }

  /** It is handed out again at once, and this attempt is not counted. */
  async release(options: CallOptions = {}): Promise<void> {
    await this.#settle({ releases: [this] }, options);
  }

  async #settle(request: SettleRequest, options: CallOptions): Promise<void> {
    const { refused } = await this.#transport.settle(request, options);
    const problem = refused[0]?.problem;
    if (problem !== undefined) throw EdgeChannelError.fromProblem(problem);
  }
}
