// The platform's timers, in the one form in which the client takes them.
export type { StartTimer } from "../base/timers.ts";

export function startPlatformTimer(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
}
