// Details of refusals that take more than one sentence to choose from (problems.ts).

interface SoughtMessage {
  readonly offset?: number;
  readonly messageId?: string;
  readonly isKept?: true;
}

export function formatUnknownMessage({ offset, messageId, isKept }: SoughtMessage): string {
  if (messageId !== undefined) return `No message with the id "${messageId}" is kept`;
  return isKept === true ? `The message at offset ${offset} is not quarantined` : `No message is kept at offset ${offset ?? "?"}`;
}

/** One setting never changes; whoever is told to change it would try in vain. */
export function formatConflict(conflicts: readonly string[]): string {
  const others = conflicts.filter((name) => name !== "retention");
  const text = `The channel exists with other values of ${conflicts.join(", ")}`;
  if (others.length === conflicts.length) return `${text}: change them with PATCH`;
  const fixed = `${text}: retention is fixed at creation`;
  return others.length === 0 ? fixed : `${fixed}, change ${others.join(", ")} with PATCH`;
}
