// What came of the earlier attempts to deliver a message: the last ones, within bounds. SPEC section HS.
import { LIMITS } from "../protocol/limits.ts";
import type { AttemptEvent, AttemptHistory, Lease } from "./delivery-store.ts";

/** An event as it is stored, without its texts: six members of at most fourteen digits or letters, and what separates them. */
const EVENT_BYTES = 80;
/** What is stored of a route: two short names and two numbers. */
const ROUTE_BYTES = 64;
/** A character takes so many bytes at most in stored JSON: `\u0000`. */
const CHARACTER_BYTES_MAX = 6;

export const NO_ATTEMPTS: AttemptHistory = { events: [], omitted: 0 };

/** The history of a leased message once its attempt has ended. Older events are left out where there are too many, or too long ones. */
export function endAttempt(
  { attempt, reader, leasedAtMs, history, route }: Lease,
  end: Pick<AttemptEvent, "verdict" | "endedAtMs" | "reason">,
): AttemptHistory {
  const { events, omitted } = history ?? NO_ATTEMPTS;
  const kept = events.slice(1 - LIMITS.historyEventsMax);
  const grown = {
    events: [...kept, { attempt, reader, leasedAtMs, ...end, ...(route !== undefined && { route }) }],
    omitted: omitted + events.length - kept.length,
  };
  return shorten(grown, LIMITS.historyBytesMax);
}

/**
 * A stored row holds many messages, each of which may have a long history. Where these are more than a row may hold, each message of it
 * keeps what fits an equal share. Returns the messages that have to be replaced.
 */
export function shortenTogether<Kind extends { readonly history?: AttemptHistory | undefined }>(
  messages: Iterable<Kind>,
): Kind[] {
  const withHistory: { readonly message: Kind; readonly history: AttemptHistory }[] = [];
  let bytes = 0;
  for (const message of messages) {
    const { history } = message;
    if (history === undefined) continue;
    withHistory.push({ message, history });
    bytes += measure(history);
  }
  if (bytes <= LIMITS.historyRowBytesMax) return [];
  const share = Math.floor(LIMITS.historyRowBytesMax / withHistory.length);
  return withHistory.flatMap(({ message, history }) => {
    const shortened = shorten(history, share);
    return shortened === history ? [] : [{ ...message, history: shortened }];
  });
}

/** The last events that fit in so many bytes. */
function shorten(history: AttemptHistory, bytesMax: number): AttemptHistory {
  const { events, omitted } = history;
  let first = events.length;
  let bytes = 0;
  for (; first > 0; first--) {
    bytes += measureEvent(events[first - 1]);
    if (bytes > bytesMax) break;
  }
  return first === 0 ? history : { events: events.slice(first), omitted: omitted + first };
}

function measure({ events }: AttemptHistory): number {
  return events.reduce((bytes, event) => bytes + measureEvent(event), 0);
}

/** At least what the event takes as JSON. */
function measureEvent(event: AttemptEvent | undefined): number {
  const { reader = "", reason = "" } = event ?? {};
  const isPlain = /^[\w .,:;()/-]*$/.test(reason);
  const routeBytes = event?.route === undefined ? 0 : ROUTE_BYTES;
  return EVENT_BYTES + routeBytes + reader.length + reason.length * (isPlain ? 1 : CHARACTER_BYTES_MAX);
}
