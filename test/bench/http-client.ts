// Requests over keep-alive connections. Any answer other than 200 or 201 rejects with its text.
import { type Agent, type IncomingMessage, request } from "node:http";

const REQUEST_TIMEOUT_MS = 15_000;

export interface Post {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Resolves with the body of the answer. */
export function post(agent: Agent, { url, headers, body }: Post): Promise<Buffer> {
  return new Promise((settle, reject) => {
    const options = {
      agent,
      method: "POST",
      headers: { ...headers, "content-length": body.length },
      timeout: REQUEST_TIMEOUT_MS,
    };
    const sent = request(url, options, (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () => {
        const answer = Buffer.concat(chunks);
        if (response.statusCode === 200 || response.statusCode === 201) settle(answer);
        else reject(new Error(`POST ${url} was answered ${response.statusCode}: ${answer.toString().slice(0, 500)}`));
      });
    });
    sent.once("error", reject);
    sent.once("timeout", () => sent.destroy(new Error(`POST ${url} was not answered within ${REQUEST_TIMEOUT_MS} ms`)));
    sent.end(body);
  });
}
