// A message that a reader holds, and how it is settled by itself.
import { checkOptions, refuseUnknown, signalOf, type CallOptions } from "./call-options.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { MessageBody } from "./message-json.ts";
import type { Leased, SettleReport, SettleRequest } from "./transport.ts";

/** What carries the settling: the transport, or who collects for it. */
export interface Settler {
  settle(request: SettleRequest, options?: CallOptions): Promise<Pick<SettleReport, "refused">>;
}

export interface RetryMessageOptions extends CallOptions {
  /** When it may be handed out again, in milliseconds from now, at most 30 days. Default: the channel's delay for the attempt. */
  readonly delayMs?: number | undefined;
  /** At most 1,024 bytes, of which a consumer cuts off what is more; the message's history shows it. Default: none. */
  readonly reason?: string | undefined;
}

/**
 * Held until it is settled or its lease is over. Each call rejects with kind `lease-lost` when the lease is over, and an ack with
 * `out-of-order` when an earlier message of its key is not settled yet. No call is repeated by itself.
 */
export class LeasedMessage implements Leased {
  declare readonly offset: number;
  declare readonly putAtMs: number;
  declare readonly contentType: string;
  declare readonly key: string | undefined;
  declare readonly messageId: string | undefined;
  declare readonly headers: Readonly<Record<string, string>> | undefined;
  declare readonly ttlMs: number | undefined;
  declare readonly redrivenFrom: number | undefined;
  declare readonly body: MessageBody;
  declare readonly leaseId: string;
  declare readonly attempt: number;
  declare readonly redelivered: boolean;
  readonly #settler: Settler;

  constructor(message: Leased, settler: Settler) {
    Object.assign(this, message);
    this.#settler = settler;
  }

  /**
   * It is done: nobody gets it again. Where a consumer had to repeat the ack, since its answer was lost, it may be another reader's ack, who
   * had the message meanwhile, by which it is.
   */
  async ack(options: CallOptions = {}): Promise<void> {
    await this.#settle({ acks: [this] }, options);
  }

  /** It is handed out again later, as another attempt, or becomes a dead letter when its attempts are used up. */
  async retry(options: RetryMessageOptions = {}): Promise<void> {
    const { signal, delayMs, reason, ...rest } = checkOptions(options);
    refuseUnknown(rest);
    await this.#settle({ retries: [{ leaseId: this.leaseId, delayMs, reason }] }, { signal });
  }

  /** It is held for `leaseMs` from now on, 1,000 to 43,200,000. */
  async extend(leaseMs: number, options: CallOptions = {}): Promise<void> {
    await this.#settle({ extends: [{ leaseId: this.leaseId, leaseMs }] }, options);
  }

  /** It becomes a dead letter. `reason` has at most 1,024 bytes; a consumer cuts off what is more. */
  async reject(reason?: string, options: CallOptions = {}): Promise<void> {
    await this.#settle({ rejects: [{ leaseId: this.leaseId, reason }] }, options);
  }

  /** It is handed out again at once, and this attempt is not counted. */
  async release(options: CallOptions = {}): Promise<void> {
    await this.#settle({ releases: [this] }, options);
  }

  async #settle(request: SettleRequest, options: CallOptions): Promise<void> {
    const { refused } = await this.#settler.settle(request, { signal: signalOf(options) });
    const problem = refused[0]?.problem;
    if (problem !== undefined) throw EdgeChannelError.fromProblem(problem);
  }
}
