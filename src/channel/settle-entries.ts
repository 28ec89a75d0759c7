// The lists of a settle call as entries, each with its pointer into the call.
import type { SettleEntry } from "./operation.ts";

interface Named {
  readonly leaseId: string;
  readonly count?: number | undefined;
}

/** The lists of a settle call as they came. */
export interface SettleLists {
  readonly acks?: readonly Named[] | undefined;
  readonly retries?:
    | readonly (Named & { readonly delayMs?: number | undefined; readonly reason?: string | undefined })[]
    | undefined;
  readonly extends?: readonly (Named & { readonly leaseMs: number })[] | undefined;
  readonly rejects?: readonly (Named & { readonly reason?: string | undefined })[] | undefined;
  readonly releases?: readonly Named[] | undefined;
}

export function listSettleEntries(lists: SettleLists): SettleEntry[] {
  const pointerOf = (list: keyof SettleLists, index: number): string => `/${list}/${index}/leaseId`;
  return [
    ...(lists.acks ?? []).map((entry, index): SettleEntry => ({ verb: "ack", ...entry, pointer: pointerOf("acks", index) })),
    ...(lists.retries ?? []).map((entry, index): SettleEntry => ({
      verb: "retry",
      ...entry,
      pointer: pointerOf("retries", index),
    })),
    ...(lists.extends ?? []).map((entry, index): SettleEntry => ({
      verb: "extend",
      ...entry,
      pointer: pointerOf("extends", index),
    })),
    ...(lists.rejects ?? []).map((entry, index): SettleEntry => ({
      verb: "reject",
      ...entry,
      pointer: pointerOf("rejects", index),
    })),
    ...(lists.releases ?? []).map((entry, index): SettleEntry => ({
      verb: "release",
      ...entry,
      pointer: pointerOf("releases", index),
    })),
  ];
}
