// One server at a time works on a storage folder. Two things say that one does:
//   a lock of the system on a file in the folder, which ends with the process that holds it, however it ends;
//   a note beside it, which names that process and the group of those it started: they may outlive it, and serve on.
import { constants, readFileSync, rmSync, writeFileSync } from "node:fs";
import { access, mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { isRunning, listProcesses } from "./processes.ts";

const LOCK_FILE = "edge-channel.lock";
const NOTE_FILE = "edge-channel.pid";
/** What runs in the group of a server. Another's group may have got its number. */
const SERVER_COMMAND = /wrangler|workerd/;

/** Another server works on the folder. */
export class StorageTakenError extends Error {}

interface Note {
  readonly pid: number;
  /** The process group of what `pid` started; null before it started anything. */
  readonly group: number | null;
}

export interface StorageLock {
  /** Notes the group of processes that work on the folder for the one that holds the lock. */
  noteGroup(group: number): void;
  /** To be called when all that worked on the folder has ended. */
  release(): void;
}

/**
 * Takes a folder, which is made where it is not there, for this process. Rejects with a `StorageTakenError` that names who has it, and
 * how to end that, where another process has it or one that it started still runs; with an error that has a code where the folder cannot
 * be made or written to.
 */
export async function lockStorage(dir: string): Promise<StorageLock> {
  await makeFolder(dir);
  await access(dir, constants.W_OK);
  const notePath = join(dir, NOTE_FILE);
  const database = openLocked(join(dir, LOCK_FILE));
  const note = readNote(notePath);
  if (database === undefined) throw taken(dir, note !== undefined && isRunning(note.pid) ? [note.pid] : []);
  const pids = await findLeftovers(note);
  if (pids.length > 0) {
    database.close();
    throw taken(dir, pids);
  }
  const write = (group: number | null): void => {
    const held: Note = { pid: process.pid, group };
    writeFileSync(notePath, JSON.stringify(held));
  };
  write(null);
  return {
    noteGroup: write,
    release: () => {
      rmSync(notePath, { force: true });
      database.close();
    },
  };
}

/** With the folders that it is in. Node's own way tries without an end where the system makes none, as in /proc. */
async function makeFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EEXIST" && (await stat(dir)).isDirectory()) return;
    if (code !== "ENOENT") throw error;
    await makeFolder(dirname(dir));
    await mkdir(dir);
  }
}

/** SQLite is what locks a file here, since Node alone can not. Undefined where another process has it. */
function openLocked(path: string): DatabaseSync | undefined {
  const database = new DatabaseSync(path);
  try {
    database.exec("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database.close();
    if (error instanceof Error && error.message.includes("locked")) return undefined;
    throw error;
  }
}

function readNote(path: string): Note | undefined {
  try {
    const note = JSON.parse(readFileSync(path, "utf8")) as Partial<Note>;
    return typeof note.pid === "number"
      ? { pid: note.pid, group: typeof note.group === "number" ? note.group : null }
      : undefined;
  } catch {
    // There is none, or it was cut by a crash of the computer, which nothing has survived.
    return undefined;
  }
}

/** What still runs of a server whose first process has ended. */
async function findLeftovers(note: Note | undefined): Promise<number[]> {
  const group = note?.group ?? null;
  if (group === null) return [];
  const processes = await listProcesses();
  return processes.filter((one) => one.group === group && SERVER_COMMAND.test(one.command)).map(({ pid }) => pid);
}

function taken(dir: string, pids: readonly number[]): StorageTakenError {
  const who = pids.length === 0 ? "another server" : `another server (process ${pids.join(", ")})`;
  const how = pids.length === 0 ? "End it" : `End it with "kill ${pids.join(" ")}"`;
  return new StorageTakenError(
    `Cannot keep the channels in ${dir}: ${who} works on it, and two at once would destroy them.\n${how}, or choose another folder with --storage.`,
  );
}
