// Lease ids: group, offset, attempt and holder, which is sealed so that an id that was not made here is told from one that was lost.
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { encodeUtf8 } from "./bytes.ts";

export interface LeaseRef {
  /** The number of the group. */
  readonly group: number;
  readonly offset: number;
  readonly attempt: number;
  /** 16 hex digits. */
  readonly holder: string;
}

const SEAL_HEX_DIGITS = 16;
const SESSION = /^(0|[1-9]\d{0,3})-([0-9a-f]{16})-([0-9a-f]{16})$/;
const LEASE_ID = /^(0|[1-9]\d{0,3})-([1-9]\d{0,14})-([1-9]\d{0,9})-([0-9a-f]{16})-([0-9a-f]{16})$/;

/** Seals of holders that are kept: more than take and settle at once in most channels. */
const KEPT_SEALS_MAX = 64;

/** Makes and reads the lease ids of one life. The secret is that life's. */
export class LeaseSealer {
  static #last: { readonly secret: string; readonly sealer: LeaseSealer } | undefined;

  /** With the secret taken in, which is half of the work on so short a text. */
  readonly #keyed: ReturnType<typeof hmac.create>;
  /** Of holders that were met lately: a seal costs more than all else that a small call does (measured). */
  readonly #seals = new Map<string, string>();

  private constructor(secret: string) {
    this.#keyed = hmac.create(sha256, encodeUtf8(secret));
  }

  /** That of a life; asked for again and again it is the same one. */
  static of(secret: string): LeaseSealer {
    if (LeaseSealer.#last?.secret !== secret) LeaseSealer.#last = { secret, sealer: new LeaseSealer(secret) };
    return LeaseSealer.#last.sealer;
  }

  format({ group, offset, attempt, holder }: LeaseRef): string {
    return `${group}-${offset}-${attempt}-${holder}-${this.#seal(holder)}`;
  }

  /** Undefined where this life did not make the holder: other text, another channel's id, one that was cut. Offset and attempt are not sealed. */
  parse(leaseId: string): LeaseRef | undefined {
    const [, group, offset, attempt, holder, seal] = LEASE_ID.exec(leaseId) ?? [];
    if (holder === undefined || seal !== this.#seal(holder)) return undefined;
    return { group: Number(group), offset: Number(offset), attempt: Number(attempt), holder };
  }

  /** Names all leases of a holder, for who comes back to them. */
  formatSession({ group, holder }: Pick<LeaseRef, "group" | "holder">): string {
    return `${group}-${holder}-${this.#seal(holder)}`;
  }

  /** Undefined where this life did not make the holder. */
  parseSession(session: string): Pick<LeaseRef, "group" | "holder"> | undefined {
    const [, group, holder, seal] = SESSION.exec(session) ?? [];
    return holder === undefined || seal !== this.#seal(holder) ? undefined : { group: Number(group), holder };
  }

  #seal(holder: string): string {
    const kept = this.#seals.get(holder);
    if (kept !== undefined) return kept;
    const seal = bytesToHex(this.#keyed.clone().update(encodeUtf8(holder)).digest()).slice(0, SEAL_HEX_DIGITS);
    if (this.#seals.size >= KEPT_SEALS_MAX) this.#seals.clear();
    this.#seals.set(holder, seal);
    return seal;
  }
}
