// What rides on a settle call, a checkpoint and puts: all of it or nothing (rule LS12, guarantee G8).
import type { OperationOf, Outcome } from "../../../src/channel/operation.ts";
import { messageBytes } from "../../../src/protocol/message.ts";
import type { RefusedPart } from "../../../src/protocol/problems.ts";
import type { ModelCheckpoints } from "./checkpoints.ts";
import type { ModelDelivery } from "./delivery.ts";
import { type Book, refused } from "./state.ts";
import type { ModelTraffic } from "./traffic.ts";

interface Parts {
  readonly book: Book;
  readonly delivery: ModelDelivery;
  readonly traffic: ModelTraffic;
  readonly checkpoints: ModelCheckpoints;
}

export class ModelRiders {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  settle({ entries, checkpoint, puts }: OperationOf<"settle">, nowMs: number): Outcome {
    const { book, delivery, traffic, checkpoints } = this.#parts;
    const verdict = delivery.judge(entries);
    if ("type" in verdict) return verdict;
    if (checkpoint === undefined && puts === undefined) return delivery.carryOut(verdict, nowMs);
    const faults: RefusedPart[] = verdict.refusals.map(({ pointer, refusal }) => ({ pointer, problem: refusal }));
    const stale = checkpoint && checkpoints.findFault(checkpoint);
    if (stale !== undefined) faults.push({ pointer: "/checkpoint", problem: stale });
    const ending = verdict.judged.filter(({ entry }) => entry.verb === "ack" || entry.verb === "reject");
    const full =
      puts &&
      traffic.refuseRiders(
        puts,
        ending.map(({ message }) => message),
      );
    if (full !== undefined) faults.push({ pointer: "/puts", problem: full });
    if (faults.length > 0) return refused({ kind: "settle-refused", refused: faults });
    const settled = delivery.carryOut(verdict, nowMs);
    const written = checkpoint && checkpoints.write(checkpoint, nowMs);
    const offset = book.state.nextOffset;
    if (puts !== undefined) book.append(puts, puts.map(messageBytes), nowMs);
    const put = puts && { offset, count: puts.length };
    return { ...settled, ...(written && { checkpoint: written }), ...(put && { put }) };
  }
}
