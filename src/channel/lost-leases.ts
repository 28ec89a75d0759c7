// What has to be done where leases were lost with their sockets (SPEC rule LS8).
import type { OpenMessages } from "./choice.ts";
import { endOffset } from "./run.ts";

interface KeyedPlace {
  readonly offset: number;
  readonly key: string;
}

/**
 * Messages from `cursor` on of which nothing is known though later ones of their keys are, from stored rows. The scan would find them, but
 * not before these were handed out (G5).
 */
export function findBeforeKnown({ log, leases, deferred }: OpenMessages, cursor: number): KeyedPlace[] {
  const lastKnown = new Map<string, number>();
  const note = (known: { readonly key: string | undefined; readonly offset: number } | undefined): void => {
    if (known?.key !== undefined) lastKnown.set(known.key, Math.max(known.offset, lastKnown.get(known.key) ?? 0));
  };
  for (const message of deferred.all()) note(message);
  for (const offset of leases.offsets()) note(leases.find(offset));
  const knownUntil = Math.max(0, ...lastKnown.values());
  const found: KeyedPlace[] = [];
  let from = cursor;
  for (let run = log.runFrom(from); run !== undefined && run.firstOffset < knownUntil; run = log.runFrom(from)) {
    for (let place = Math.max(0, from - run.firstOffset); place < run.count; place++) {
      const offset = run.firstOffset + place;
      const isKnown = leases.find(offset) !== undefined || deferred.find(offset) !== undefined;
      const key = isKnown || log.isGone(run, place) || run.isControl(place) ? undefined : run.key(place);
      if (key !== undefined && offset < (lastKnown.get(key) ?? 0)) found.push({ offset, key });
    }
    from = endOffset(run);
  }
  return found;
}
