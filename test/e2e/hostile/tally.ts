// How often each route, frame type, mutation and answer occurred, and what went wrong, each mistake once.

export class Tally {
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #violations = new Map<string, { count: number; example: string }>();

  count(group: string, name: string): void {
    const names = this.#counts.get(group) ?? new Map<string, number>();
    names.set(name, (names.get(name) ?? 0) + 1);
    this.#counts.set(group, names);
  }

  of(group: string, name: string): number {
    return this.#counts.get(group)?.get(name) ?? 0;
  }

  total(group: string): number {
    return [...(this.#counts.get(group)?.values() ?? [])].reduce((sum, count) => sum + count, 0);
  }

  /** `example` is what was sent; violations with the same words are counted. */
  violate(what: string, example: string): void {
    const violation = this.#violations.get(what) ?? { count: 0, example };
    violation.count += 1;
    this.#violations.set(what, violation);
  }

  violations(): string[] {
    return [...this.#violations].map(([what, { count, example }]) => `${count}x ${what} <- ${example}`);
  }

  format(): string {
    const lines = [...this.#counts].map(([group, names]) => {
      const sorted = [...names].sort(([, a], [, b]) => b - a);
      return `${group}: ${sorted.map(([name, count]) => `${name} ${count}`).join(", ")}`;
    });
    return lines.join("\n");
  }
}
