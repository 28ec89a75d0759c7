// Members of a group at several places, and what is routed to them.
import type { Effect, Origin, Outcome } from "../../src/channel/operation.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import { findColo } from "../../src/protocol/colos.ts";
import type { MessageHistory } from "../../src/protocol/history.ts";
import { listLeaseIds } from "../../src/protocol/lease-run.ts";
import type { Place } from "../../src/protocol/place.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { formatSource } from "../../src/protocol/source.ts";
import { ChannelHarness, expectType, textMessage } from "./channel-harness.ts";

export function placeAt(colo: string): Place {
  const { region, continent, country } = findColo(colo) ?? {};
  return {
    colo,
    ...(region !== undefined && { region }),
    ...(continent !== undefined && { continent }),
    ...(country !== undefined && { country }),
  };
}

/** A channel whose members are known by names. */
export class RoutedMembers {
  readonly channel: ChannelHarness;
  readonly #origins = new Map<string, Origin>();
  /** What each was sent and asked for, in order; the frames are separated by spaces. */
  readonly #told = new Map<string, string[]>();
  readonly #leases = new Map<string, string>();

  constructor(settings: GivenSettings = {}) {
    this.channel = new ChannelHarness({ settings });
  }

  join(
    name: string,
    colo: string | undefined,
    more: { readonly messages?: number; readonly bytes?: number; readonly reader?: string } = {},
  ): void {
    const { messages = 10, bytes = 1_000_000, reader = name } = more;
    const origin = { connection: this.channel.connect(colo === undefined ? undefined : placeAt(colo)), request: 1 };
    this.#origins.set(name, origin);
    const target = { type: "member", leaseMs: 30_000, reader } as const;
    expectType(this.channel.apply({ type: "subscribe", target, credit: { messages, bytes } }, origin), "subscribed");
  }

  leave(name: string): void {
    this.channel.close(this.originOf(name).connection);
  }

  grant(name: string, messages = 1): void {
    const { connection, request } = this.originOf(name);
    const credit = { messages, bytes: 1_000_000 };
    expectType(this.channel.apply({ type: "credit", request, credit }, { connection, request: 0 }), "credited");
  }

  /** Puts messages together, each a letter, from a colo. With `key` all have that. */
  put(letters: string, colo?: string, key?: string): Outcome {
    const messages = Array.from(letters).map((letter) => ({ ...textMessage(letter), ...(key !== undefined && { key }) }));
    return this.channel.putMessages(messages, { source: formatSource("socket", colo === undefined ? undefined : placeAt(colo)) });
  }

  originOf(name: string): Origin {
    const origin = this.#origins.get(name);
    if (origin === undefined) throw new Error(`Nobody is called ${name}`);
    return origin;
  }

  /** Since the last call: the letters of what it was sent, and behind a `?` of what it was asked for. */
  told(name: string): string {
    for (const effect of this.channel.takeAnswers()) this.#note(effect);
    return (this.#told.get(name) ?? []).splice(0).join(" ");
  }

  /** Settles what was last sent of each letter. */
  settle(verb: "acks" | "releases" | "retries", letters: string, terms: object = {}): void {
    // What was sent has to be known first.
    for (const effect of this.channel.takeAnswers()) this.#note(effect);
    const entries = Array.from(letters).map((letter) => ({ leaseId: this.#leases.get(letter) ?? "none", ...terms }));
    const { refused } = expectType(this.channel.settle({ [verb]: entries }), "settled");
    if (refused.length > 0) throw new Error(`Refused: ${JSON.stringify(refused)}`);
  }

  historyOf(offset: number): MessageHistory {
    return expectType(this.channel.apply({ type: "history", offset }), "history").history;
  }

  #note({ outcome, connection }: Effect): void {
    const name = [...this.#origins].find(([, one]) => one.connection === connection)?.[0] ?? "";
    const told = this.#told.get(name) ?? [];
    this.#told.set(name, told);
    if (outcome.type === "revoke") {
      const letterOf = (leaseId: string): string => [...this.#leases].find(([, one]) => one === leaseId)?.[0] ?? "none";
      told.push(`?${outcome.leases.flatMap(listLeaseIds).map(letterOf).join("")}`);
      return;
    }
    const { messages, controls, granted } = expectType(outcome, "delivered");
    const letters = messages.map(({ body }) => decodeUtf8(body) ?? "");
    for (const [index, letter] of letters.entries()) this.#leases.set(letter, granted?.leaseIds[index] ?? "");
    told.push(letters.join("") + controls.map(({ control }) => `<${control.type}>`).join(""));
  }
}
