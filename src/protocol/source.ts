// Where a message was put from, as one short text: it is stored beside the message, and shown in its history alone (SPEC rule HS1).
// `h`, `s` or `r` (HTTP, socket, RPC of another worker), then the colo where it is known, with its continent behind a dot where no more is known
// of it, then the producer's id behind a colon where the put had one.
import type { Place } from "./place.ts";

export interface Source {
  readonly via: "http" | "socket" | "rpc";
  /** The colo that the request reached; absent where the runtime does not tell, as locally. */
  readonly colo?: string;
  /** Of a colo whose region is not known: all that is known of where it is. */
  readonly continent?: string;
  readonly producer?: string;
}

export function formatSource(via: Source["via"], place: Place | undefined): string {
  const { colo = "", region, continent } = place ?? {};
  return via.charAt(0) + colo + (region === undefined && continent !== undefined ? `.${continent}` : "");
}

/** Adds the producer of a put to where it came from. */
export function withProducer(source: string | undefined, producer: string | undefined): string | undefined {
  return source === undefined || producer === undefined ? source : `${source}:${producer}`;
}

const VIAS: Readonly<Record<string, Source["via"]>> = { h: "http", s: "socket", r: "rpc" };

export function parseSource(text: string): Source {
  const [place = ""] = text.split(":", 1);
  const [colo = "", continent = ""] = place.slice(1).split(".");
  // A producer's id may have colons of its own.
  const producer = text.slice(place.length + 1);
  return {
    via: VIAS[place.charAt(0)] ?? "socket",
    ...(colo !== "" && { colo }),
    ...(continent !== "" && { continent }),
    ...(producer !== "" && { producer }),
  };
}
