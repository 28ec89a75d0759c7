// What the streams of messages have in common as async iterables.

/** Ends as `return` and disposal do, and cleanly; a call of `return` need not wait for the next message. */
export abstract class MessageIterator<Message> implements AsyncIterableIterator<Message, void, undefined>, AsyncDisposable {
  readonly #messages = this.iterate();
  #wake: () => void = () => undefined;

  next(): Promise<IteratorResult<Message, void>> {
    return this.#messages.next();
  }

  /** Ends it; what was not taken is given up. */
  return(): Promise<IteratorResult<Message, void>> {
    this.leave();
    return this.#messages.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** Yields messages; begins when the first one is asked for. */
  protected abstract iterate(): AsyncGenerator<Message, void, undefined>;

  /** Makes `iterate` end. */
  protected abstract leave(): void;

  /** Resolves at the next `wake`. */
  protected sleep(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  protected wake(): void {
    this.#wake();
  }
}
