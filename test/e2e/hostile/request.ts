// A request as the parts that can be falsified one by one, and the bytes that it becomes.

export type Framing = "none" | "length" | "chunked" | "length-too-long" | "length-too-short" | "chunked-cut" | "raw";

export interface RequestSpec {
  readonly operationId: string;
  readonly method: string;
  /** As it is sent, escapes included. */
  readonly path: string;
  readonly query: readonly (readonly [name: string, value: string])[];
  readonly host?: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: Buffer;
  /** How the body's length is told. "raw": the headers say it themselves, whatever it is. */
  readonly framing: Framing;
}

/** The bytes of the request. Headers are bytes of one character each. */
export function formatRequest(spec: RequestSpec, port: number): Buffer {
  const query = spec.query.map(([name, value]) => `${name}=${value}`).join("&");
  const lines = [
    `${spec.method} ${spec.path}${query === "" ? "" : `?${query}`} HTTP/1.1`,
    `Host: ${spec.host ?? `127.0.0.1:${port}`}`,
    ...spec.headers.map(([name, value]) => `${name}: ${value}`),
    ...framingHeaders(spec),
  ];
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return Buffer.concat([head, ...framedBody(spec)]);
}

/** The body that arrives, if the request is served at all. */
export function arrivingBody({ body = Buffer.alloc(0), framing }: RequestSpec): Buffer {
  return framing === "length-too-short" ? body.subarray(0, shortLength(body)) : body;
}

/** Whether the client gives up before the end of the body that it announced. */
export function isCut({ framing }: RequestSpec): boolean {
  return framing === "length-too-long" || framing === "chunked-cut";
}

function shortLength(body: Buffer): number {
  return Math.floor(body.byteLength / 2);
}

function framingHeaders({ framing, body = Buffer.alloc(0) }: RequestSpec): string[] {
  switch (framing) {
    case "length":
      return [`Content-Length: ${body.byteLength}`];
    case "length-too-long":
      return [`Content-Length: ${body.byteLength + 10}`];
    case "length-too-short":
      return [`Content-Length: ${shortLength(body)}`];
    case "chunked":
    case "chunked-cut":
      return ["Transfer-Encoding: chunked"];
    default:
      return [];
  }
}

function framedBody({ framing, body = Buffer.alloc(0) }: RequestSpec): Buffer[] {
  if (framing === "none") return [];
  if (framing !== "chunked" && framing !== "chunked-cut") return [body];
  const middle = Math.floor(body.byteLength / 2);
  const chunks = [body.subarray(0, middle), body.subarray(middle)].filter((chunk) => chunk.byteLength > 0);
  const framed = chunks.flatMap((chunk) => [Buffer.from(`${chunk.byteLength.toString(16)}\r\n`), chunk, Buffer.from("\r\n")]);
  return framing === "chunked" ? [...framed, Buffer.from("0\r\n\r\n")] : [...framed, Buffer.from("40\r\ncut")];
}
