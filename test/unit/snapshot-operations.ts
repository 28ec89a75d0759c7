// Random operations on a channel, of every kind that changes what is stored; the same numbers make the same operations.
import type { GivenSettings, Retention } from "../../src/protocol/settings.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import { textMessage, type ChannelHarness } from "./channel-harness.ts";

export const RETENTIONS: readonly Retention[] = ["queue", "interest", "log"];

export function settingsOf(retention: Retention): GivenSettings {
  // Without an end of attempts: a lease that ends with a snapshot buries nothing, one that expires would.
  return { retention, delivery: { maxAttempts: -1 }, ...(retention === "log" && { maxMessages: 40 }) };
}

/** Draws whole numbers below a bound, from numbers that are given (again and again). */
export type Draw = (below: number) => number;

export function drawFrom(numbers: readonly number[]): Draw {
  let place = 0;
  return (below) => (numbers[place++ % Math.max(1, numbers.length)] ?? 0) % below;
}

/** Applies random operations and remembers what of them is needed for later ones. */
export class RandomOperations {
  readonly #harness: ChannelHarness;
  readonly #draw: Draw;
  readonly #leaseIds: string[] = [];
  readonly #sequences = new Map<string, number>();
  #puts = 0;

  constructor(harness: ChannelHarness, draw: Draw) {
    this.#harness = harness;
    this.#draw = draw;
  }

  step(): void {
    const harness = this.#harness;
    const draw = this.#draw;
    const group = { group: harness.channel.record?.settings.retention === "queue" ? "default" : `g${draw(2)}` };
    harness.nowMs += draw(3) * 1000;
    const steps: readonly (() => void)[] = [
      () => this.#put(),
      () => this.#put(),
      () => this.#pull(group),
      () => this.#settle(),
      () => harness.apply({ type: "get", max: 1 + draw(4), ...group }),
      () => harness.apply({ type: "create-group", group: `g${draw(2)}`, settings: {}, start: { at: "first" } }),
      () => harness.apply({ type: "seek-group", ...group, to: { at: draw(2) === 0 ? "first" : "last" } }),
      () => harness.apply({ type: "remove", offset: 1 + draw(Math.max(1, this.#puts)) }),
      () => harness.apply({ type: "write-checkpoint", write: this.#checkpoint() }),
      () => harness.apply({ type: "delete-checkpoint", name: `c${draw(3)}` }),
      () => harness.put([`later ${draw(10)}`], { delays: [{ afterMs: 1000 + draw(100) * 1000 }] }),
      () => harness.apply({ type: "redrive", fromOffset: 1, max: 2, filter: {} }),
      () => harness.patch({ maxMessages: 30 + draw(20) }),
      () => (draw(6) === 0 ? harness.apply({ type: "purge" }) : harness.tick(draw(40_000))),
    ];
    steps[draw(steps.length)]?.();
  }

  #put(): void {
    const draw = this.#draw;
    const messages = Array.from({ length: 1 + draw(5) }, () => {
      this.#puts += 1;
      const key = draw(3) === 0 ? {} : { key: `k${draw(3)}` };
      return { ...textMessage(`message ${this.#puts}`), ...key, ...(draw(2) === 0 && { messageId: `id ${draw(9)}` }) };
    });
    const id = `p${draw(3)}`;
    const seq = (this.#sequences.get(id) ?? 0) + 1;
    const condition = [{}, { producer: { id, epoch: 1, seq } }, { idempotencyKey: `once ${draw(20)}` }][draw(3)] ?? {};
    const outcome = this.#harness.putMessages(messages, condition);
    if (outcome.type === "put" && "producer" in condition) this.#sequences.set(id, seq);
  }

  #pull(group: { readonly group: string }): void {
    const lease = { leaseMs: 5000 + this.#draw(30_000), isDetached: true };
    const outcome = this.#harness.apply({ type: "get", max: 1 + this.#draw(5), lease, ...group });
    if (outcome.type === "got") this.#leaseIds.push(...(outcome.granted?.leaseIds ?? []));
  }

  #settle(): void {
    const [leaseId] = this.#leaseIds.splice(this.#draw(Math.max(1, this.#leaseIds.length)), 1);
    if (leaseId === undefined) return;
    const entry = { leaseId };
    const lists = [
      { acks: [entry] },
      { acks: [entry] },
      { rejects: [entry] },
      { retries: [{ ...entry, delayMs: 9000 }] },
      { releases: [entry] },
    ];
    this.#harness.settle(lists[this.#draw(lists.length)] ?? {});
  }

  #checkpoint(): { name: string; value: Uint8Array; contentType: string } {
    return { name: `c${this.#draw(3)}`, value: encodeUtf8(`value ${this.#draw(100)}`), contentType: "text/plain" };
  }
}
