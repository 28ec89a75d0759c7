// `channel pipe`: the lines of the input as messages, in their order, as fast as there is room.
import { DEFAULT_SETTINGS } from "../../protocol/settings.ts";
import type { ChannelDescription, Producer, ProducerOptions } from "../../client/index.ts";
import { EXIT, type Command, type ExitCode } from "../command-line/command.ts";
import type { Given } from "../command-line/given.ts";
import { checkInput } from "../command-line/input.ts";
import { bodyOfBytes } from "../command-line/message-text.ts";
import { formatAmount, formatBytes, formatCount } from "../command-line/output.ts";
import { Patience } from "../command-line/patience.ts";
import { splitPieces } from "../command-line/pieces.ts";
import type { Session } from "../command-line/session.ts";

const NEWLINE = 0x0a;
const NUL = 0x00;
const BATCH_MESSAGES_MAX = 1000;
const BATCH_BYTES_MAX = 1024 * 1024;
/** A batch is at most so much of what a small channel holds: it goes on before the channel is empty. */
const BATCH_SHARE = 0.25;
/** Read and not stored yet, at most. */
const UNANSWERED_MESSAGES_MAX = 20_000;
const UNANSWERED_BYTES_MAX = 8 * 1024 * 1024;
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
  checkInput(input);
  const progress: Progress = { messages: 0, bytes: 0, waits: 0 };
  const { channel, description } = await session.connect(given.channel, () => (progress.waits += 1));
  const { pieceBytesMax, ...bounds } = boundsOf(description);
  const patience = new Patience();
  const producer = channel.producer({
    ...bounds,
    maxOutstandingBytes: UNANSWERED_BYTES_MAX,
    onRetry: patience.onFailure,
    signal: AbortSignal.any([signal, patience.signal]),
  });
  const stopShowing = showProgress(session, progress);
  const stopReading = (): void => void input.destroy();
  signal.addEventListener("abort", stopReading);
  try {
    const pieces = splitPieces(input, { separator: given.has("nul") ? NUL : NEWLINE, bytesMax: pieceBytesMax });
    await putAll(producer, pieces, progress, stopReading).finally(stopShowing);
  } catch (error) {
    session.note(`Ended early: ${formatAmount(progress.messages, "message")} put, ${progress.bytes} bytes of the input`);
    signal.throwIfAborted();
    patience.check();
    throw error;
  } finally {
    signal.removeEventListener("abort", stopReading);
  }
  if (output.wantsJson) await output.show(progress, () => "");
  return EXIT.ok;
}

function boundsOf(
  description: ChannelDescription | undefined,
): Pick<ProducerOptions, "maxBatchMessages" | "maxBatchBytes"> & { readonly pieceBytesMax: number } {
  const { maxMessageBytes } = description?.settings ?? DEFAULT_SETTINGS;
  const { maxMessages, maxBytes } = description?.limits ?? DEFAULT_SETTINGS;
  return {
    maxBatchMessages: Math.max(1, Math.min(BATCH_MESSAGES_MAX, Math.floor(maxMessages * BATCH_SHARE))),
    maxBatchBytes: Math.max(1, Math.min(BATCH_BYTES_MAX, Math.floor(maxBytes * BATCH_SHARE))),
    pieceBytesMax: Math.min(maxMessageBytes, maxBytes),
  };
}

/** Reads no further when a piece is refused. Rejects with what failed first, once all that was sent is answered. */
async function putAll(
  producer: Producer,
  pieces: AsyncIterable<Uint8Array>,
  progress: Progress,
  stopReading: () => void,
): Promise<void> {
  const failures: unknown[] = [];
  let answers: Promise<void>[] = [];
  const put = async (piece: Uint8Array): Promise<void> => {
    try {
      await producer.put(bodyOfBytes(piece));
      progress.messages += 1;
      progress.bytes += piece.byteLength;
    } catch (error) {
      failures.push(error);
      stopReading();
    }
  };
  const settle = async (): Promise<void> => {
    // Without lingering; of what is refused each answer tells.
    await producer.flush().catch(() => undefined);
    await Promise.all(answers);
    answers = [];
  };
  try {
    for await (const piece of pieces) {
      await producer.ready();
      answers.push(put(piece));
      if (answers.length === UNANSWERED_MESSAGES_MAX) await settle();
    }
  } catch (error) {
    failures.push(error);
  }
  await settle();
  if (failures.length > 0) throw failures[0];
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
