// What other workers of the account reach by a service binding. Nobody authenticates here: only who deploys the account's workers can bind one.
import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../object/env.ts";
import { formatProblem } from "../protocol/problem-format.ts";
import { app } from "./app.ts";
import { measure, send, sendBatch, type ServiceProps } from "./queue-producer.ts";
import { RefusalError } from "./refusal-error.ts";

/**
 * The service, in two forms. `fetch` serves all routes, sockets too: the client speaks to it as to a server. `send`, `sendBatch` and
 * `metrics` are those of a Cloudflare Queue's producer, for the channel that the binding's `props` name.
 *
 * @example
 * [[services]]
 * binding = "ORDERS"
 * service = "edge-channel"
 * entrypoint = "ChannelService"
 * props = { channel = "orders" }
 */
export class ChannelService extends WorkerEntrypoint<Env, ServiceProps> implements Queue {
  override fetch(request: Request): Response | Promise<Response> {
    return app.fetch(request, this.env);
  }

  /** Stores one message, as JSON unless told otherwise. Rejects with an error that has the members of a problem, as `kind`. */
  send(body: unknown, options?: QueueSendOptions): Promise<QueueSendResponse> {
    return tellingRefusals(send(this.env, this.ctx.props, body, options));
  }

  /** Stores messages at consecutive offsets, all or none; at most 10,000 and 16 MiB together. */
  sendBatch(messages: Iterable<MessageSendRequest>, options?: QueueSendBatchOptions): Promise<QueueSendBatchResponse> {
    return tellingRefusals(sendBatch(this.env, this.ctx.props, messages, options));
  }

  /** What waits to be taken, and when the oldest of it was put. */
  metrics(): Promise<QueueMetrics> {
    return tellingRefusals(measure(this.env, this.ctx.props));
  }
}

/** An error that crosses to another worker: it keeps its message and what it has of its own, but not its class. */
async function tellingRefusals<Value>(answer: Promise<Value>): Promise<Value> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    const problem = formatProblem(error.refusal);
    throw Object.assign(new Error(`${problem.kind}: ${problem.detail}`), problem);
  }
}
