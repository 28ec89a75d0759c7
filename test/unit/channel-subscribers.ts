// Subscribers to a channel of the harness, and what they are sent.
import type { Delivered, Origin, Outcome, StreamTarget } from "../../src/channel/operation.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import type { PutMessage } from "../../src/protocol/message.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, expectType, textMessage } from "./channel-harness.ts";

export const MEMBER = { type: "member", leaseMs: 30_000 } as const satisfies StreamTarget;
export const FIRST = { type: "reader", from: { at: "first" } } as const satisfies StreamTarget;
export const LOG: GivenSettings = { retention: "log" };

export function channelWith(settings: GivenSettings = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

interface Credit {
  readonly messages?: number;
  readonly bytes?: number;
}

/** A credit that what a test sends does not use up, where it does not say one. */
export function creditOf({ messages = 100, bytes = 1_000_000 }: Credit): { messages: number; bytes: number } {
  return { messages, bytes };
}

/** Subscribes on a connection of its own. */
export function subscribe(channel: ChannelHarness, target: StreamTarget, credit: Credit = {}): Origin {
  const origin = { connection: channel.connect(), request: 1 };
  expectType(channel.apply({ type: "subscribe", target, credit: creditOf(credit) }, origin), "subscribed");
  return origin;
}

export function trySubscribe(channel: ChannelHarness, target: StreamTarget, origin?: Origin): Outcome {
  const own = origin ?? { connection: channel.connect(), request: 1 };
  return channel.apply({ type: "subscribe", target, credit: creditOf({}) }, own);
}

export function grant(channel: ChannelHarness, { connection, request }: Origin, credit: Credit): Outcome {
  return channel.apply({ type: "credit", request, credit: creditOf({ bytes: 0, ...credit }) }, { connection, request });
}

/** What was sent since the last look: to which connection, and the texts of each frame. */
export function sent(channel: ChannelHarness): (readonly [number, string])[] {
  return frames(channel).map(([connection, { messages }]) => [connection, messages.map(textOf).join()]);
}

/** The frames that were sent since the last look, each with its connection. */
export function frames(channel: ChannelHarness): (readonly [number, Delivered])[] {
  return channel.takeAnswers().map(({ connection, outcome }) => [connection, expectType(outcome, "delivered")]);
}

export function textOf({ body }: { readonly body: Uint8Array }): string {
  return decodeUtf8(body) ?? "";
}

export function keyed(text: string): PutMessage {
  return { ...textMessage(text), key: "k" };
}
