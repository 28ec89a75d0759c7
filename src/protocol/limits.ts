// Every bound of the service, in one table (G6). A unit ends each name. PROTOCOL.md shows the same numbers to users.
import * as client from "./client-limits.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;
const DAY_MS = 24 * 60 * 60 * SECOND_MS;

export const LIMITS = {
  // Names
  channelNameCharsMax: 128,
  checkpointNameCharsMax: 128,
  groupNameCharsMax: 128,
  messageIdBytesMax: 256,
  keyBytesMax: 256,
  contentTypeBytesMax: 256,
  headersBytesMax: 16 * KIB,

  // Messages and batches
  messageBytesMax: 16 * MIB,
  batchMessagesMax: client.BATCH_MESSAGES_MAX,
  batchBytesMax: client.BATCH_BYTES_MAX,
  /** Message bytes of one reply; a single larger message still travels alone. */
  replyBytesMax: 8 * MIB,
  browseMessagesMax: 1000,
  browseMessagesDefault: 100,
  /** Records that one browse looks at, removed ones too; it then says where to go on. */
  browseRecordsMax: 20_000,

  // What arrives in one piece. Base64 of the largest batch, with its headers, still fits.
  frameBytesMax: client.FRAME_BYTES_MAX,
  /** What the replies of a commit that are joined in a frame hold together; a longer one goes alone. */
  joinedFrameCharsMax: 64 * KIB,
  requestBodyBytesMax: client.REQUEST_BODY_BYTES_MAX,
  controlBodyBytesMax: 64 * KIB,
  /** Nesting of the JSON of a request, its own objects and lists included. */
  jsonLevelsMax: 256,
  /** Names and values in the JSON of a request: as many as 16 MiB of numbers of seven digits. */
  jsonValuesMax: 2_000_000,
  settleBodyBytesMax: 24 * MIB,

  // A channel's settings
  channelMessagesDefault: 1_000_000,
  channelMessagesMax: 1_000_000_000,
  channelBytesDefault: 1024 * MIB,
  channelBytesMax: 8_000_000_000,
  channelMessageBytesDefault: MIB,
  /** A smaller factor would take very many steps from a small limit to a large one. */
  growthFactorMin: 1.1,
  growthFactorMax: 16,
  expireAfterIdleMsMin: 60 * SECOND_MS,
  expireAfterIdleMsMax: 365 * DAY_MS,
  autoCreatedExpireAfterIdleMs: 30 * DAY_MS,

  // Checkpoints: one fits a row, all of them fit a look over their names
  checkpointBytesMax: MIB,
  checkpointsMax: 1000,
  /** Bytes of all values of a channel together. */
  checkpointsBytesMax: 64 * MIB,
  checkpointsPageMax: 1000,
  checkpointsPageDefault: 100,

  // Dedup: producers
  producerIdCharsMax: 128,
  producerEpochMax: client.PRODUCER_EPOCH_MAX,
  /** Outcomes that are kept of each producer. */
  producerOutcomesMax: 1024,
  /** What they take at most in storage. */
  producerOutcomesBytesMax: 16 * KIB,
  producersMax: 100_000,
  /** Producers are counted within buckets, so that no count of all of them is needed. They are stored by it: it must not change. */
  producerBuckets: 500,
  producerIdleMs: 7 * DAY_MS,
  /** A producer that put more recently than this is never forgotten for another. */
  producerIdleMsMin: 60 * 60 * SECOND_MS,
  /** Memory for producers that were used lately. */
  producerCacheBytesMax: 4 * MIB,

  // Dedup: idempotency keys
  idempotencyKeyBytesMax: 256,
  idempotencyKeysMax: 1_000_000,
  idempotencyWindowMsDefault: DAY_MS,
  idempotencyWindowMsMin: 60 * SECOND_MS,
  idempotencyWindowMsMax: 7 * DAY_MS,
  /** Tables that keys lie in; a window is spread over fewer, unless it is changed again and again. */
  idempotencyGenerationsMax: 16,

  // Waiting
  waitMsMax: client.WAIT_MS_MAX,
  waitersPerSocketMax: 64,
  waitersMax: 16_384,
  reservationMs: 5 * SECOND_MS,
  connectionsMax: 10_000,

  // Connections that do not read
  /** After so many bytes that a connection was sent it is asked for an echo. */
  echoAfterBytes: MIB,
  /** With so many that it has not shown to have read, nothing that it asks for is done. */
  unreadBytesMax: 16 * MIB,
  /** What is held of it then: more, or no echo for so long, closes it. */
  heldFramesMax: 4096,
  heldBytesMax: 8 * MIB,
  unreadMsMax: 30 * SECOND_MS,

  // Connections that are gone without a word
  /** One that said that it pings, and that was not heard for so long, is gone. It pings five times as often. */
  silenceMsMax: 5 * 60 * SECOND_MS,
  /** How long after a look for silent ones commits do without the next, and how far apart the looks are that the alarm is set for. */
  silenceLookMs: 60 * SECOND_MS,
  silenceAlarmMs: 60 * 60 * SECOND_MS,

  // Streams: what a socket's attachment holds beside its waiters
  subscriptionsPerSocketMax: 4,
  subscriptionsMax: 10_000,
  /** JSON of a filter. */
  filterBytesMax: 256,
  /** What may be on the way to a subscriber at most. */
  creditMessagesMax: client.CREDIT_MESSAGES_MAX,
  creditBytesMax: client.CREDIT_BYTES_MAX,
  /** Messages of one frame; their bytes are those of a reply. */
  streamFrameMessagesMax: 1000,
  resumeTokenCharsMax: 96,
  /** What a socket's attachment holds at all, and what the leases of its streams may take of it. */
  attachmentBytesMax: 16_384,
  attachedLeasesBytesMax: 12 * KIB,

  // Relays
  /** Connections of one relay; who comes then goes to the next of the colo, of which there are so many at most. */
  relayReadersMax: 5000,
  relaysPerColoMax: 64,
  relaysFromMax: 1_000_000,
  relaysFromDefault: 100,
  relaysPageMax: 100,
  /**
   * What a relay keeps of the newest records in memory, at least one frame of the channel; and what a channel that is no log keeps for relays
   * that are on their way, at least one commit.
   */
  relayTailBytes: 4 * MIB,
  /** What is on the way to a relay at most, beside one larger message, and what one page has that is fetched for readers far behind. */
  relayCreditBytes: 8 * MIB,
  relayPageBytes: MIB,
  /** A relay that follows readers so far behind the one that is foremost begins anew with that one. */
  relayJumpRecords: 20_000,
  /** Connections that a channel parts with at once when a relay comes, and the pause before the next. */
  relayMovesMax: 100,
  relayMovePauseMs: 100,
  /** A relay that was sent nothing for so long parts with the channel. */
  relayIdleMs: 10 * SECOND_MS,
  /** Attempts of a relay to reach the channel, the pauses between them, and how long the call by which a channel wakes it is owed. */
  relayAttemptsMax: 8,
  relayRetryMsMin: 100,
  relayRetryMsMax: 5 * SECOND_MS,
  /** How long a worker goes on sending readers to a relay without asking the channel, and how many such routes it knows. */
  relayRouteMs: 10 * SECOND_MS,
  relayRoutesMax: 10_000,

  // Server-Sent Events: what is on the way to a client, and how long it is quiet and waits before it comes back
  eventCreditMessages: 500,
  eventCreditBytes: MIB,
  eventKeepAliveMs: 15 * SECOND_MS,
  eventRetryMs: SECOND_MS,

  // Leases and delivery
  leaseMsMin: client.LEASE_MS_MIN,
  leaseMsMax: client.LEASE_MS_MAX,
  leaseMsDefault: client.LEASE_MS_DEFAULT,
  /** Messages that are handed out and not settled, at most. */
  inFlightMax: 10_000,
  /** Messages that delivery has passed and that came back or wait behind earlier ones of their keys: with so many it looks no further. */
  lookAheadMax: 100_000,
  retryDelayMsMax: client.RETRY_DELAY_MS_MAX,
  retryDelaysMax: 32,
  /** Leases that others wait for are asked back when they are so old. */
  revokeAgeMs: 100,
  /** How long the leases of a connection that was cut off are kept for it. */
  resumeGraceMs: 5 * SECOND_MS,
  retryDelayMsDefaultMin: SECOND_MS,
  retryDelayMsDefaultMax: 5 * 60 * SECOND_MS,
  maxAttemptsDefault: 10,
  maxAttemptsMax: 1000,
  settleEntriesMax: client.SETTLE_ENTRIES_MAX,
  reasonBytesMax: client.REASON_BYTES_MAX,
  readerNameCharsMax: 128,
  /** Ended attempts that a message's history keeps, and the bytes they may take. */
  historyEventsMax: 16,
  historyBytesMax: 64 * KIB,
  /** The same of all messages of a stored row: what else is in it leaves so much below `rowBytesMax`, whatever the keys. */
  historyRowBytesMax: 256 * KIB,
  deadLettersMax: 100_000,
  deadLetterBytesMax: 1024 * MIB,
  redrivePerSecondMax: 10_000,
  /** Looks of a redrive with a rate, each at `browseMessagesMax` dead letters at most, in a second. */
  redrivePagesPerStep: 10,
  leasesPerRowMax: 1000,
  /** A million offsets take fewer than 1,000 rows, and the longest keys in a row fit it. */
  deferredOffsetsPerRow: 1200,
  /** Records between the stored scan mark and the scan that waking may have to look at again. */
  scanMarkLagMax: 4096,

  // Routing: which reader of a group a message goes to
  localityWaitMsDefault: 20,
  localityWaitMsMax: 10 * SECOND_MS,
  /** Messages that wait, above which busy readers nearby are waited for no longer. */
  localityDepthDefault: 1000,
  localityDepthMax: 10_000,
  /** Keys of a group whose owners are known, and how long one is that no message comes for. */
  ownedKeysMax: 100_000,
  ownedKeyIdleMs: 5 * 60 * SECOND_MS,
  /** The pause of a reader that refused work: the first that is none at all, and the longest. */
  refusalPauseMsMin: 25,
  refusalPauseMsMax: 500,
  /** Where loads are guessed: how long the first and the last answer are waited for, and how old a guess may be. */
  loadAnswerMsMin: 100,
  loadAnswerMsMax: SECOND_MS,
  loadGuessMs: 10 * SECOND_MS,

  // Time to live
  ttlMsMin: 1,
  ttlMsMax: 3650 * DAY_MS,
  /** Messages that one look at a head lets expire; the next operation goes on. */
  expiredPerSweepMax: 1000,

  // Groups and retention
  groupsMax: 1000,
  groupIdleMsMin: 10 * SECOND_MS,
  groupsPageDefault: 100,
  doneOffsetsPerRow: 8192,
  maxAgeMsMin: SECOND_MS,
  maxAgeMsMax: 3650 * DAY_MS,

  // Readers and producers that are shown
  readersPageMax: 1000,
  readersPageDefault: 100,
  readersMarkCharsMax: 512,
  /** Joins and leaves of one commit that are told one by one. */
  presenceChangesMax: 500,
  /** Of producers without a connection, and of pulls, whose places are remembered. */
  seenReadersMax: 10_000,
  /** How long after its last put a producer without a connection is shown. */
  producerSeenMs: 60 * SECOND_MS,

  // Life cycle
  graceMsDefault: 5 * SECOND_MS,
  graceMsMax: DAY_MS,
  tombstoneMs: DAY_MS,

  // Delayed messages
  delayMsMax: 30 * DAY_MS,
  /** How many messages and bytes enter in one commit; the rest enters in the next ones. One message enters whatever its size. */
  scheduledEntryMessagesMax: 1000,
  scheduledEntryBytesMax: 8 * MIB,
  scheduledPageMax: 1000,
  scheduledPageDefault: 100,
  /** Commits in a row that one alarm makes while messages are due. */
  alarmCommitsMax: 32,

  // Snapshots
  /** Rows of one page; one row more than a row's limit still fits. */
  snapshotPageBytes: 8 * MIB,
  /** What a page may have when it comes back. */
  snapshotPageBytesMax: 9 * MIB,
  /** A snapshot that is not read for so long ends. */
  snapshotIdleMs: 60 * SECOND_MS,
  /** A restore that is not fed for so long is dropped. */
  restoreIdleMs: 60 * 60 * SECOND_MS,

  // Moves
  /** How long a worker goes by a route before it asks the authority again, and how many it knows. */
  routeMs: 60 * SECOND_MS,
  routesMax: 10_000,
  /** Requests that wait while a channel moves, their bytes, and how long they do. */
  heldRequestsMax: 4096,
  heldRequestsBytesMax: 16 * MIB,
  moveHoldMs: 5 * SECOND_MS,
  /** Between two looks at a move that does not come to its end, and when it is given up. */
  moveLookMs: 5 * SECOND_MS,
  moveMsMax: 10 * 60 * SECOND_MS,

  // Storage: production refuses a row of more than 2 MB, the local runtime does not.
  rowBytesMax: 2_000_000,
  segmentBytesMax: 1_000_000,
  segmentRecordsMax: 16_384,
  headWindowBytesMax: 4 * MIB,
  /** Removed messages may take so many bytes more than kept ones before segments are compacted. With the segment of the head, and with
   * what records take beside their bytes, that is less than 4 MB. */
  compactionSlackBytes: 2_500_000,
  /** Segments, and bytes of their messages, that one commit looks at for compaction. */
  compactedSegmentsMax: 256,
  compactedBytesMax: 16_000_000,

  // Requests that are refused
  /** Of a body that nobody wants so much is read, for so long, for the refusal to be heard. */
  skippedBytesMax: 32 * MIB,
  skipMsMax: SECOND_MS,

  // The commit loop
  commitQueueBytesMax: 8 * MIB,
  commitQueueOperationsMax: 4096,
  /** Operations of one connection in a commit. */
  turnOperationsMax: 1024,
  commitDelayMsMax: 100,

  // The directory
  directoryShards: 16,
  directoryPageMax: 1000,
  directoryPageDefault: 100,
} as const;
