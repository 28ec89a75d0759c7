// A binary heap: the least of many is found at once, and adding or taking one costs the logarithm of their number.

export class MinHeap<Item> {
  readonly #items: Item[] = [];
  readonly #isLess: (a: Item, b: Item) => boolean;

  constructor(isLess: (a: Item, b: Item) => boolean) {
    this.#isLess = isLess;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): Item | undefined {
    return this.#items[0];
  }

  push(item: Item): void {
    let place = this.#items.length;
    this.#items.push(item);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = this.#items[parent];
      if (above === undefined || !this.#isLess(item, above)) break;
      this.#items[place] = above;
      place = parent;
    }
    this.#items[place] = item;
  }

  pop(): Item | undefined {
    const least = this.#items[0];
    const last = this.#items.pop();
    if (last !== undefined && this.#items.length > 0) this.#sink(last);
    return least;
  }

  clear(): void {
    this.#items.length = 0;
  }

  #sink(item: Item): void {
    const { length } = this.#items;
    let place = 0;
    for (;;) {
      const left = 2 * place + 1;
      const right = left + 1;
      let child = this.#items[left];
      if (left >= length || child === undefined) break;
      let childPlace = left;
      const other = this.#items[right];
      if (other !== undefined && this.#isLess(other, child)) {
        child = other;
        childPlace = right;
      }
      if (!this.#isLess(child, item)) break;
      this.#items[place] = child;
      place = childPlace;
    }
    this.#items[place] = item;
  }
}
