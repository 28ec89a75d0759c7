// A load client over HTTP: N keep-alive connections with one request in flight on each.
import { Agent, type IncomingMessage, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

const REQUEST_TIMEOUT_MS = 15_000;

export interface HttpLoadOptions {
  readonly url: string;
  readonly body: string;
  readonly connections: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
}

/** Puts per second: every answer must be 200 or 201. */
export async function runHttpLoad(options: HttpLoadOptions): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: options.connections });
  const state = { isSending: true, answers: 0 };
  try {
    const senders = Promise.all(Array.from({ length: options.connections }, () => keepSending(agent, options, state)));
    // A refusal ends the load at once; without one the senders stop when the time is over.
    await Promise.race([senders, delay(options.warmUpMs)]);
    const answersBefore = state.answers;
    const startedAtMs = performance.now();
    await Promise.race([senders, delay(options.durationMs)]);
    const ratePerS = ((state.answers - answersBefore) * 1_000) / (performance.now() - startedAtMs);
    state.isSending = false;
    await senders;
    return ratePerS;
  } finally {
    state.isSending = false;
    agent.destroy();
  }
}

async function keepSending(
  agent: Agent,
  options: HttpLoadOptions,
  state: { isSending: boolean; answers: number },
): Promise<void> {
  const body = Buffer.from(options.body);
  while (state.isSending) {
    await post(agent, options.url, body);
    state.answers += 1;
  }
}

function post(agent: Agent, url: string, body: Buffer): Promise<void> {
  return new Promise((settle, reject) => {
    const headers = { "content-type": "text/plain", "content-length": body.length };
    const sent = request(url, { agent, method: "POST", headers, timeout: REQUEST_TIMEOUT_MS }, (response: IncomingMessage) => {
      if (response.statusCode === 200 || response.statusCode === 201) {
        response.once("end", settle).resume();
        return;
      }
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("end", () => {
        reject(new Error(`POST ${url} was answered ${response.statusCode}: ${Buffer.concat(chunks).toString().slice(0, 500)}`));
      });
    });
    sent.once("error", reject);
    sent.once("timeout", () => sent.destroy(new Error(`POST ${url} was not answered within ${REQUEST_TIMEOUT_MS} ms`)));
    sent.end(body);
  });
}
