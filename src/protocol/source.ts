// Where a message was put from, as one short text: it is stored beside the message, and shown in its history alone (SPEC rule HS1).
// `h`, `s` or `r` (HTTP, socket, RPC of another worker), then the colo where it is known, then the producer's id behind a colon where the put had one.

export interface Source {
  readonly via: "http" | "socket" | "rpc";
  /** The colo that the request reached; absent where the runtime does not tell, as locally. */
  readonly colo?: string;
  readonly producer?: string;
}

/** `colo` is what the runtime says, of whatever type; what is no short name is left out. */
export function formatSource(via: Source["via"], colo: unknown): string {
  const isName = typeof colo === "string" && /^[A-Za-z0-9]{1,8}$/.test(colo);
  return via.charAt(0) + (isName ? colo : "");
}

/** Adds the producer of a put to where it came from. */
export function withProducer(source: string | undefined, producer: string | undefined): string | undefined {
  return source === undefined || producer === undefined ? source : `${source}:${producer}`;
}

const VIAS: Readonly<Record<string, Source["via"]>> = { h: "http", s: "socket", r: "rpc" };

export function parseSource(text: string): Source {
  const [place = ""] = text.split(":", 1);
  const colo = place.slice(1);
  // A producer's id may have colons of its own.
  const producer = text.slice(place.length + 1);
  return {
    via: VIAS[place.charAt(0)] ?? "socket",
    ...(colo !== "" && { colo }),
    ...(producer !== "" && { producer }),
  };
}
