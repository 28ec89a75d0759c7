// What a channel holds, against the model.
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { DeadJson, ShownMessage } from "./delivery-forms.ts";
import { type ChannelModel, jsonBytesOf, sizeOf } from "./model.ts";
import { applyReply } from "./reply-effects.ts";
import type { RequestSpec } from "./request.ts";
import type { Tally } from "./tally.ts";
import { parseObject } from "./verdict.ts";
import type { WireReply } from "./wire.ts";

/** How the comparison looks into the channel, and whom it tells. */
interface Look {
  readonly model: ChannelModel;
  readonly tally: Tally;
  /** A reply to a read of what is below the channel's address. */
  readonly get: (path: string, query: readonly [string, string][]) => Promise<WireReply | undefined>;
  readonly violate: (what: string) => void;
}

interface Page {
  readonly messages: readonly ShownMessage[];
  readonly next: number | null;
}

export function readSpec(path: string): RequestSpec {
  return { operationId: "readMessage", method: "GET", path, query: [], headers: [], framing: "none" };
}

/** Everything that the channel holds, page by page and message by message. */
export async function compareChannel(look: Look): Promise<void> {
  await compareMessages(look);
  await compareCheckpoints(look);
  await compareDeadLetters(look);
  await compareScheduled(look);
  look.tally.count("compared", "channels");
}

async function compareMessages(look: Look): Promise<void> {
  const { model, tally, violate } = look;
  const described = model.description?.bytes;
  let bytes = 0;
  const shown: number[] = [];
  for (let from: number | null = 1; from !== null;) {
    const page: Page = await readPage(look, from);
    for (const message of page.messages) {
      shown.push(message.offset);
      const { difference, bodyBytes } = await compareMessage(look, message);
      if (difference !== undefined) violate(`kept ${difference}`);
      bytes += sizeOf(message, bodyBytes);
      tally.count("compared", "messages");
    }
    from = page.next;
  }
  const offsets = [...model.messages.keys()];
  if (shown.join() !== offsets.join()) violate(`browsing shows ${shown.join()} instead of ${offsets.join()}`);
  if (bytes !== described) violate(`describes ${described} bytes instead of ${bytes}`);
}

async function readPage({ get }: Look, from: number): Promise<Page> {
  const reply = await get(`/messages`, [
    ["from", String(from)],
    ["limit", "7"],
  ]);
  return parseObject(String(reply?.body)) as unknown as Page;
}

/** A message as a page shows it, and as it is read by itself. */
async function compareMessage(
  { model, get }: Look,
  message: ShownMessage,
): Promise<{ readonly difference: string | undefined; readonly bodyBytes: number }> {
  const { offset } = message;
  const reply = await get(`/messages/${offset}`, []);
  if (reply?.status !== 200) {
    return { difference: `${offset} can not be read: ${reply?.status ?? "no reply"}`, bodyBytes: 0 };
  }
  const one = applyReply(model, readSpec(`/messages/${offset}`), reply, { takings: [], expected: () => [] });
  return { difference: model.compare(message) ?? one, bodyBytes: reply.body.byteLength };
}

async function compareCheckpoints({ model, tally, get, violate }: Look): Promise<void> {
  const { checkpoints } = model;
  const specs = [
    { ...readSpec(`/checkpoints`), operationId: "listCheckpoints" },
    ...checkpoints.names.map((name) => ({ ...readSpec(`/checkpoints/${name}`), operationId: "readCheckpoint" })),
  ];
  for (const spec of specs) {
    const reply = await get(spec.path, []);
    const difference = reply?.status === 200 ? checkpoints.applyReply(spec, reply) : `no reply but ${reply?.status}`;
    if (difference !== undefined) violate(`${spec.path} ${difference}`);
    tally.count("compared", "checkpoints");
  }
}

async function compareScheduled({ model, tally, get, violate }: Look): Promise<void> {
  const spec = { ...readSpec("/scheduled"), query: [["limit", String(LIMITS.scheduledPageMax)]] satisfies [string, string][] };
  const reply = await get(spec.path, spec.query);
  if (reply === undefined) return violate("the scheduled messages were not listed");
  const mistake = applyReply(model, { ...spec, operationId: "listScheduled" }, reply, {
    takings: [],
    expected: () => [],
  });
  if (mistake !== undefined) violate(`scheduled messages: ${mistake}`);
  const messages = parseObject(String(reply.body))?.["scheduled"] as (ShownMessage & { scheduledId: string })[];
  let bytes = 0;
  for (const message of messages) {
    bytes += sizeOf(message, jsonBytesOf(model.scheduled.get(message.scheduledId)));
    tally.count("compared", "scheduled messages");
  }
  const described = model.description?.scheduled.bytes;
  if (bytes !== described) violate(`describes ${described} bytes of scheduled messages instead of ${bytes}`);
}

async function compareDeadLetters({ model, tally, get, violate }: Look): Promise<void> {
  const reply = await get("/dead-letters", [["limit", "1000"]]);
  const page = parseObject(String(reply?.body)) as unknown as { deadLetters: DeadJson[]; next: number | null };
  const { delivery, description } = model;
  const mistake = delivery.checkDeadPage({ limit: 1000 }, page);
  if (mistake !== undefined) violate(`dead letters: ${mistake}`);
  let bytes = 0;
  for (const letter of page.deadLetters) {
    const difference = model.compareDead(letter);
    if (difference !== undefined) violate(`dead letter ${difference}`);
    bytes += sizeOf(letter, jsonBytesOf(delivery.deadLetters.get(letter.offset)?.message));
    tally.count("compared", "dead letters");
  }
  if (bytes !== description?.deadLetters.bytes)
    violate(`describes ${description?.deadLetters.bytes} bytes of dead letters instead of ${bytes}`);
}
