// The options that calls have in common.
import { EdgeChannelError } from "./edge-channel-error.ts";

export interface CallOptions {
  /** Aborting it ends the call. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** Refuses what is no options, and a signal that is none, whatever the types say. */
export function checkOptions<Options extends object>(options: Options): Options {
  const { signal }: CallOptions = Object(options);
  const isSignal = signal === undefined || typeof signal?.addEventListener === "function";
  if (isSignal && typeof options === "object" && options !== null) return options;
  throw EdgeChannelError.refused("Cannot take the options: expected an object, its signal an AbortSignal");
}

/** The signal of a call that takes nothing else. */
export function signalOf(options: CallOptions): AbortSignal | undefined {
  const { signal, ...rest } = checkOptions(options);
  refuseUnknown(rest);
  return signal;
}

/** Refuses callbacks that cannot be called: it would show only when there is something to tell. */
export function checkCallbacks(options: object): void {
  for (const [name, value] of Object.entries(options))
    if (/^on[A-Z]/.test(name) && value !== undefined) expectType("function", value, name);
}

/** Refuses what a program without types gave in the place of something else. */
export function expectType(type: "function" | "object" | "string", value: unknown, what: string): void {
  if (typeof value !== type) throw EdgeChannelError.refused(`Cannot take ${typeof value} as ${what}: expected type ${type}`);
}

/**
 * `rest`: what is left of options when others were taken out; what is not in `known` either is none. A misspelt one is not ignored in silence,
 * and one of the type that is forgotten here does not compile.
 */
export function refuseUnknown<Rest extends object, Known extends object = object>(
  rest: Exclude<keyof Rest, keyof Known> extends never ? Rest : never,
  known: Known = {} as Known,
): void {
  for (const name in rest) if (!Object.hasOwn(known, name)) throw EdgeChannelError.refused(`There is no option ${name}`);
}
