// What a channel can be asked for by producers and readers, whatever carries it.
import type { CheckpointFrame } from "../protocol/checkpoint-frames.ts";
import type { ProducerMark } from "../protocol/dedup.ts";
import type { ChannelDescription, PressureState } from "../protocol/description.ts";
import type { ControlRecord } from "../protocol/message.ts";
import type { Problem } from "../protocol/problems.ts";
import type { ScheduledReceipt } from "../protocol/schedule.ts";
import type { CallOptions } from "./call-options.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import type {
  PresenceRequest,
  PressureListener,
  StreamedFrame,
  StreamHandle,
  StreamListener,
  SubscribeRequest,
} from "./socket-streams.ts";
import type { MessageBody, PutGiven, ReceivedMessage } from "./message-json.ts";

export interface WaitOptions extends CallOptions {
  /** How long to wait for room or messages, in milliseconds, at most 300,000 (more counts as that). Default: 0, try once. */
  readonly waitMs?: number | undefined;
}

export interface PutOptions extends WaitOptions {
  /** Which put of its producer it is, from 1: sent again, also over another connection, it returns the first outcome. Default: none. */
  readonly producer?: ProducerMark | undefined;
  /** The same by a name of its own, 1 to 256 bytes, over HTTP of visible ASCII and spaces; not together with `producer`. Default: none. */
  readonly idempotencyKey?: string | undefined;
  /** The put is accepted only if its first message gets this offset, else it rejects with kind `offset-conflict`. Default: any. */
  readonly expectedOffset?: number | undefined;
  /**
   * Over a socket, asks for room before the bodies are sent, at the price of one more round trip: for large messages to a channel that is
   * often full. HTTP pays no heed to it. Default: false.
   */
  readonly reserve?: boolean | undefined;
}

export interface GetOptions extends WaitOptions {
  /** The fewest messages to take: with fewer, none is taken. Default: 1. */
  readonly min?: number | undefined;
  /** The most messages to take, at most 10,000. Default: 1, or `min`. */
  readonly max?: number | undefined;
  /** Whose messages to take; a channel with retention `log` or `interest` needs it. Default: the one group of a queue. */
  readonly group?: string | undefined;
}

export interface PullOptions extends GetOptions {
  /** How long the messages are held for this reader, in milliseconds, 1,000 to 43,200,000. Default: 30,000. */
  readonly leaseMs?: number | undefined;
  /** What the reader calls itself in a message's history, named as channels are. Default: none. */
  readonly reader?: string | undefined;
  /** Over a socket, whether the leases outlive the connection; over HTTP they always do. Default: false, they end with it. */
  readonly detached?: boolean | undefined;
}

/** What a put returns once its messages are on disk. */
export interface PutReceipt {
  /**
   * The offset of the first message that entered at once; the others follow without gaps. Null when all have a delay, and for a
   * duplicate of long ago.
   */
  readonly offset: number | null;
  /** How many messages entered at once. */
  readonly count: number;
  /** The messages with a delay, each with the `scheduledId` by which it can be cancelled; absent where there are none, and for a duplicate. */
  readonly scheduled?: readonly ScheduledReceipt[];
  /** Whether the put was accepted before, and this is what came of it then. */
  readonly isDuplicate: boolean;
  /** The channel at the commit: depth, bytes, utilisation, waiters. */
  readonly state: PressureState;
}

export interface GetResult {
  /** Empty when fewer than `min` came in time. */
  readonly messages: readonly ReceivedMessage[];
  /** Records of the channel itself, such as a change of its limits. */
  readonly controls: readonly ControlRecord[];
  readonly state: PressureState;
}

/** A message that this reader holds until it is settled or its lease is over. */
export interface Leased extends ReceivedMessage {
  readonly leaseId: string;
  /** Which attempt to deliver it this is, from 1. */
  readonly attempt: number;
  /** Whether it was handed out before. */
  readonly redelivered: boolean;
}

export interface PullResult extends GetResult {
  readonly messages: readonly Leased[];
  /** When the leases are over, in milliseconds since 1970 by the server's clock; undefined where no message came. */
  readonly leaseUntilMs: number | undefined;
}

/** Names a lease: the message that was pulled, or its id alone. */
export interface LeaseRef {
  readonly leaseId: string;
  /** With it, also the leases of the next offsets, so many in all: those of one holder and attempt. Default: 1. */
  readonly count?: number | undefined;
}

/** A checkpoint that is written if and only if the call that it rides on is carried out. */
export interface CheckpointRider {
  readonly name: string;
  /** At most 1 MiB. */
  readonly value: MessageBody;
  /** Default: by the kind of the value, as for messages. */
  readonly contentType?: string | undefined;
  /** The version that has to be there, or `"*"` for any. Default: no condition. */
  readonly ifMatch?: number | "*" | undefined;
  /** Nothing may be there. Not together with `ifMatch`. Default: no condition. */
  readonly ifNoneMatch?: "*" | undefined;
}

