// Which messages a plain reader wants: by key and by headers. Decided here, so that what is not wanted is not sent.
import type { Message } from "../protocol/message.ts";
import type { MessageFilter } from "../protocol/stream-frames.ts";

/** Whether a message has one of the keys, and every header as it is given. A filter without a member says nothing about it. */
export function isWanted({ keys, headers }: MessageFilter, message: Message): boolean {
  if (keys !== undefined && (message.key === undefined || !keys.includes(message.key))) return false;
  return headers === undefined || Object.entries(headers).every(([name, value]) => message.headers?.[name] === value);
}
