// A worker with channels of its own: its routes use them without a token, and whoever has the token uses them by theirs. In a project of
// its own it imports `edge-channel/worker` and `edge-channel/client/service-binding`.
import { connectBinding } from "../../client/service-binding.ts";
import service, { app, ChannelObject, DirectoryShard, type Env } from "../../worker/embed.ts";

export { ChannelObject, DirectoryShard };

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (new URL(request.url).pathname !== "/orders") return service.fetch(request, env);
    const orders = connectBinding({ fetch: (url, init) => app.request(url, init, env) }).channel("orders");
    if (request.method === "POST") {
      const { offset } = await orders.put({ json: await request.json() });
      return Response.json({ offset }, { status: 202 });
    }
    const messages = await orders.getBatch({ max: 10 });
    return Response.json(messages.map(({ body }) => body));
  },
};
