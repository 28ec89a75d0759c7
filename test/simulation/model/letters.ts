// Dead letters and quarantine: SPEC section DL, word by word.
import type { DeadLetter } from "../../../src/channel/dead-letter-store.ts";
import type { DeadLetterFilter } from "../../../src/channel/dead-letters.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { messageBytes } from "../../../src/protocol/message.ts";
import type { GroupBook } from "./group-book.ts";
import { type Book, type ModelMessage, sum } from "./state.ts";

/** DL2: the ones with the least offsets are dropped beyond what may be kept. A group has one of each message. */
export function addLetter(book: Book, letter: DeadLetter): void {
  const isSame = (other: DeadLetter): boolean => other.offset === letter.offset && other.groupId === letter.groupId;
  const others = book.state.deadLetters.filter((other) => !isSame(other));
  let letters = [...others, letter].sort((a, b) => a.offset - b.offset || a.groupId - b.groupId);
  while (letters.length > LIMITS.deadLettersMax || bytesOf(letters) > LIMITS.deadLetterBytesMax) letters = letters.slice(1);
  book.change({ deadLetters: letters });
}

export function dropLetters(book: Book, letters: readonly DeadLetter[]): void {
  if (letters.length === 0) return;
  book.change({ deadLetters: book.state.deadLetters.filter((letter) => !letters.includes(letter)) });
}

/** A page of those that the filter lets pass, and where to go on; all of an offset are on one page. */
export function findLetters(
  book: Book,
  { fromOffset, limit, filter, nowMs }: { fromOffset: number; limit: number; filter: DeadLetterFilter; nowMs: number },
): { letters: DeadLetter[]; nextOffset?: number } {
  const { offset: only } = filter;
  const looked = book.state.deadLetters.filter(({ offset }) => (only === undefined ? offset >= fromOffset : offset === only));
  const letters: DeadLetter[] = [];
  let lastOffset = 0;
  for (const letter of looked) {
    const isTooMuch = letters.length > 0 && bytesOf([...letters, letter]) > LIMITS.replyBytesMax;
    const isFull = letters.length >= limit || isTooMuch;
    if (isFull && letter.offset !== lastOffset) return { letters, nextOffset: letter.offset };
    lastOffset = letter.offset;
    if (isMeant(letter, filter, nowMs)) letters.push(letter);
  }
  return { letters };
}

export function quarantined(group: GroupBook, offset?: number, key?: string): ModelMessage[] {
  return group.messages.filter(
    (message) =>
      message.isQuarantined &&
      message.offset === (offset ?? message.offset) &&
      message.message.key === (key ?? message.message.key),
  );
}

function isMeant({ message, reason, group, diedAtMs }: DeadLetter, filter: DeadLetterFilter, nowMs: number): boolean {
  const isOf = message.key === (filter.key ?? message.key) && group === (filter.group ?? group);
  const isOldEnough = filter.olderThanMs === undefined || diedAtMs <= nowMs - filter.olderThanMs;
  return isOf && reason === (filter.reason ?? reason) && isOldEnough;
}

function bytesOf(letters: readonly DeadLetter[]): number {
  return sum(letters.map(({ message }) => messageBytes(message)));
}
