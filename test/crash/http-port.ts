// The service over HTTP. A request without an answer is unknown.
import { Agent, request } from "node:http";
import type { Answer, Inspection, Seen, SettleLists } from "./history.ts";
import {
  formatSettle,
  isNotApplied,
  type MessageJson,
  type Port,
  putText,
  readGot,
  readPulled,
  readPut,
  readSeen,
  readSettled,
  type ReplyJson,
} from "./port.ts";
import type { Reply } from "./recorder.ts";
import type { ChannelDescription } from "../../src/protocol/description.ts";

const ANSWER_TIMEOUT_MS = 20_000;
const PAGE_MESSAGES = 1000;

interface HttpReply {
  readonly status: number;
  readonly body: unknown;
}

export class HttpPort implements Port {
  readonly channel: string;
  readonly isOpen = true;
  readonly isDetaching = true;
  readonly #url: string;
  readonly #name: string;
  /** No request is repeated behind our back, as one on a kept connection that was closed meanwhile would be by `fetch`. */
  readonly #agent = new Agent({ keepAlive: true });
  #requests = 0;

  constructor(url: string, channel: string, name: string) {
    this.#url = `${url}/v1/channels/${channel}`;
    this.channel = channel;
    this.#name = name;
  }

  connection(): string {
    this.#requests += 1;
    return `${this.#name}#${this.#requests}`;
  }

  put(names: readonly string[], { waitMs }: { waitMs: number }): Promise<Reply<Answer<"put">>> {
    return this.#post(`/messages/batch?waitMs=${waitMs}`, { messages: names.map(putText) }, readPut);
  }

  pull({ max, leaseMs, waitMs }: { max: number; leaseMs: number; waitMs: number }): Promise<Reply<Answer<"pull">>> {
    return this.#post("/messages/pull", { max, leaseMs, waitMs }, readPulled);
  }

  get({ max, waitMs }: { max: number; waitMs: number }): Promise<Reply<Answer<"get">>> {
    return this.#post("/messages/pull", { ack: "auto", max, waitMs }, readGot);
  }

  settle(lists: SettleLists): Promise<Reply<Answer<"settle">>> {
    return this.#post("/messages/settle", formatSettle(lists), (reply) => readSettled(reply, lists));
  }

  close(): Promise<void> {
    this.#agent.destroy();
    return Promise.resolve();
  }

  async create(settings: object): Promise<void> {
    const { status, body } = await this.#send("PUT", "", settings);
    if (status !== 201 && status !== 200) throw new Error(`Cannot create channel ${this.channel}: ${JSON.stringify(body)}`);
  }

  /** Looks at everything; `deadLettersFrom` is where those that were not seen before begin. Also says where the next look begins. */
  async inspect(deadLettersFrom: number): Promise<{ readonly inspection: Inspection; readonly firstOffset: number }> {
    const browsed = await this.#readPages("/messages", 1);
    const { depth, firstOffset, counts } = await this.#read<ChannelDescription>("");
    const deadLetters = await this.#readPages("/dead-letters", deadLettersFrom);
    return { inspection: { f: "inspect", browsed, depth, counts, deadLetters }, firstOffset };
  }

  async #readPages(path: string, from: number): Promise<Seen[]> {
    const seen: Seen[] = [];
    for (let next: number | null = from; next !== null;) {
      const page: { messages?: MessageJson[]; deadLetters?: MessageJson[]; next: number | null } = await this.#read(
        `${path}?from=${next}&limit=${PAGE_MESSAGES}`,
      );
      for (const message of page.messages ?? page.deadLetters ?? []) seen.push(readSeen(message));
      next = page.next;
    }
    return seen;
  }

  async #read<Body>(path: string): Promise<Body> {
    const { status, body } = await this.#send("GET", path);
    if (status !== 200) throw new Error(`Cannot read ${this.#url}${path}: ${JSON.stringify(body)}`);
    return body as Body;
  }

  async #post<Value>(path: string, body: object, read: (reply: ReplyJson) => Value): Promise<Reply<Value>> {
    let reply: HttpReply;
    try {
      reply = await this.#send("POST", path, body);
    } catch {
      // The connection ended before the whole reply was there.
      return { type: "unknown" };
    }
    if (reply.status < 300) return { type: "ok", value: read(reply.body as ReplyJson) };
    const problem = reply.body as { kind: string; outcome?: string };
    return isNotApplied(problem) ? { type: "fail", kind: problem.kind } : { type: "unknown" };
  }

  #send(method: string, path: string, body?: object): Promise<HttpReply> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { "Content-Type": "application/json" };
      const sent = request(
        `${this.#url}${path}`,
        { method, agent: this.#agent, headers, timeout: ANSWER_TIMEOUT_MS },
        (reply) => {
          const chunks: Buffer[] = [];
          reply.on("data", (chunk: Buffer) => chunks.push(chunk));
          reply.on("error", reject);
          reply.on("end", () => {
            try {
              resolve({ status: reply.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) });
            } catch (error) {
              reject(error instanceof Error ? error : new Error(String(error)));
            }
          });
        },
      );
      sent.on("error", reject);
      sent.on("timeout", () => sent.destroy(new Error(`${method} ${path} was not answered in time`)));
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}
