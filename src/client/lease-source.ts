// Where a consumer's messages come from: a subscription as a member of a group, or over HTTP one long pull after the other.
import { BATCH_MESSAGES_MAX, SETTLE_ENTRIES_MAX } from "../protocol/client-limits.ts";
import { type LeaseEntry, listRuns } from "../protocol/lease-run.ts";
import type { ControlRecord } from "../protocol/message.ts";
import type { EdgeChannelError } from "./edge-channel-error.ts";
import { KeptSubscription } from "./kept-subscription.ts";
import { putBytes } from "./message-json.ts";
import type { Retries } from "./retries.ts";
import type { Credit, SubscribeRequest } from "./socket-streams.ts";
import { hasStreams, type Leased, type PullOptions, type Transport } from "./transport.ts";
import { parsePullResult } from "./transport-json.ts";

export interface LeaseSource {
  grant(credit: Credit): void;
  /** Takes no more. Absent where the leases would end: what still comes has to be released. */
  stop?(): void;
  /** Ends it, and the leases that it still has. Absent where `stop` was all. */
  end?(): void;
}

export interface LeaseSourceOptions {
  readonly transport: Transport;
  readonly retries: Retries;
  readonly take: Pick<PullOptions, "group" | "leaseMs" | "reader">;
  /** Ends when nothing is left to be had. */
  readonly untilEmpty: boolean;
  /** Whether nothing is held, and all that was settled is answered. */
  readonly isIdle: () => boolean;
  /** Resolves when that is so, or nothing more is wanted. */
  readonly becomeIdle: () => Promise<void>;
  /** The leases that have arrived and are not known to be settled. */
  readonly listHeld: () => readonly string[];
  /** All that may come now, nothing being on the way. */
  readonly takeCredit: () => Credit;
  /** The connection that leases belong to is there, for the first time or again. */
  readonly onBegin: () => void;
  readonly onMessages: (messages: readonly Leased[], bytes: number) => void;
  /** Others wait for these leases. */
  readonly onRevoke: (leases: readonly LeaseEntry[]) => void;
  /** Records of the channel itself that delivery has passed. */
  readonly onControls: (controls: readonly ControlRecord[]) => void;
  /** What came may be lost in a moment, where the leases belong to a connection; it goes on after a pause. */
  readonly onLost: (error: EdgeChannelError) => void;
  readonly onEnd: (error: Error | undefined) => void;
}

/** How long one pull waits for messages. */
const PULL_WAIT_MS = 20_000;
/** How long to wait for more where an empty answer left messages: expired ones leave in steps, so later ones may be behind them. */
const SECOND_LOOK_MS = 100;

export function openLeaseSource(options: LeaseSourceOptions): LeaseSource {
  const { transport, take, untilEmpty, listHeld, takeCredit, onBegin, onMessages, onControls } = options;
  // Of a stream nobody can tell whether more is on the way.
  if (!hasStreams(transport) || untilEmpty) return new PullSource(options);
  // On the next connection it takes its leases over.
  let session: string | undefined;
  return new KeptSubscription({
    ...options,
    transport,
    makeRequest: () => ({ ...take, ...(session !== undefined && comeBack(session, listHeld())), credit: takeCredit() }),
    startOver: () => {
      const isKnown = session !== undefined;
      session = undefined;
      return isKnown;
    },
    onBegin: (resume) => {
      session = resume;
      onBegin();
    },
    onDeliver: (frame) => {
      const { messages, controls } = parsePullResult(frame);
      onControls(controls);
      if (messages.length > 0) onMessages(messages, frame.bytes);
    },
  });
}

/** What never arrived is sent again at once; where more is held than can be told, when its lease is over. */
function comeBack(session: string, leaseIds: readonly string[]): Pick<SubscribeRequest, "resume" | "held"> {
  if (leaseIds.length > SETTLE_ENTRIES_MAX) return { resume: session };
  return { resume: session, held: listRuns(leaseIds) };
}

class PullSource implements LeaseSource {
  readonly #options: LeaseSourceOptions;
  readonly #ending = new AbortController();
  #messages: number;
  #bytes: number;
  #wake: () => void = () => undefined;
  /** What an empty answer left; infinite where the last one was not empty. */
  #depth = 0;

  constructor(options: LeaseSourceOptions) {
    this.#options = options;
    ({ messages: this.#messages, bytes: this.#bytes } = options.takeCredit());
    const { signal } = this.#ending;
    const pulling = options.retries.keepUp((onProgress) => this.#pullAll(onProgress), { signal, onFailure: options.onLost });
    pulling.then(() => options.onEnd(undefined), options.onEnd);
  }

  grant({ messages, bytes }: Credit): void {
    this.#messages += messages;
    this.#bytes += bytes;
    this.#wake();
  }

  stop(): void {
    this.#ending.abort();
    this.#wake();
  }

  async #pullAll(onProgress: () => void): Promise<void> {
    const { signal } = this.#ending;
    const { transport, take, untilEmpty, isIdle, onMessages, onControls, onBegin } = this.#options;
    this.#depth = Infinity;
    onBegin();
    while (!signal.aborted) {
      if (this.#messages <= 0 || this.#bytes <= 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      const max = Math.min(this.#messages, BATCH_MESSAGES_MAX);
      const waitMs = untilEmpty ? this.#lookMs : PULL_WAIT_MS;
      const wasIdle = isIdle();
      const { messages, controls, state } = await transport.pull({ ...take, max, waitMs, signal });
      onProgress();
      onControls(controls);
      if (untilEmpty && messages.length === 0) {
        if (await this.#isOver(wasIdle, state.depth)) return;
        continue;
      }
      this.#depth = Infinity;
      const bytes = messages.reduce((sum, message) => sum + putBytes(message), 0);
      this.#messages -= messages.length;
      this.#bytes -= bytes;
      if (messages.length > 0) onMessages(messages, bytes);
    }
  }

  get #lookMs(): number {
    return this.#depth === Infinity ? 0 : SECOND_LOOK_MS;
  }

  /** After an empty answer. What was held when it was asked for may have come back meanwhile, or kept later messages of its key back. */
  async #isOver(wasIdle: boolean, depth: number): Promise<boolean> {
    if (!wasIdle) {
      await this.#options.becomeIdle();
      return false;
    }
    const isOver = depth === 0 || depth >= this.#depth;
    this.#depth = depth;
    return isOver;
  }
}
