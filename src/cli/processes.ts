// The processes of this computer: which run, who started whom, and how those that we start end when we do.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { promisify } from "node:util";

interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** As its arguments stand, with spaces between them. */
  readonly command: string;
}

const run = promisify(execFile);
const LIST_CHARS_MAX = 16 * 1024 * 1024;

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process is one all the same.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Those that have not ended; where the system does not tell, none. */
export async function listProcesses(): Promise<readonly ProcessFacts[]> {
  if (process.platform === "win32") return [];
  return process.platform === "linux" ? await readProcFolder() : await askPs();
}

/** A container often has no `ps`. */
async function readProcFolder(): Promise<readonly ProcessFacts[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map(readProcess));
  return found.filter((facts) => facts !== undefined);
}

async function readProcess(pid: string): Promise<ProcessFacts | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // "pid (name) state parent group …": a name may have spaces and parentheses of its own.
    const [state = "", parent, group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (isOver(state)) return undefined;
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ");
    return { pid: Number(pid), parent: Number(parent), group: Number(group), command };
  } catch {
    // It ended meanwhile.
    return undefined;
  }
}

async function askPs(): Promise<readonly ProcessFacts[]> {
  const columns = ["pid", "ppid", "pgid", "stat", "command"].flatMap((name) => ["-o", `${name}=`]);
  const { stdout } = await run("ps", ["-A", ...columns], { maxBuffer: LIST_CHARS_MAX }).catch(() => ({ stdout: "" }));
  return stdout.split("\n").flatMap((line) => {
    const [, pid, parent, group, state = "", command = ""] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    return pid === undefined || isOver(state)
      ? []
      : [{ pid: Number(pid), parent: Number(parent), group: Number(group), command }];
  });
}

/** Whether it has ended and only waits for its parent to hear of it. */
function isOver(state: string): boolean {
  return state.startsWith("Z") || state.startsWith("X");
}

/**
 * Ends `target`, a process or a negative number for a group, with this process, be that ended by `kill -9`: a shell waits for the end of its
 * input, which comes then. In a group of its own, so that Ctrl-C leaves it; gone with `child`, before its id can be another's.
 */
export function endWithUs(child: ChildProcess, target: number): void {
  if (process.platform === "win32") return;
  const watcher = spawn("sh", ["-c", 'read -r _; kill -9 "$0"', String(target)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  // Without a shell there is no watching: all other ways to end work all the same.
  watcher.once("error", () => undefined);
  watcher.unref();
  (watcher.stdin as Socket | null)?.unref();
  child.once("exit", () => watcher.kill("SIGKILL"));
}

/** The process that started us, and the one that started that; without the second where the system does not tell. */
export async function findStarters(): Promise<readonly number[]> {
  const { ppid } = process;
  const above = (await listProcesses()).find(({ pid }) => pid === ppid)?.parent;
  return above === undefined ? [ppid] : [ppid, above];
}
