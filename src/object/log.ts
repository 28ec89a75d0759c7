// The log of a Worker is its console: one JSON object a line.

/** Logs what an operator has to know. `error` is shown with its stack; callers never see it. */
export function logWarning(event: string, facts: Readonly<Record<string, unknown>>, error?: unknown): void {
  // oxlint-disable-next-line no-console -- this is the one place that writes the log
  console.warn(JSON.stringify({ event, ...facts, ...(error !== undefined && { error: describeError(error) }) }));
}

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `\ncaused by ${describeError(error.cause)}`;
  return (error.stack ?? error.message) + cause;
}
