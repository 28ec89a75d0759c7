// What a batch goes through over HTTP: put as a whole, pulled under leases as a whole, acked as a whole.
import { Agent } from "node:http";
import { listRuns } from "../../src/protocol/lease-run.ts";
import { post } from "./http-client.ts";

export interface CycleOptions {
  /** Of a channel: `…/messages`. */
  readonly messagesUrl: string;
  readonly text: string;
  readonly count: number;
  /** The headers of put `index`, which tell a producer's puts apart. */
  readonly putHeaders?: (index: number) => Readonly<Record<string, string>>;
}

const JSON_HEADERS = { "content-type": "application/json" };
/** Parsing 100 KB of JSON would take more of the bench's time than anything else it does. No body has a quote in it. */
const LEASE_ID = /"leaseId":"([^"]+)"/gu;

export class HttpCycle {
  readonly #options: CycleOptions;
  readonly #puts: Buffer;
  readonly #pull: Buffer;
  #index = 0;

  constructor(options: CycleOptions) {
    this.#options = options;
    const messages = Array.from({ length: options.count }, () => ({ text: options.text }));
    this.#puts = Buffer.from(JSON.stringify({ messages }));
    this.#pull = Buffer.from(JSON.stringify({ max: options.count, min: options.count }));
  }

  /** Puts, pulls and acks one batch; rejects when any step did not take all of it. */
  async run(agent: Agent): Promise<void> {
    const { messagesUrl, count, putHeaders } = this.#options;
    const headers = { ...JSON_HEADERS, ...putHeaders?.(this.#index++) };
    await post(agent, { url: `${messagesUrl}/batch`, headers, body: this.#puts });
    const pulled = await post(agent, { url: `${messagesUrl}/pull`, headers: JSON_HEADERS, body: this.#pull });
    const leaseIds = Array.from(pulled.toString("latin1").matchAll(LEASE_ID), ([, leaseId = ""]) => leaseId);
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
