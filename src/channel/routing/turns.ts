// Who is next: a line in which whoever had a turn, and whoever comes, stands at the end. Every step costs the same however long it is.

export interface Turn<Owner> {
  readonly owner: Owner;
  isIn: boolean;
  previous: Turn<Owner> | undefined;
  next: Turn<Owner> | undefined;
}

export function makeTurn<Owner>(owner: Owner): Turn<Owner> {
  return { owner, isIn: false, previous: undefined, next: undefined };
}

export class Turns<Owner> {
  #first: Turn<Owner> | undefined;
  #last: Turn<Owner> | undefined;

  get first(): Owner | undefined {
    return this.#first?.owner;
  }

  add(turn: Turn<Owner>): void {
    if (turn.isIn) return;
    turn.isIn = true;
    turn.previous = this.#last;
    turn.next = undefined;
    if (this.#last === undefined) this.#first = turn;
    else this.#last.next = turn;
    this.#last = turn;
  }

  remove(turn: Turn<Owner>): void {
    if (!turn.isIn) return;
    const { previous, next } = turn;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    turn.isIn = false;
    turn.previous = turn.next = undefined;
  }
}
