// Sends batches in their order with numbers by which the channel tells them apart, until each is answered for good.
import { WAIT_MS_MAX } from "../protocol/client-limits.ts";
import type { EdgeChannelError } from "./edge-channel-error.ts";
import type { PutGiven } from "./message-json.ts";
import { PressureGate } from "./pressure-gate.ts";
import { isWorthRepeating, type Retries } from "./retries.ts";
import type { Credit, PressureListener } from "./socket-streams.ts";
import { hasStreams, type PutReceipt, type Transport } from "./transport.ts";

export interface BatchSenderOptions<Put> {
  readonly transport: Transport;
  readonly retries: Retries;
  readonly id: string;
  readonly epoch: number;
  /** Aborted when all is given up. */
  readonly signal: AbortSignal;
  readonly onRetry: ((error: EdgeChannelError) => void) | undefined;
  readonly onStored: (puts: readonly Put[], receipt: PutReceipt) => void;
  readonly onRefused: (puts: readonly Put[], error: EdgeChannelError) => void;
  /** Nothing can be sent any more without the danger that it is stored twice. */
  readonly onBroken: (error: EdgeChannelError) => void;
}

interface Batch<Put> {
  readonly puts: readonly Put[];
  seq: number;
  isOnTheWay: boolean;
  /** Why its last try failed. */
  error: EdgeChannelError | undefined;
  /** Whether nobody knows what became of a try. */
  mayBeStored: boolean;
}

/** Batches that are on the way at most, where their order is kept. */
const PIPELINED_MAX = 8;
/** How a wait for room ends without any; it begins again. */
const OF_THE_WAIT: readonly string[] = ["channel-full", "promise-lost"];
/** Refusals of messages, not of the put: those of a batch that are well are put without the others. */
const FAULTS_OF_MESSAGES: readonly string[] = ["invalid-request", "message-too-large", "batch-too-large", "request-too-large"];

/**
 * The channel accepts the numbers of a producer one after the other, and an accepted number again as a duplicate. So when a try fails, all
 * that is on the way is let come back first, and what is not stored goes again in order, with the same numbers.
 *
 * A refused batch has not used up its number, and all behind it were refused for the gap: they take the numbers from there on. Where one of
 * them was lost instead, its old number might still arrive and be accepted beside the new one: then nothing more is sent.
 */
export class BatchSender<Put extends { readonly message: PutGiven; readonly bytes: number }> {
  readonly #options: BatchSenderOptions<Put>;
  readonly #gate: PressureGate;
  readonly #onPressure: PressureListener;
  /** Not answered for good, in order. */
  #batches: Batch<Put>[] = [];
  #nextSeq = 1;
  #failures = 0;
  #isRecovering = false;

  constructor(options: BatchSenderOptions<Put>) {
    this.#options = options;
    this.#gate = new PressureGate(options.retries, () => this.#send());
    this.#onPressure = (pressure) => this.#gate.tell(pressure, sizeOf(this.#batches.filter(({ isOnTheWay }) => isOnTheWay)));
    options.signal.addEventListener("abort", () => this.#gate.open(), { once: true });
  }

  get isIdle(): boolean {
    return this.#batches.length === 0;
  }

  /** Whether another batch would go out at once. */
  get hasPlace(): boolean {
    return this.#batches.length < this.#pipelinedMax && !this.#isRecovering;
  }

  get #pipelinedMax(): number {
    return this.#options.transport.keepsOrder ? PIPELINED_MAX : 1;
  }

  add(puts: readonly Put[]): void {
    this.#batches.push(toBatch(puts, this.#nextSeq++));
    this.#send();
  }

  #send(): void {
    if (this.#isRecovering || this.#options.signal.aborted) return;
    for (const batch of this.#batches.slice(0, this.#pipelinedMax)) {
      if (batch.isOnTheWay) continue;
      if (!this.#gate.admits(sizeOf([batch]))) return;
      void this.#put(batch);
    }
  }

  async #put(batch: Batch<Put>): Promise<void> {
    const { transport, id, epoch, signal, onStored } = this.#options;
    batch.isOnTheWay = true;
    const messages = batch.puts.map(({ message }) => message);
    const options = { producer: { id, epoch, seq: batch.seq }, waitMs: WAIT_MS_MAX, signal };
    // Where it fails, so does the put.
    if (hasStreams(transport)) transport.watch(this.#onPressure, { signal }).catch(() => undefined);
    try {
      const receipt = await transport.putBatch(messages, options);
      this.#batches.splice(this.#batches.indexOf(batch), 1);
      this.#failures = 0;
      onStored(batch.puts, receipt);
    } catch (error) {
      if (signal.aborted) return;
      this.#isRecovering = true;
      // Transports throw nothing else.
      batch.error = error as EdgeChannelError;
      batch.mayBeStored ||= batch.error.outcome === "unknown";
    }
    batch.isOnTheWay = false;
    if (!this.#isRecovering) this.#send();
    else if (!this.#batches.some(({ isOnTheWay }) => isOnTheWay)) await this.#recover();
  }

  /** Nothing is on the way: decides by the first failure. */
  async #recover(): Promise<void> {
    const { retries, signal, onRetry } = this.#options;
    // The connection may be another one, which tells it anew.
    this.#gate.open();
    const [first] = this.#batches;
    const error = first?.error;
    if (first !== undefined && error !== undefined) {
      if (OF_THE_WAIT.includes(error.kind) || isWorthRepeating(error)) {
        onRetry?.(error);
        await retries.pause(error, ++this.#failures, signal);
      } else this.#refuse(first, error);
    }
    this.#isRecovering = false;
    this.#send();
  }

  #refuse(batch: Batch<Put>, error: EdgeChannelError): void {
    const { onRefused, onBroken } = this.#options;
    const behind = this.#batches.slice(1);
    // A gap before the first of all: the channel has forgotten the producer, after a week without puts or in another life.
    const isForgotten = error.kind === "producer-sequence-gap";
    if (isForgotten || error.outcome === "unknown" || behind.some(({ mayBeStored }) => mayBeStored))
      return onBroken(error.withOutcome("unknown"));
    const { puts, seq } = batch;
    const isSplit = puts.length > 1 && FAULTS_OF_MESSAGES.includes(error.kind);
    const half = Math.ceil(puts.length / 2);
    const parts = isSplit ? [puts.slice(0, half), puts.slice(half)] : [];
    this.#batches = [...parts.map((part) => toBatch(part, 0)), ...behind];
    this.#nextSeq = seq;
    for (const next of this.#batches) next.seq = this.#nextSeq++;
    if (!isSplit) onRefused(puts, error);
  }
}

function sizeOf<Put extends { readonly bytes: number }>(batches: readonly Batch<Put>[]): Credit {
  const puts = batches.flatMap((batch) => batch.puts);
  return { messages: puts.length, bytes: puts.reduce((sum, { bytes }) => sum + bytes, 0) };
}

function toBatch<Put>(puts: readonly Put[], seq: number): Batch<Put> {
  return { puts, seq, isOnTheWay: false, error: undefined, mayBeStored: false };
}
