// `channel pipe`: the lines of the input as messages, in their order, as fast as there is room.
import { LIMITS } from "../../protocol/limits.ts";
import { DEFAULT_SETTINGS } from "../../protocol/settings.ts";
import {
  type Channel,
  type ChannelDescription,
  EdgeChannelError,
  type MessageBody,
  type ProducerMark,
} from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import type { Given } from "../command-line/given.ts";
import { bodyOfBytes } from "../command-line/message-text.ts";
import { formatAmount, formatBytes, formatCount } from "../command-line/output.ts";
import { type BatchBounds, PieceQueue, splitPieces } from "../command-line/pieces.ts";
import type { Session } from "../command-line/session.ts";

const NEWLINE = 0x0a;
const NUL = 0x00;
const BATCH_MESSAGES_MAX = 1000;
const BATCH_BYTES_MAX = 1024 * 1024;
/** A batch is at most so much of what a small channel holds: it goes on before the channel is empty. */
const BATCH_SHARE = 0.25;
const PROGRESS_INTERVAL_MS = 200;
const MS_PER_SECOND = 1000;

export const PIPE: Command = {
  name: "pipe",
  needed: ["CHANNEL"],
  summary: "Puts each line of the input as a message, with its end, as the lines come",
  notes: `The order is kept, and a full channel makes the input wait. What channel sub --raw writes is the input, byte for byte. A line goes as
text where it is readable UTF-8, else as binary. One that is larger than a message of the channel may be is split at that size.
A lost connection is opened anew, and what was sent twice is stored once. On a terminal progress is shown.`,
  options: [{ name: "nul", text: "messages end at NUL bytes in place of line ends" }],
  run: pipe,
};

interface Progress {
  messages: number;
  bytes: number;
  waits: number;
}

async function pipe(given: Given, session: Session): Promise<ExitCode> {
  const { input, signal, output } = session;
  const progress: Progress = { messages: 0, bytes: 0, waits: 0 };
  const { channel, description } = await session.connect(given.channel, () => (progress.waits += 1));
  const { pieceBytesMax, batch } = boundsOf(description);
  const queue = new PieceQueue(batch);
  const stopShowing = showProgress(session, progress);
  const reading = readInto(queue, splitPieces(input, { separator: given.has("nul") ? NUL : NEWLINE, bytesMax: pieceBytesMax }));
  // It is awaited at the end.
  reading.catch(() => undefined);
  const stop = (): void => {
    queue.end();
    input.destroy();
  };
  const finish = (): void => {
    stop();
    signal.removeEventListener("abort", stop);
    stopShowing();
  };
  signal.addEventListener("abort", stop);
  try {
    await putAll(channel, queue, progress, signal);
    // What is put is all that was read, unless reading failed or was stopped.
    stop();
    await reading;
    signal.throwIfAborted();
    finish();
  } catch (error) {
    finish();
    session.note(`Ended early: ${formatAmount(progress.messages, "message")} put, ${progress.bytes} bytes of the input`);
    throw error;
  }
  if (output.wantsJson) await output.show(progress, () => "");
  return EXIT.ok;
}

/** Rejects when the input fails, but not because nobody wants more of it. */
async function readInto(queue: PieceQueue, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const piece of pieces) await queue.push(piece);
  } catch (error) {
    if (!queue.isEnded) throw error;
  } finally {
    queue.end();
  }
}

function boundsOf(description: ChannelDescription | undefined): { readonly pieceBytesMax: number; readonly batch: BatchBounds } {
  const { maxMessageBytes } = description?.settings ?? DEFAULT_SETTINGS;
  const { maxMessages, maxBytes } = description?.limits ?? DEFAULT_SETTINGS;
  const messagesMax = Math.max(1, Math.min(BATCH_MESSAGES_MAX, Math.floor(maxMessages * BATCH_SHARE)));
  const bytesMax = Math.min(BATCH_BYTES_MAX, Math.floor(maxBytes * BATCH_SHARE));
  return { pieceBytesMax: Math.min(maxMessageBytes, maxBytes), batch: { messagesMax, bytesMax } };
}

/**
 * One batch is on its way at a time: a later one must not find room where an earlier one did not. The producer's number makes a batch that
 * is sent again the same one.
 */
async function putAll(channel: Channel, queue: PieceQueue, progress: Progress, signal: AbortSignal): Promise<void> {
  const id = `pipe-${crypto.randomUUID()}`;
  for (let seq = 1; ; seq++) {
    const batch = await queue.take();
    if (batch.length === 0 || signal.aborted) return;
    await putWithRoom(channel, batch.map(bodyOfBytes), { id, epoch: 1, seq }, signal);
    progress.messages += batch.length;
    progress.bytes += batch.reduce((sum, piece) => sum + piece.byteLength, 0);
  }
}

/** Waits for room as long as it takes. */
async function putWithRoom(
  channel: Channel,
  bodies: readonly MessageBody[],
  producer: ProducerMark,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      await channel.putBatch(bodies, { producer, waitMs: LIMITS.waitMsMax, signal });
      return;
    } catch (error) {
      // A refused put does not use up its number.
      const isOfTheWait = error instanceof EdgeChannelError && (error.kind === "channel-full" || error.kind === "promise-lost");
      if (!isOfTheWait || signal.aborted) throw error;
    }
  }
}

/** Shows on a terminal how far it is, in one line that is written again and again; returns what ends that. */
function showProgress({ errors }: Session, progress: Progress): () => void {
  if (!errors.isTTY) return () => undefined;
  const startMs = performance.now();
  const show = (): void => {
    const seconds = Math.max(1, performance.now() - startMs) / MS_PER_SECOND;
    const rates = `${formatCount(Math.round(progress.messages / seconds))} messages/s, ${formatBytes(progress.bytes / seconds)}/s`;
    const waits = progress.waits === 0 ? "" : `, waited for room ${formatAmount(progress.waits, "time")}`;
    errors.write(
      `\r\u001b[K${formatAmount(progress.messages, "message")} put, ${formatBytes(progress.bytes)} (${rates})${waits}`,
    );
  };
  const timer = setInterval(show, PROGRESS_INTERVAL_MS);
  return () => {
    clearInterval(timer);
    show();
    errors.write("\n");
  };
}
