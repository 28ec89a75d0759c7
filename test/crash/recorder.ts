// Records a run: every event goes to the file, to the checker and to the tally.
import { HistoryChecker } from "./checker.ts";
import { type Call, type HistoryEvent, HistoryWriter, type Mark, type Result } from "./history.ts";
import { Tally } from "./tally.ts";

/** The outcome of a request to the service. */
export type Reply<Value> =
  | { readonly type: "ok"; readonly value: Value }
  | { readonly type: "fail"; readonly kind: string }
  | { readonly type: "unknown" };

export class Recorder {
  readonly checker = new HistoryChecker();
  readonly tally = new Tally();
  readonly #writer: HistoryWriter;
  #ops = 0;

  constructor(path: string) {
    this.#writer = new HistoryWriter(path);
  }

  mark(mark: Mark): void {
    this.#feed(mark);
  }

  /** Records the invocation, runs it, and records its outcome in the turn in which it became known. */
  async record<Answer extends Result>(
    where: { readonly channel: string; readonly connection: string },
    call: Call,
    run: () => Promise<Reply<Answer>>,
  ): Promise<Reply<Answer>> {
    this.#ops += 1;
    const op = this.#ops;
    this.#feed({ type: "invoke", op, atMs: Date.now(), ...where, call });
    const reply = await run();
    const atMs = Date.now();
    if (reply.type === "ok") this.#feed({ type: "ok", op, atMs, result: reply.value });
    else if (reply.type === "fail") this.#feed({ type: "fail", op, atMs, kind: reply.kind });
    else this.#feed({ type: "unknown", op, atMs });
    return reply;
  }

  close(): Promise<void> {
    return this.#writer.close();
  }

  #feed(event: HistoryEvent): void {
    this.#writer.write(event);
    this.checker.feed(event);
    this.tally.feed(event);
  }
}
