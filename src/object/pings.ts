// Connections that said that they ping, and when they were heard last. The runtime answers pings by itself, so they wake nobody.
import { LIMITS } from "../protocol/limits.ts";

export class Pings {
  /** When the object knows to have heard of each: pings that the runtime answered are not among it. */
  readonly #heardAtMs = new Map<number, number>();
  readonly #phaseMs: number;

  /** `name`: of the channel; not all channels look at the same time. */
  constructor(name: string) {
    let hash = 0;
    for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % LIMITS.silenceAlarmMs;
    this.#phaseMs = hash;
  }

  begin(connection: number, nowMs: number): void {
    this.#heardAtMs.set(connection, nowMs);
  }

  end(connection: number): void {
    this.#heardAtMs.delete(connection);
  }

  has(connection: number): boolean {
    return this.#heardAtMs.has(connection);
  }

  /**
   * When the alarm has to look at the latest, undefined where nobody pings. It follows from the time alone, so that it is known after
   * hibernation as well.
   */
  nextLookAtMs(nowMs: number): number | undefined {
    if (this.#heardAtMs.size === 0) return undefined;
    const { silenceAlarmMs } = LIMITS;
    return (Math.floor((nowMs - this.#phaseMs) / silenceAlarmMs) + 1) * silenceAlarmMs + this.#phaseMs;
  }

  /** Those that were heard too long ago. */
  findSilent(nowMs: number, readPingedAtMs: (connection: number) => number): readonly number[] {
    const isSilent = ([connection, heardAtMs]: readonly [number, number]): boolean =>
      nowMs - heardAtMs > LIMITS.silenceMsMax && nowMs - readPingedAtMs(connection) > LIMITS.silenceMsMax;
    return [...this.#heardAtMs].filter(isSilent).map(([connection]) => connection);
  }
}
