// Keeps what a build brought, by the contents of all that goes into it: what has not changed is not built again.
import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** So that several states of the sources, of branches or of a benchmark's two sides, do not push each other out. */
const KEPT_MAX = 8;

export interface BuildCacheOptions {
  readonly cacheDir: string;
  /** The folder that all sources lie in. */
  readonly rootDir: string;
  /** Files, and folders with all that is in them, below `rootDir`. One that is absent counts as that. */
  readonly sources: readonly string[];
  /** What else decides what is built. */
  readonly terms: readonly string[];
}

/** Returns what `build` returned for the same sources and terms before, or calls it. A folder that cannot be written only makes it build again. */
export async function buildOnce(options: BuildCacheOptions, build: () => Promise<Buffer>): Promise<Buffer> {
  const path = join(options.cacheDir, await hashSources(options));
  const kept = await readFile(path).catch(() => undefined);
  if (kept !== undefined) return kept;
  const built = await build();
  await keep(options.cacheDir, path, built).catch(() => undefined);
  return built;
}

async function keep(cacheDir: string, path: string, built: Buffer): Promise<void> {
  await mkdir(cacheDir, { recursive: true });
  // Whoever reads at the same time finds all of it, or nothing.
  const unfinished = `${path}.${randomUUID()}`;
  await writeFile(unfinished, built);
  await rename(unfinished, path);
  const others = (await readdir(cacheDir)).map((name) => join(cacheDir, name)).filter((other) => other !== path);
  await forgetOldest(others, KEPT_MAX - 1);
}

async function forgetOldest(paths: readonly string[], keptMax: number): Promise<void> {
  const dated = await Promise.all(paths.map(async (path) => ({ path, atMs: (await stat(path)).mtimeMs })));
  const oldest = dated.toSorted((a, b) => b.atMs - a.atMs).slice(keptMax);
  await Promise.all(oldest.map(({ path }) => rm(path, { force: true })));
}

async function hashSources({ rootDir, sources, terms }: BuildCacheOptions): Promise<string> {
  const hash = createHash("sha256");
  const add = (part: string | Buffer): void => void hash.update(`${part.length}:`).update(part);
  for (const term of terms) add(term);
  for (const source of sources) {
    for (const file of await listFiles(join(rootDir, source))) {
      add(file.slice(rootDir.length));
      add(await readFile(file));
    }
  }
  return hash.digest("hex");
}

/** A file itself, or all that is in a folder, in an order that does not change. */
async function listFiles(path: string): Promise<readonly string[]> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return [];
  if (found.isFile()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}
