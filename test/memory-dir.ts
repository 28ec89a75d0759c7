// Where tests store what only has to outlive a process: waiting for a busy disk takes longer than everything else they do.
import { statfsSync } from "node:fs";

/** A file system in memory, which a container may have made too small. */
const MEMORY_DIR = "/dev/shm";
const FREE_BYTES_MIN = 2 ** 31;

/** Undefined where there is none, or too little is free. */
export function findMemoryDir(): string | undefined {
  try {
    const { bavail, bsize } = statfsSync(MEMORY_DIR);
    return bavail * bsize >= FREE_BYTES_MIN ? MEMORY_DIR : undefined;
  } catch {
    return undefined;
  }
}
