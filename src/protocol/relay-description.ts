// What stands between a channel and its plain readers.

/** A relay as it tells of itself. Counts are of the time since it woke. */
export interface RelayDescription {
  /** Its colo, and the how manieth of that colo it is, from 0. */
  readonly relay: string;
  /** Subscriptions, and connections that they are on. */
  readonly readers: number;
  readonly connections: number;
  /** Whether messages flow, or did a moment ago; else it sleeps. */
  readonly isLinked: boolean;
  /** What the channel sent it, and what it sent its readers: without it the channel had sent all of that. */
  readonly framesIn: number;
  readonly bytesIn: number;
  readonly framesOut: number;
  readonly bytesOut: number;
  readonly sinceMs: number;
}
