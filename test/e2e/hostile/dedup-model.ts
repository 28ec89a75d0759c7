// What producers' numbers, idempotency keys and expected offsets make of puts: written from SPEC section DD.
import { parseObject } from "./verdict.ts";
import type { RequestSpec } from "./request.ts";
import type { ExpectedMessage, PutReply } from "./delivery-forms.ts";
import type { SeededRandom } from "./seeded-random.ts";

interface ProducerMark {
  readonly id: string;
  readonly epoch: number;
  readonly seq: number;
}

/** The ways to put once, as the members of a frame. */
export interface Conditions {
  readonly producer?: ProducerMark;
  readonly idempotencyKey?: string;
  readonly expectedOffset?: number;
}

interface Outcome {
  readonly offset: number | null;
  readonly count: number;
  /** How many messages the put had, those that enter later included. */
  readonly messages: number;
  /** The messages of the put; their delays are not compared. */
  readonly content: string;
}

interface Producer {
  readonly epoch: number;
  /** The outcome of number n is the item n - 1. */
  readonly outcomes: readonly Outcome[];
}

export class DedupModel {
  readonly #producers = new Map<string, Producer>();
  readonly #keys = new Map<string, Outcome>();

  clear(): void {
    this.#producers.clear();
    this.#keys.clear();
  }

  /** The last number of a producer that is known, or the next one. */
  suggest(random: SeededRandom): ProducerMark | undefined {
    if (this.#producers.size === 0) return undefined;
    const [id, { epoch, outcomes }] = random.pick([...this.#producers]);
    return { id, epoch, seq: outcomes.length + (random.chance(0.3) ? 1 : 0) };
  }

  /** Judges an accepted put, and takes note of a new one; says where it should have been refused or answered otherwise. */
  judge(conditions: Conditions, put: readonly ExpectedMessage[], reply: PutReply): string | undefined {
    const { producer, idempotencyKey, expectedOffset } = conditions;
    if (reply.duplicate === true) return this.#judgeDuplicate(conditions, put, reply);
    if (producer !== undefined && producer.seq !== this.#expectedSeq(producer)) return `accepted ${describe(producer)} as new`;
    if (idempotencyKey !== undefined && this.#keys.has(idempotencyKey)) return `accepted the key ${idempotencyKey} as new`;
    const isElsewhere = expectedOffset !== undefined && reply.offset !== null && reply.offset !== expectedOffset;
    if (isElsewhere) return `put at ${reply.offset} what expects ${expectedOffset}`;
    const outcome = { offset: reply.offset, count: reply.count, messages: put.length, content: contentOf(put) };
    if (idempotencyKey !== undefined) this.#keys.set(idempotencyKey, outcome);
    if (producer !== undefined) this.#note(producer, outcome);
    return undefined;
  }

  /** A refusal tells what is there. */
  checkRefusal(problem: Readonly<Record<string, unknown>>, nextOffset: number): string | undefined {
    const { kind, producerId, epoch, seq, expectedSeq, idempotencyKey } = problem;
    const known = this.#producers.get(String(producerId));
    const given = { id: String(producerId), epoch: Number(epoch), seq: Number(seq) };
    switch (kind) {
      case "producer-sequence-gap":
        return expectedSeq === this.#expectedSeq(given)
          ? undefined
          : `expects number ${String(expectedSeq)} of ${describe(given)}`;
      case "stale-producer-epoch":
        return known?.epoch === epoch ? undefined : `tells the epoch ${String(epoch)} instead of ${known?.epoch ?? "none"}`;
      case "producer-sequence-reused": {
        const first = this.#outcomeOf(given);
        const isSame = first?.offset === problem["offset"] && first?.messages === problem["count"];
        return isSame ? undefined : `tells ${JSON.stringify(problem)} instead of ${JSON.stringify(first)}`;
      }
      case "idempotency-key-reused":
        return this.#keys.has(String(idempotencyKey)) ? undefined : `knows the key ${String(idempotencyKey)}`;
      case "offset-conflict":
        return problem["nextOffset"] === nextOffset ? undefined : `tells the next offset ${String(problem["nextOffset"])}`;
      default:
        return undefined;
    }
  }

  #judgeDuplicate(
    { producer, idempotencyKey }: Conditions,
    put: readonly ExpectedMessage[],
    reply: PutReply,
  ): string | undefined {
    const isOfKey = producer === undefined && idempotencyKey !== undefined;
    const first = isOfKey ? this.#keys.get(idempotencyKey) : producer && this.#outcomeOf(producer);
    if (first === undefined) return "answered as a duplicate what is none";
    if (isOfKey && first.content !== contentOf(put)) return `answered other messages as duplicates of ${idempotencyKey}`;
    if (reply.scheduled !== undefined || reply.scheduledId !== undefined) return "a duplicate names a scheduledId";
    if (first.messages !== put.length) return `answered ${put.length} messages as a duplicate of ${first.messages}`;
    const isSame = first.offset === reply.offset && first.count === reply.count;
    return isSame ? undefined : `a duplicate is ${reply.count} at ${reply.offset} instead of ${first.count} at ${first.offset}`;
  }

  #expectedSeq({ id, epoch }: ProducerMark): number | undefined {
    const known = this.#producers.get(id);
    if (known === undefined || epoch > known.epoch) return 1;
    return epoch === known.epoch ? known.outcomes.length + 1 : undefined;
  }

  #outcomeOf({ id, epoch, seq }: ProducerMark): Outcome | undefined {
    const known = this.#producers.get(id);
    return known?.epoch === epoch ? known.outcomes[seq - 1] : undefined;
  }

  #note({ id, epoch }: ProducerMark, outcome: Outcome): void {
    const known = this.#producers.get(id);
    const before = known?.epoch === epoch ? known.outcomes : [];
    this.#producers.set(id, { epoch, outcomes: [...before, outcome] });
  }
}

function describe({ id, epoch, seq }: ProducerMark): string {
  return `${id}, epoch ${epoch}, number ${seq}`;
}

function contentOf(put: readonly ExpectedMessage[]): string {
  return JSON.stringify(put.map(({ isDelayed: _, body, ...message }) => ({ ...message, body: body?.toString("base64") })));
}

/** The conditions of a put over HTTP that was accepted. */
export function conditionsOf({ headers, query }: RequestSpec): Conditions {
  const find = (wanted: string): string | undefined => headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
  const [id, epoch, seq, key] = ["producer-id", "producer-epoch", "producer-seq", "idempotency-key"].map(find);
  const expectedOffset = new Map(query).get("expectedOffset");
  return {
    ...(id !== undefined && { producer: { id, epoch: Number(epoch), seq: Number(seq) } }),
    ...(key !== undefined && { idempotencyKey: unquote(key) }),
    ...(expectedOffset !== undefined && { expectedOffset: Number(expectedOffset) }),
  };
}

export function conditionsOfFrame(text: string): Conditions {
  return parseObject(text) ?? {};
}

function unquote(key: string): string {
  return key.startsWith('"') ? key.slice(1, -1).replaceAll(/\\(.)/g, "$1") : key;
}
