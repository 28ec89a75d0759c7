// Plays one input against the codec and the core: a frame that may be put, the same with something wrong, or bytes of chance. The same seed
// gives the same input. Throws where something holds that must not: an exception, a frame that is taken for what it is not.
import { BINARY_FRAME_TYPES, joinBinaryFrame, splitBinaryFrame } from "../../src/protocol/binary-frame.ts";
import { Block } from "../../src/protocol/block.ts";
import { encodeBlock, type BlockRecord } from "../../src/protocol/block-writer.ts";
import { formatMessage, type PutMessage } from "../../src/protocol/message.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import { parsePutFrame, type PutFrame } from "../../src/protocol/put-frame.ts";
import { readServerFrame } from "../binary-frames.ts";
import { Random } from "../simulation/random.ts";
import { ChannelHarness } from "../unit/channel-harness.ts";
import { drawFrame, drawRecords, mutate } from "./draw.ts";
import { listMessages } from "../../src/channel/put-batch.ts";
import { formatBinaryReply } from "../../src/object/binary-replies.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import type { Outcome } from "../../src/channel/operation.ts";

/** What became of an input. */
export type Fate = "accepted" | "refused";

/** Seeds whose inputs once showed a fault; they are played with every run. */
export const PAST_FINDINGS: readonly number[] = [];

export function fuzzOne(seed: number): Fate {
  const random = new Random(seed);
  const kind = random.below(10);
  if (kind === 0) return judge(drawBytes(random), random);
  if (kind < 4) return roundTrip(random);
  return judge(mutate(drawFrame(random), random), random);
}

function fail(why: string): never {
  throw new Error(why);
}

function expectSame(a: unknown, b: unknown, what: string): void {
  const [left, right] = [JSON.stringify(a, showBytes), JSON.stringify(b, showBytes)];
  if (left !== right) fail(`${what}: ${left} is not ${right}`);
}

function showBytes(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex") : value;
}

function drawBytes(random: Random): Uint8Array {
  const bytes = Uint8Array.from({ length: random.below(120) }, () => random.below(256));
  if (random.chance(50)) bytes[0] = BINARY_FRAME_TYPES.put;
  return bytes;
}

/** decode(encode(x)) = x, and encode(decode(x)) = x. */
function roundTrip(random: Random): Fate {
  const records = drawRecords(random);
  const block = encodeBlock(records, 0);
  const frame = joinBinaryFrame("put", '{"id":3}', [block]);
  const parsed = parsePutFrame(frame);
  if (!parsed.ok) return fail(`A frame that may be put is refused: ${JSON.stringify(parsed.refusal)}`);
  const read = readRecords(parsed.value.block);
  expectSame(read.map(comparable), records.map(comparable), "What is read of a block");
  return judge(frame, random);
}

function readRecords(block: Block): BlockRecord[] {
  const records: BlockRecord[] = [];
  for (let place = 0; place < block.count; place++) {
    const { offset: _, ...message } = block.message(place);
    records.push({ ...message, isControl: block.isControl(place), delay: block.delay(place) });
  }
  return records;
}

/** All that a producer gives. */
function comparable(record: PutMessage & Pick<BlockRecord, "delay">): unknown {
  const { body, presentation, contentType, key, messageId, headers, ttlMs, delay } = record;
  const sorted = headers && Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  return [body, presentation, contentType, key, messageId, sorted, ttlMs, delay];
}

/** Whatever it is, it is refused in words or does what it says. */
function judge(frame: Uint8Array, random: Random): Fate {
  readAsServerFrame(frame);
  const parsed = parsePutFrame(frame);
  if (!parsed.ok) {
    formatProblem(parsed.refusal.refusal);
    return "refused";
  }
  const { block } = parsed.value;
  // A lying length would be told by another form.
  const blocks = splitBinaryFrame(frame);
  if (!blocks.ok) return fail("A frame that may be put cannot be taken apart");
  expectSame(encodeBlock(readRecords(block), 0), blocks.value.blocks, "What is accepted has one form");
  for (let place = 0; place < block.count; place++) JSON.parse(formatMessage(block.message(place)));
  if (!block.hasDelays) storeAndRead(parsed.value, random);
  return "accepted";
}

/** What a peer sends is read or refused; a client has nothing else to go by. */
function readAsServerFrame(frame: Uint8Array): void {
  const copy = new Uint8Array(frame);
  if (copy[0] === BINARY_FRAME_TYPES.put) copy[0] = BINARY_FRAME_TYPES.deliver;
  const split = splitBinaryFrame(copy);
  if (split.ok) Block.parse(split.value.blocks);
}

/** The core stores the block as it came, and hands out the messages that were put. */
function storeAndRead({ block }: PutFrame, random: Random): void {
  const retention = random.oneOf<"queue" | "log">("queue", "log");
  const channel = new ChannelHarness({ settings: { retention } });
  const messages = listMessages(block);
  const before: PutMessage = { body: encodeUtf8("before"), presentation: "text", contentType: "text/plain; charset=utf-8" };
  // Part of the commit may come one by one, and part in other blocks.
  if (random.chance(50)) channel.apply({ type: "put", messages: [before] });
  const put = channel.apply({ type: "put", messages: block, source: "s" });
  if (put.type !== "put") return;
  if (random.chance(50)) channel.apply({ type: "put", messages: block, source: random.oneOf("s", "t") });
  if (random.chance(50)) channel.evict();
  const page = channel.apply({ type: "browse", fromOffset: put.offset ?? 1, limit: block.count });
  if (page.type !== "page") return fail(`Browsing is answered ${page.type}`);
  expectSame(page.messages.map(comparable), messages.map(comparable), "What is read of a channel");
  if (retention === "log" || block.count === 0) return;
  const got = channel.apply({
    type: "get",
    max: 10_000,
    ...(random.chance(50) && { lease: { leaseMs: 1000, isDetached: true } }),
  });
  expectSameInBlocks(got);
}

/** A binary reader is sent what a reader of JSON is. */
function expectSameInBlocks(outcome: Outcome): void {
  if (outcome.type !== "got") return fail(`A get is answered ${outcome.type}`);
  const frame = formatBinaryReply(1, outcome, "{}");
  if (frame === undefined) return fail("A frame with messages is binary");
  const { messages } = readServerFrame(new Uint8Array(frame).buffer) as { messages: readonly object[] };
  const shown = outcome.messages.map((message) => JSON.parse(formatMessage(message)) as object);
  const withoutLeases = messages.map((form) =>
    Object.fromEntries(Object.entries(form).filter(([name]) => !LEASE_MEMBERS.has(name))),
  );
  expectSame(withoutLeases, shown, "What a binary reader is sent");
}

const LEASE_MEMBERS: ReadonlySet<string> = new Set(["leaseId", "attempt", "redelivered"]);
