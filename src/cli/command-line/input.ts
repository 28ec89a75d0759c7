// The input of the program.
import { fstatSync } from "node:fs";
import { UsageError } from "./given.ts";

export type Input = NodeJS.ReadStream & { readonly fd?: number };

/** Refuses a folder: Node would take it for an input without anything in it. */
export function checkInput({ fd, isTTY }: Input): void {
  if (!isTTY && fd !== undefined && fstatSync(fd).isDirectory()) throw new UsageError("Cannot read the input: it is a folder");
}
