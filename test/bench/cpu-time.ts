// The processor time that a process has taken, which only Linux tells of another one.
import { readFile } from "node:fs/promises";

/** The kernel tells times in ticks, on every machine of this length. */
const TICK_MS = 10;
/** Behind the name in its parentheses: time in the process, and in the kernel for it. */
const [USER_FIELD, SYSTEM_FIELD] = [11, 12];

/** Of all its threads, in milliseconds; not a number where it is not told. */
export async function readCpuMs(pid: number): Promise<number> {
  if (process.platform !== "linux") return Number.NaN;
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[USER_FIELD]) + Number(fields[SYSTEM_FIELD])) * TICK_MS;
}
