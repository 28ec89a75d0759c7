// How near to where a message was put it was read.
import { type Colo, findColo } from "../../protocol/colos.ts";

/** From the nearest to the farthest: in the same colo, else in the same region, else on the same continent, else elsewhere. */
export const NEARNESSES = ["colo", "region", "continent", "any"] as const;
export type Nearness = (typeof NEARNESSES)[number];

export function nearnessOf(origin: Colo, reader: Colo): Nearness {
  if (origin.code === reader.code) return "colo";
  if (origin.region === reader.region) return "region";
  return origin.continent === reader.continent ? "continent" : "any";
}

/** Throws where there is none with this code. */
export function needColo(code: string): Colo {
  const colo = findColo(code);
  if (colo === undefined) throw new Error(`There is no colo ${code}`);
  return colo;
}
