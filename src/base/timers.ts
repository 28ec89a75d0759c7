// Timers in the one form in which all that waits takes them, so that tests bring their own.

/** Calls back once after `delayMs`; returns what stops it. */
export type StartTimer = (callback: () => void, delayMs: number) => () => void;
