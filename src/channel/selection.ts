// Messages that somebody is handed: which records they are. Messages or blocks are made of them when it is known in which form they go.
import { assert } from "../base/assert.ts";
import type { Message } from "../protocol/message.ts";
import type { Run } from "./run.ts";

/** Neighbours in one run. */
interface Neighbours {
  readonly run: Run;
  readonly from: number;
  to: number;
}

export class Selection {
  readonly #stretches: Neighbours[] = [];
  #count = 0;
  #bytes = 0;
  #messages: readonly Message[] | undefined;
  #blocks: readonly Uint8Array[] | undefined;

  get count(): number {
    return this.#count;
  }

  /** As credit and limits count them (rule PT6). */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the message at a place; to be called in the order in which they are handed out. */
  add(run: Run, place: number): void {
    const last = this.#stretches.at(-1);
    if (last?.run === run && last.to === place) last.to = place + 1;
    else this.#stretches.push({ run, from: place, to: place + 1 });
    this.#count += 1;
    this.#bytes += run.messageBytes(place);
  }

  map<Value>(look: (offset: number, key: string | undefined) => Value): Value[] {
    const values: Value[] = [];
    for (const { run, from, to } of this.#stretches) {
      for (let place = from; place < to; place++) values.push(look(run.firstOffset + place, run.key(place)));
    }
    return values;
  }

  get offsets(): number[] {
    return this.map((offset) => offset);
  }

  /** Made when they are first asked for, and the same from then on. */
  get messages(): readonly Message[] {
    return (this.#messages ??= this.#stretches.flatMap(({ run, from, to }) =>
      Array.from({ length: to - from }, (_, index) => run.message(from + index)),
    ));
  }

  /** The same messages in blocks: slices of what is stored. */
  get blocks(): readonly Uint8Array[] {
    return (this.#blocks ??= this.#stretches.map(({ run, from, to }) => run.toBlock(from, to)));
  }
}

interface WithMessages {
  readonly messages: readonly Message[];
}

const selections = new WeakMap<WithMessages, Selection>();

/** Adds a member `messages`; they are made when it is looked at, and where blocks are sent nobody does. */
export function withMessages<Told extends object>(selection: Selection, told: Told): Told & WithMessages {
  const complete = {
    ...told,
    get messages(): readonly Message[] {
      return selection.messages;
    },
  };
  selections.set(complete, selection);
  return complete;
}

/** What the member `messages` was made of. */
export function selectionOf(told: WithMessages): Selection {
  const selection = selections.get(told);
  assert(selection !== undefined, "messages that are handed out were selected");
  return selection;
}
