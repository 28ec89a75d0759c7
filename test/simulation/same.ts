// Compares what the channel says with what the model says, cheaply while they agree.
import { Broken } from "./failure.ts";

/** Members that the model does not compute: estimates, wording, secrets, and what belongs to storage. */
const UNMODELLED: ReadonlySet<string> = new Set([
  "retryAfterMs",
  "detail",
  "segments",
  "leaseIds",
  "session",
  "leaseSecret",
  "history",
]);

/** Settings that were found alike before: they are never changed in place, and are compared all the time. */
const ALIKE = new WeakMap<object, object>();

export function expectSame(actual: unknown, expected: unknown, what: string): void {
  if (!isSame(actual, expected)) throw new Broken(`${what}${describeDifference(actual, expected)}`);
}

/** Whether two values are alike; a member that is undefined is as one that is absent. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isTree(a) || !isTree(b)) return false;
  if (a instanceof Uint8Array || b instanceof Uint8Array)
    return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const isSettings = "maxMessageBytes" in a;
  if (isSettings && ALIKE.get(a) === b) return true;
  const names = Object.keys(a);
  let isExact = names.length === Object.keys(b).length;
  for (const name of names) {
    const member = a[name];
    if (member === undefined) isExact = false;
    if (member !== b[name] && !UNMODELLED.has(name) && !isSame(member, b[name])) return false;
  }
  if (!isExact && Object.keys(b).some((name) => b[name] !== undefined && a[name] === undefined && !UNMODELLED.has(name)))
    return false;
  if (isSettings) ALIKE.set(a, b);
  return true;
}

/** Where two values differ first. */
function describeDifference(a: unknown, b: unknown): string {
  if (isTree(a) && isTree(b) && !(a instanceof Uint8Array)) {
    for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
      if (!UNMODELLED.has(name) && !isSame(a[name], b[name])) return `/${name}${describeDifference(a[name], b[name])}`;
    }
  }
  return `\n  channel: ${JSON.stringify(a)}\n  model:   ${JSON.stringify(b)}`;
}

function isTree(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
