// What a batch goes through over HTTP: put as a whole, pulled under leases as a whole, acked as a whole.
import { Agent } from "node:http";
import { joinBinaryFrame, splitBinaryFrame } from "../../src/protocol/binary-frame.ts";
import { encodeBlock } from "../../src/protocol/block-writer.ts";
import { listRuns } from "../../src/protocol/lease-run.ts";
import { FRAME_MEDIA_TYPE } from "../../src/protocol/version.ts";
import { listLeaseIds, splitBlocks, textRecord } from "../binary-frames.ts";
import { post } from "./http-client.ts";

/** How the messages of a batch travel: in JSON, or in binary frames, as the client does it. */
export type BatchForm = "json" | "binary";

export interface CycleOptions {
  /** Of a channel: `…/messages`. */
  readonly messagesUrl: string;
  readonly text: string;
  readonly count: number;
  readonly form: BatchForm;
  /** The headers of put `index`, which tell a producer's puts apart. */
  readonly putHeaders?: (index: number) => Readonly<Record<string, string>>;
}

const JSON_HEADERS = { "content-type": "application/json" };
/** Parsing 100 KB of JSON would take more of the bench's time than anything else it does. No body has a quote in it. */
const LEASE_ID = /"leaseId":"([^"]+)"/gu;

export class HttpCycle {
  readonly #options: CycleOptions;
  readonly #puts: Buffer;
  readonly #putHeaders: Readonly<Record<string, string>>;
  readonly #pull: Buffer;
  readonly #pullHeaders: Readonly<Record<string, string>>;
  #index = 0;

  constructor(options: CycleOptions) {
    const { text, count, form } = options;
    const isBinary = form === "binary";
    this.#options = options;
    this.#puts = isBinary ? packFrame(text, count) : formatJson(text, count);
    this.#putHeaders = isBinary ? { "content-type": FRAME_MEDIA_TYPE } : JSON_HEADERS;
    this.#pull = Buffer.from(JSON.stringify({ max: count, min: count }));
    this.#pullHeaders = isBinary ? { ...JSON_HEADERS, accept: FRAME_MEDIA_TYPE } : JSON_HEADERS;
  }

  /** Puts, pulls and acks one batch; rejects when any step did not take all of it. */
  async run(agent: Agent): Promise<void> {
    const { messagesUrl, count, form, putHeaders } = this.#options;
    const headers = { ...this.#putHeaders, ...putHeaders?.(this.#index++) };
    await post(agent, { url: `${messagesUrl}/batch`, headers, body: this.#puts });
    const pulled = await post(agent, { url: `${messagesUrl}/pull`, headers: this.#pullHeaders, body: this.#pull });
    const leaseIds = form === "binary" ? readLeaseIds(pulled) : findLeaseIds(pulled);
    if (leaseIds.length !== count) throw new Error(`Expected ${count} messages, pulled ${leaseIds.length}`);
    // Leases of messages that follow each other are acked by one entry, as the client does it (SPEC rule LS14).
    const body = Buffer.from(JSON.stringify({ acks: listRuns(leaseIds) }));
    const settled = await post(agent, { url: `${messagesUrl}/settle`, headers: JSON_HEADERS, body });
    const { acked } = JSON.parse(settled.toString()) as { acked: number };
    if (acked !== count) throw new Error(`Expected ${count} messages to be acked, not ${acked}`);
  }

  /** One batch after the other, so that nothing is left between them. */
  async runTimes(times: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      for (let count = 0; count < times; count++) await this.run(agent);
    } finally {
      agent.destroy();
    }
  }
}

function formatJson(text: string, count: number): Buffer {
  return Buffer.from(JSON.stringify({ messages: Array.from({ length: count }, () => ({ text })) }));
}

function packFrame(text: string, count: number): Buffer {
  const records = Array.from({ length: count }, () => textRecord(text));
  return Buffer.from(joinBinaryFrame("put", "{}", [encodeBlock(records, 0)]));
}

function findLeaseIds(json: Buffer): readonly string[] {
  return Array.from(json.toString("latin1").matchAll(LEASE_ID), ([, leaseId = ""]) => leaseId);
}

function readLeaseIds(bytes: Buffer): readonly string[] {
  const frame = splitBinaryFrame(bytes);
  if (!frame.ok) throw new Error(`Expected a frame: ${frame.refusal}`);
  return listLeaseIds(frame.value.head, splitBlocks(frame.value.blocks));
}
