// The client's public face.
/// <reference lib="esnext.disposable" preserve="true" />
export { EdgeChannel, type EdgeChannelOptions, type ListChannelsOptions } from "./edge-channel.ts";
export type { CallOptions } from "./call-options.ts";
export {
  Channel,
  type BrowsedPage,
  type BrowseOptions,
  type DeleteOptions,
  type DeleteReport,
  type GetBatchOptions,
  type GetMessageOptions,
  type ListReadersOptions,
  type PulledMessages,
} from "./channel.ts";
export { ChannelSocket, type ConnectOptions } from "./channel-socket.ts";
export { Checkpoint } from "./checkpoints.ts";
export type {
  CheckpointValue,
  DeleteCheckpointOptions,
  ListCheckpointsOptions,
  WriteCheckpointOptions,
} from "./checkpoint-options.ts";
export {
  DeadLetters,
  Quarantine,
  type BoundedDeadLetterFilter,
  type DeadLetter,
  type DeadLetterFilter,
  type ListDeadLettersOptions,
  type ListQuarantineOptions,
  type MovedReport,
  type QuarantinedMessage,
  type QuarantineFilter,
} from "./dead-letters.ts";
export {
  EdgeChannelError,
  type EdgeChannelErrorKind,
  type EdgeChannelErrorOptions,
  type RequestOutcome,
} from "./edge-channel-error.ts";
export { Groups, type CreateGroupOptions, type GroupPlace, type ListGroupsOptions } from "./groups.ts";
export type { MessageStream } from "./consume.ts";
export type { ConsumeBatchesOptions, ConsumeOptions, ConsumeWithOptions } from "./consume-options.ts";
export type { Consumer } from "./consumer.ts";
export { RejectError, RetryError, type RetryErrorOptions } from "./handler-errors.ts";
export type { BatchHandler, HandlerContext, MessageHandler } from "./handlers.ts";
export type { Fetch } from "./http-reply.ts";
export { LeasedMessage, type RetryMessageOptions } from "./leased-message.ts";
export type { MessageBody, MessageFacts, PutGiven, PutInput, ReceivedMessage } from "./message-json.ts";
export {
  upgradeWith,
  type OpenSocket,
  type SocketOptions,
  type WebSocketConstructor,
  type WebSocketLike,
} from "./open-socket.ts";
export type { Presence } from "./presence.ts";
export type { PresenceEvent, PresenceOptions } from "./presence-options.ts";
export type { ProducedReceipt } from "./own-offsets.ts";
export type { Producer } from "./producer.ts";
export type { ProducerOptions } from "./producer-options.ts";
export type { RequesterOptions } from "./requester.ts";
export type { RetryOptions } from "./retries.ts";
export { ScheduledMessages, type ListScheduledOptions, type ScheduledMessage } from "./scheduled-messages.ts";
export type { Credit, StreamStart } from "./socket-streams.ts";
export type { SubscribeOptions, Subscription } from "./subscription.ts";
export type { StartTimer } from "./timers.ts";
export type {
  CheckpointRider,
  GetOptions,
  GetResult,
  Leased,
  LeaseRef,
  PullOptions,
  PullResult,
  PutOptions,
  PutReceipt,
  SettleReport,
  SettleRequest,
  Transport,
  WaitOptions,
} from "./transport.ts";
export type { CheckpointEntry } from "../protocol/checkpoint.ts";
export type { ProducerMark } from "../protocol/dedup.ts";
export type {
  ChannelDescription,
  ChannelEntry,
  GroupDescription,
  PressureState,
  RedriveDescription,
} from "../protocol/description.ts";
export type { AttemptStep, GroupHistory, MessageHistory } from "../protocol/history.ts";
export type { ControlEvent, ControlRecord } from "../protocol/message.ts";
export type { Problem, Refusal, RefusalKind, Retry } from "../protocol/problems.ts";
export type { ReaderDescription } from "../protocol/reader-routes.ts";
export type { ScheduledReceipt } from "../protocol/schedule.ts";
export type { MessageFilter, PresentColo, StreamGap } from "../protocol/stream-frames.ts";
export type { ChannelPatch, GivenDelivery, GivenSettings, Settings } from "../protocol/settings.ts";
