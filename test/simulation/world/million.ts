// A million plain readers of one channel: what a commit costs the channel and its relays, and when each reader has it. Arithmetic on measured
// constants, not a measurement: no machine here has so many sockets.
import { type Colo, distanceKm } from "../../../src/protocol/colos.ts";
import { KM_PER_MS, quantileOf } from "./world.ts";

/** Readers of one relay at most; then a colo has another one. */
export const READERS_OF_RELAY_MAX = 5_000;
/** What a frame costs who sends it on a socket, in ms: the least and the most that was measured. */
export const SEND_MS = [0.003, 0.014] as const;
/** What waking a relay that sleeps costs the channel, in ms. */
const RPC_MS = 0.074;
/** Of one message of 1 KB, with its head. */
const FRAME_BYTES = 1_100;
/** A socket's attachment, at its most. */
const ATTACHMENT_BYTES_MAX = 16_384;

export interface ReadersOfColo {
  readonly colo: Colo;
  readonly readers: number;
}

/** What follows from the cost of a send. */
export interface SendFigures {
  readonly sendMs: number;
  /** A commit is over when its last frame is sent: so many in a second that sending takes all of the time. */
  readonly commitsOfChannel: number;
  readonly commitsOfRelay: number;
  readonly commitsWithoutRelays: number;
  /** From when the channel sends its first frame; the way, and the turn at the channel and at the relay. */
  readonly deliveryP50Ms: number;
  readonly deliveryP99Ms: number;
  readonly p50WithoutRelaysMs: number;
  readonly p99WithoutRelaysMs: number;
}

export interface Million {
  readonly readers: number;
  readonly relays: number;
  readonly figures: readonly SendFigures[];
  /** When all relays sleep: of the commit that wakes them. */
  readonly wakingMs: number;
  /** With more relays the channel needs longer for a commit than a relay that is full: from here on a second tier has a use. */
  readonly secondTierRelays: number;
  /** Bytes that leave the channel's colo for one commit. */
  readonly bytesBetween: { readonly relayed: number; readonly plain: number };
  /** What the runtime copies of one commit, a frame for each socket, and the most that attachments take. */
  readonly memory: Readonly<
    Record<"channel" | "relay" | "withoutRelays", { readonly copies: number; readonly attachments: number }>
  >;
}

/** Relays are taken for being in the colo of their readers. In each place the frames are sent one after the other, in the order given. */
export function countMillion(places: readonly ReadersOfColo[], channel: Colo): Million {
  const readers = places.reduce((sum, one) => sum + one.readers, 0);
  const relays = places.reduce((sum, one) => sum + relaysOf(one.readers), 0);
  const away = places.filter(({ colo }) => colo.code !== channel.code);
  const fullest = Math.min(READERS_OF_RELAY_MAX, Math.max(...places.map((one) => one.readers)));
  return {
    readers,
    relays,
    figures: SEND_MS.map((sendMs) => ({
      sendMs,
      commitsOfChannel: 1000 / (relays * sendMs),
      commitsOfRelay: 1000 / (fullest * sendMs),
      commitsWithoutRelays: 1000 / (readers * sendMs),
      ...deliver(places, channel, sendMs, readers),
    })),
    wakingMs: relays * RPC_MS,
    secondTierRelays: READERS_OF_RELAY_MAX,
    bytesBetween: {
      relayed: FRAME_BYTES * away.reduce((sum, one) => sum + relaysOf(one.readers), 0),
      plain: FRAME_BYTES * away.reduce((sum, one) => sum + one.readers, 0),
    },
    memory: { channel: memoryOf(relays), relay: memoryOf(fullest), withoutRelays: memoryOf(readers) },
  };
}

function relaysOf(readers: number): number {
  return Math.ceil(readers / READERS_OF_RELAY_MAX);
}

function memoryOf(sockets: number): Million["memory"]["relay"] {
  return { copies: sockets * FRAME_BYTES, attachments: sockets * ATTACHMENT_BYTES_MAX };
}

function deliver(
  places: readonly ReadersOfColo[],
  channel: Colo,
  sendMs: number,
  readers: number,
): Pick<SendFigures, "deliveryP50Ms" | "deliveryP99Ms" | "p50WithoutRelaysMs" | "p99WithoutRelaysMs"> {
  const relayed = new Float64Array(readers);
  const plain = new Float64Array(readers);
  let reader = 0;
  let relay = 0;
  for (const { colo, readers: here } of places) {
    const travelMs = distanceKm(channel, colo) / KM_PER_MS;
    for (let index = 0; index < here; index++) {
      const place = index % READERS_OF_RELAY_MAX;
      if (place === 0) relay += 1;
      relayed[reader] = relay * sendMs + travelMs + (place + 1) * sendMs;
      plain[reader] = (reader + 1) * sendMs + travelMs;
      reader += 1;
    }
  }
  relayed.sort();
  plain.sort();
  return {
    deliveryP50Ms: quantileOf(relayed, 0.5),
    deliveryP99Ms: quantileOf(relayed, 0.99),
    p50WithoutRelaysMs: quantileOf(plain, 0.5),
    p99WithoutRelaysMs: quantileOf(plain, 0.99),
  };
}
