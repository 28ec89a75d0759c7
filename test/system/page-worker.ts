// A worker that serves a page and embeds the channels that the page reads. A browser gives neither its EventSource nor its WebSocket a token,
// so there is a door of the worker's own: whoever got the page has a cookie, which only requests of this origin carry.
import service, { app, ChannelObject, DirectoryShard, type Env } from "../../src/worker/embed.ts";

export { ChannelObject, DirectoryShard };

interface PageEnv extends Env {
  /** The page and the client's modules: their texts by their paths. */
  readonly FILES: string;
  /** What the cookie has to be. A real door would ask who somebody is, and give each a session of their own. */
  readonly SESSION: string;
}

export default {
  fetch(request: Request, env: PageEnv): Response | Promise<Response> {
    const { pathname } = new URL(request.url);
    const text = (JSON.parse(env.FILES) as Record<string, string>)[pathname];
    if (text !== undefined) return serveFile(pathname, text, env.SESSION);
    const hasSession = request.headers.get("Cookie")?.split("; ").includes(`session=${env.SESSION}`) === true;
    return hasSession ? app.fetch(request, env) : service.fetch(request, env);
  },
};

function serveFile(path: string, text: string, session: string): Response {
  const contentType = path.endsWith(".js") ? "text/javascript" : "text/html";
  const cookie = `session=${session}; HttpOnly; SameSite=Strict; Path=/`;
  return new Response(text, { headers: { "Content-Type": `${contentType}; charset=utf-8`, "Set-Cookie": cookie } });
}
