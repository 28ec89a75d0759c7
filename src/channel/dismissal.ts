// Who is told that a channel does not offer any more what they wait for, or are sent.
import type { Refusal } from "../protocol/problems.ts";
import { refuseGet, refusePut } from "./life-cycle.ts";
import type { ChannelRecord } from "./store.ts";
import type { Streams } from "./streams.ts";
import type { Traffic } from "./traffic.ts";

interface Told {
  readonly traffic: Traffic;
  readonly streams: Streams;
}

/** As the state says. */
export function dismissByState(told: Told, record: ChannelRecord): void {
  const put = refusePut(record);
  if (put !== undefined) dismissProducers(told, put);
  const get = refuseGet(record);
  if (get !== undefined) dismissReaders(told, get);
}

/** Everybody. */
export function dismissAll(told: Told, refusal: Refusal): void {
  dismissProducers(told, refusal);
  dismissReaders(told, refusal);
}

function dismissProducers({ traffic, streams }: Told, refusal: Refusal): void {
  traffic.refuseWaiting("put", refusal);
  streams.endWatches(refusal);
}

function dismissReaders({ traffic, streams }: Told, refusal: Refusal): void {
  traffic.refuseWaiting("get", refusal);
  streams.endAll(refusal);
}
