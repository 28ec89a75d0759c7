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

/** Makes and reads the lease ids of one life. The secret is that life's; a holder's seal is computed once. */
export class LeaseSealer {
  readonly #secret: Uint8Array;
  #lastHolder = "";
  #lastSeal = "";

  constructor(secret: string) {
    this.#secret = encodeUtf8(secret);
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
    if (holder !== this.#lastHolder) {
      this.#lastHolder = holder;
      this.#lastSeal = bytesToHex(hmac(sha256, this.#secret, encodeUtf8(holder))).slice(0, SEAL_HEX_DIGITS);
    }
    return this.#lastSeal;
  }
}
