// The platform's timers, in the one form in which the client takes them: tests bring their own.

/** Calls back once after `delayMs`; returns what stops it. */
export type StartTimer = (callback: () => void, delayMs: number) => () => void;

export function startPlatformTimer(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
}