/** At most 10,000 leases, each once. Delays and leases are in milliseconds, reasons of at most 1,024 bytes. */
export interface SettleRequest {
  /** Done with. */
  readonly acks?: readonly LeaseRef[] | undefined;
  /** To be handed out again after `delayMs`, at most 30 days. Default: the channel's delay for the attempt. */
  readonly retries?:
    | readonly (LeaseRef & { readonly delayMs?: number | undefined; readonly reason?: string | undefined })[]
    | undefined;
  /** To be held for `leaseMs` from now on. */
  readonly extends?: readonly (LeaseRef & { readonly leaseMs: number })[] | undefined;
  /** To become dead letters. */
  readonly rejects?: readonly (LeaseRef & { readonly reason?: string | undefined })[] | undefined;
  /** To be handed out again at once, the attempt not counted. */
  readonly releases?: readonly LeaseRef[] | undefined;
  /** With it or with `puts`, the call is carried out as a whole or rejects with kind `settle-refused`. */
  readonly checkpoint?: CheckpointRider | undefined;
  /** Messages without a delay, for the same channel. */
  readonly puts?: readonly PutGiven[] | undefined;
}

/** What became of each part of a settle call. */
export interface SettleReport {
  readonly acked: number;
  readonly retried: number;
  readonly extended: number;
  readonly rejected: number;
  readonly released: number;
  /** What was not accepted: an RFC 6901 pointer into the request, such as `/acks/0/leaseId`, and why. */
  readonly refused: readonly { readonly pointer: string; readonly problem: Problem }[];
  /** The version of the checkpoint that rode along. */
  readonly checkpointVersion?: number;
  /** The offset of the first message that was put along. */
  readonly putOffset?: number;
  readonly state: PressureState;
}

/**
 * One channel, as a producer or reader speaks to it.
 *
 * Order: over a socket the puts of one transport keep the order of the calls; over HTTP only a put that is sent when the one before is
 * answered comes behind it. Calls may be made without awaiting the ones before.
 *
 * Failures: every call rejects with an EdgeChannelError, and no call is repeated: who calls decides by `retryable` and `outcome`.
 *
 * Aborting: a call that waits over a socket is cancelled and settles with the server's last word, so that what was taken still arrives;
 * over HTTP it rejects with kind `aborted` at once.
 *
 * Closing: what is unanswered rejects with kind `connection-closed`, and so does every later call.
 */
export interface Transport {
  /** Whether puts keep the order of the calls though they are not awaited. */
  readonly keepsOrder: boolean;
  /** Stores one message. Rejects with kind `channel-full` when there was no room within `waitMs`. */
  put(message: PutGiven, options?: PutOptions): Promise<PutReceipt>;
  /** Stores messages at consecutive offsets, all or none; at most 10,000 and 16 MiB together. */
  putBatch(messages: readonly PutGiven[], options?: PutOptions): Promise<PutReceipt>;
  /** Takes messages and removes them at once (at-most-once): those of a reply that is lost are lost. */
  get(options?: GetOptions): Promise<GetResult>;
  /** Takes messages by lease (at-least-once): those that are not settled in time go to the next reader. */
  pull(options?: PullOptions): Promise<PullResult>;
  /** Ends or extends leases. Refused entries do not reject: the report lists them. */
  settle(request: SettleRequest, options?: CallOptions): Promise<SettleReport>;
  /** Describes the channel: settings, state, counts. */
  stats(options?: CallOptions): Promise<ChannelDescription>;
  close(): Promise<void>;
}

/** One that messages can be sent over without being asked for one by one: a socket. */
export interface StreamingTransport extends Transport {
  /**
   * Asks to be sent messages as they come, or once on a connection who reads the channel. Resolves when that is sent: all else the listener is told, and nothing after
   * `onEnd`, which comes in any case. It is not asked for again when the connection is lost.
   */
  subscribe(
    request: SubscribeRequest | PresenceRequest,
    listener: StreamListener<StreamedFrame>,
    options?: CallOptions,
  ): Promise<StreamHandle>;
  /** Sends a frame of a checkpoint, without its `id`; resolves with the answer of the type. */
  ask<Type extends CheckpointFrame["type"]>(
    type: Type,
    frame: object,
    options?: CallOptions,
  ): Promise<Extract<CheckpointFrame, { type: Type }>>;
  /**
   * Tells the listener how much the channel has to do and when that changes, over this connection. To be asked for before each put: where it
   * is known already, nothing is sent. A server that does not tell is no failure.
   */
  watch(listener: PressureListener, options?: CallOptions): Promise<void>;
}

/** What can only be done over sockets. */
export function needStreams(transport: Transport, what: string): StreamingTransport {
  if (hasStreams(transport)) return transport;
  throw EdgeChannelError.refused(`Cannot ${what} over HTTP: expected transport "socket"`);
}

export function hasStreams(transport: Transport): transport is StreamingTransport {
  return "subscribe" in transport;
}
