// Takes orders as it would put them into a Cloudflare Queue, and works on them with the client. In a project of its own it imports
// `edge-channel/client/service-binding`.
import { connectBinding } from "../../client/service-binding.ts";

interface Env {
  readonly CHANNELS: Fetcher;
  readonly ORDERS: Queue;
}

const WAIT_MS = 5_000;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (request.method === "POST") {
      const { metadata } = await env.ORDERS.send(await request.json());
      return Response.json({ waiting: metadata.metrics.backlogCount }, { status: 202 });
    }
    // What is open belongs to the request, and so does the client.
    const client = connectBinding(env.CHANNELS, { transport: "socket" });
    try {
      const { messages } = await client.channel("orders").pull({ max: 10, waitMs: WAIT_MS });
      const bodies = messages.map(({ body }) => body);
      await Promise.all(messages.map((message) => message.ack()));
      return Response.json(bodies);
    } finally {
      await client.close();
    }
  },
};
