// The history checker: reads the events of a run one after another and counts what must not be (verdict.ts). Pure: knows no server.
import { ChannelLedger } from "./channel-ledger.ts";
import type { HistoryEvent, Invoke } from "./history.ts";
import { FaultLog, type Verdict } from "./verdict.ts";

/**
 * What was invoked after another operation was answered is decided after it; what overlaps may be decided either way. An operation with
 * unknown outcome took effect or not, until an inspection tells. So everything reported here contradicts every possible order.
 */
export class HistoryChecker {
  readonly #log = new FaultLog();
  readonly #ledgers = new Map<string, ChannelLedger>();
  readonly #open = new Map<number, Invoke>();

  feed(event: HistoryEvent): void {
    switch (event.type) {
      case "channel": {
        const { channel, maxMessages } = event;
        const report = this.#log.report.bind(this.#log);
        this.#ledgers.set(channel, new ChannelLedger({ channel, maxMessages, report }));
        return;
      }
      case "invoke":
        this.#open.set(event.op, event);
        this.#ledgerOf(event).invoke(event);
        return;
      case "ok":
      case "fail":
      case "unknown": {
        const invoke = this.#open.get(event.op);
        if (invoke === undefined) throw new Error(`The history completes operation ${event.op}, which is not open`);
        this.#open.delete(event.op);
        this.#ledgerOf(invoke).complete(invoke, event);
        return;
      }
      case "close":
        this.#ledgers.get(event.channel)?.close(event.connection);
        return;
      case "kill":
        for (const ledger of this.#ledgers.values()) ledger.kill(event.atMs);
        return;
      case "start":
        for (const ledger of this.#ledgers.values()) ledger.start();
        return;
      case "round":
        return;
    }
  }

  get faults(): number {
    return this.#log.total;
  }

  verdict(): Verdict {
    const ledgers = [...this.#ledgers.values()];
    const sum = (count: (ledger: ChannelLedger) => number): number => ledgers.reduce((all, ledger) => all + count(ledger), 0);
    return {
      faults: { ...this.#log.counts },
      examples: [...this.#log.examples],
      unsettled: sum((ledger) => ledger.unsettled),
      messages: {
        put: sum((ledger) => ledger.totals.stored),
        acked: sum((ledger) => ledger.totals.acked),
        endedUnseen: sum((ledger) => ledger.totals.unseen),
        taken: sum((ledger) => ledger.totals.taken),
        deadLettered: sum((ledger) => ledger.totals.dead),
      },
    };
  }

  #ledgerOf({ channel }: Invoke): ChannelLedger {
    const ledger = this.#ledgers.get(channel);
    if (ledger === undefined) throw new Error(`The history uses channel "${channel}" before it names its limit`);
    return ledger;
  }
}

export function checkHistory(events: Iterable<HistoryEvent>): Verdict {
  const checker = new HistoryChecker();
  for (const event of events) checker.feed(event);
  return checker.verdict();
}
