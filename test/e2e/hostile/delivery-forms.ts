// The shapes of messages, takes and settle calls, as replies show them and as tests expect them.

/** A message as its producer gave it: `value` where it came as a JSON member, else `body`. */
export interface ExpectedMessage {
  readonly value?: { readonly json: unknown };
  readonly body?: Buffer;
  readonly contentType: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly ttlMs?: number;
  readonly redrivenFrom?: number;
  /** Whether it enters later: then long after the test. */
  readonly isDelayed: boolean;
}

/** What a put answers. */
export interface PutReply {
  readonly offset: number | null;
  readonly count: number;
  readonly duplicate?: boolean;
  readonly scheduledId?: string;
  readonly scheduled?: readonly { readonly index: number; readonly scheduledId: string; readonly deliverAtMs: number }[];
}

/** A message as replies show it. */
export interface ShownMessage {
  readonly offset: number;
  readonly contentType: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly ttlMs?: number;
  readonly redrivenFrom?: number;
  readonly json?: unknown;
  readonly text?: string;
  readonly base64?: string;
  readonly leaseId?: string;
  readonly attempt?: number;
  readonly redelivered?: boolean;
}

/** What one reader got. */
export interface Taking {
  readonly messages: readonly ShownMessage[];
  readonly leaseUntilMs?: number;
  /** Whether the leases end with the lane's socket. */
  readonly isBound: boolean;
}

export interface SettleEntryJson {
  readonly leaseId: string;
  readonly leaseMs?: number;
  readonly delayMs?: number;
  readonly reason?: string;
}

export type SettleLists = {
  readonly [Verb in "acks" | "retries" | "extends" | "rejects" | "releases"]?: readonly SettleEntryJson[];
};

/** The JSON form in which a message is put. */
export interface MessageForm extends Partial<Omit<ShownMessage, "offset" | "redrivenFrom">> {
  readonly delayMs?: number;
  readonly deliverAtMs?: number;
  readonly ttlMs?: number;
}

export interface CheckpointRider extends Pick<MessageForm, "contentType" | "json" | "text" | "base64"> {
  readonly name: string;
  readonly ifMatch?: number | "*";
  readonly ifNoneMatch?: "*";
}

export interface SettleJson extends SettleLists {
  readonly checkpoint?: CheckpointRider;
  readonly puts?: readonly MessageForm[];
}

export interface RefusedPartJson {
  readonly pointer: string;
  readonly problem: {
    readonly kind: string;
    readonly cause?: string;
    readonly openOffset?: number;
    readonly current?: number | null;
  };
}

export interface SettledJson {
  readonly acked: number;
  readonly retried: number;
  readonly extended: number;
  readonly rejected: number;
  readonly released: number;
  readonly refused: readonly RefusedPartJson[];
  readonly checkpointVersion?: number;
  readonly putOffset?: number;
}

export interface DeadJson extends ShownMessage {
  readonly attempts: number;
  readonly reason: string;
}

/** Which dead letters or quarantined messages; an absent member means any. */
export interface Which {
  readonly offset?: number;
  readonly key?: string;
  readonly reason?: string;
  readonly from?: number;
  readonly max?: number;
}

/** A reply to a call that moved them. */
export interface Moved {
  readonly moved: number;
  readonly isMore: boolean;
  readonly next?: number;
}
