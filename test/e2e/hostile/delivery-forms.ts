// The shapes of messages, takes and settle calls, as replies show them and as tests expect them.

/** A message as its producer gave it: `value` where it came as a JSON member, else `body`. */
export interface ExpectedMessage {
  readonly value?: { readonly json: unknown };
  readonly body?: Buffer;
  readonly contentType: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly redrivenFrom?: number;
}

/** A message as replies show it. */
export interface ShownMessage {
  readonly offset: number;
  readonly contentType: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers?: Readonly<Record<string, string>>;
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

export type SettleJson = {
  readonly [Verb in "acks" | "retries" | "extends" | "rejects" | "releases"]?: readonly SettleEntryJson[];
};

export interface SettledJson {
  readonly acked: number;
  readonly retried: number;
  readonly extended: number;
  readonly rejected: number;
  readonly released: number;
  readonly refused: readonly {
    readonly pointer: string;
    readonly problem: { readonly kind: string; readonly cause?: string; readonly openOffset?: number };
  }[];
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
