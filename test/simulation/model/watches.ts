// Who is told when producers should slow down, and when: SPEC section BP, word by word.
import type { Origin, Outcome } from "../../../src/channel/operation.ts";
import type { ChannelRecord } from "../../../src/channel/store.ts";
import type { Refusal } from "../../../src/protocol/problems.ts";
import { type Book, ceilingOf, type ModelWatch, refusalOfPut, refused, type Size } from "./state.ts";
import type { ModelTraffic } from "./traffic.ts";

export class ModelWatches {
  readonly #book: Book;
  readonly #traffic: ModelTraffic;

  constructor(book: Book, traffic: ModelTraffic) {
    this.#book = book;
    this.#traffic = traffic;
  }

  find(origin: Origin | undefined): ModelWatch | undefined {
    return this.#book.state.watches.find((one) => one.connection === origin?.connection && one.request === origin.request);
  }

  /** BP3 */
  begin(record: ChannelRecord, origin: Origin): Outcome {
    const { watches } = this.#book.state;
    const refusal = refusalOfPut(record);
    if (refusal !== undefined) return refused(refusal);
    const own = watches.find(({ connection }) => connection === origin.connection);
    const waiting = this.#book.waiters.find((one) => one.connection === origin.connection && one.request === origin.request);
    const inUse = own ?? waiting;
    if (inUse !== undefined) return refused({ kind: "request-in-use", id: inUse.request });
    // Between the marks it is what the others were told.
    const isHigh = watches[0]?.isHigh ?? this.#isAtMark(record, "high");
    this.#book.change({ watches: [...watches, { ...origin, isHigh }] });
    return this.#describe(record, isHigh);
  }

  end(watch: ModelWatch): void {
    this.#book.change({ watches: this.#book.state.watches.filter((one) => one !== watch) });
  }

  disconnect(connection: number): void {
    for (const watch of this.#book.state.watches) if (watch.connection === connection) this.end(watch);
  }

  /** BP4 */
  endAll(refusal: Refusal): void {
    for (const watch of this.#book.state.watches) {
      this.end(watch);
      this.#book.send(watch, { type: "ended", refusal });
    }
  }

  /** BP2 and BP3: at the end of a commit. */
  tell(record: ChannelRecord): void {
    const { watches } = this.#book.state;
    const wasHigh = watches[0]?.isHigh ?? false;
    const isHigh = wasHigh ? !this.#isAtMark(record, "low") : this.#isAtMark(record, "high");
    if (isHigh === wasHigh || watches.length === 0) return;
    this.#book.change({ watches: watches.map((watch) => ({ ...watch, isHigh })) });
    for (const watch of watches) this.#book.send(watch, this.#describe(record, isHigh));
  }

  /** Whether either has reached its high mark, or both have come down to their low ones. */
  #isAtMark(record: ChannelRecord, mark: "high" | "low"): boolean {
    if (record.settings.retention === "log") return mark === "low";
    const { marks } = record.settings;
    const held = this.#held;
    const most = ceilingOf(record);
    // BP1
    const high: Size = {
      messages: Math.min(most.messages, marks.highMessages ?? Math.ceil(most.messages * 0.8)),
      bytes: Math.min(most.bytes, marks.highBytes ?? Math.ceil(most.bytes * 0.8)),
    };
    if (mark === "high") return held.messages >= high.messages || held.bytes >= high.bytes;
    const low: Size = {
      messages: Math.min(high.messages - 1, marks.lowMessages ?? Math.floor(most.messages * 0.5)),
      bytes: Math.min(high.bytes - 1, marks.lowBytes ?? Math.floor(most.bytes * 0.5)),
    };
    return held.messages <= low.messages && held.bytes <= low.bytes;
  }

  #describe(record: ChannelRecord, isHigh: boolean): Outcome {
    const most = ceilingOf(record);
    const held = record.settings.retention === "log" ? { messages: 0, bytes: 0 } : this.#held;
    const credit = { messages: Math.max(0, most.messages - held.messages), bytes: Math.max(0, most.bytes - held.bytes) };
    return { type: "pressure", level: isHigh ? "high" : "low", credit };
  }

  get #held(): Size {
    return this.#traffic.held({ messages: 0, bytes: 0 });
  }
}
