// What a page has to load for the client.
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build, type Metafile } from "esbuild";
import { assert, beforeAll, describe, expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
/** Of what is loaded before the page's own program runs. */
const FIRST_BYTES_MAX = 15_000;
/** Of all parts together, but for what reads and writes binary frames. */
const OTHER_BYTES_MAX = 23_300;
/** Of that. */
const CODEC_BYTES_MAX = 5_250;

let metafile: Metafile;
/** The gzipped size of each file, by its path from the root. */
let sizes: ReadonlyMap<string, number>;

beforeAll(async () => {
  const built = await build({
    absWorkingDir: ROOT,
    entryPoints: ["src/client/index.ts"],
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    platform: "browser",
    outdir: "out",
    metafile: true,
    write: false,
  });
  metafile = built.metafile;
  sizes = new Map(built.outputFiles.map(({ path, contents }) => [path.slice(ROOT.length + 1), gzipSync(contents).byteLength]));
});

/** The entry, and what it imports by statements, directly or not. */
function firstFiles(): readonly string[] {
  const files = new Set(
    Object.keys(metafile.outputs).filter((file) => metafile.outputs[file]?.entryPoint === "src/client/index.ts"),
  );
  for (const file of files) {
    for (const { path, kind } of metafile.outputs[file]?.imports ?? []) if (kind === "import-statement") files.add(path);
  }
  return [...files];
}

function sourcesOf(files: readonly string[]): readonly string[] {
  const inputs = files.flatMap((file) => Object.entries(metafile.outputs[file]?.inputs ?? {}));
  return inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([source]) => source);
}

function sizeOf(files: readonly string[]): number {
  return files.reduce((sum, file) => {
    const size = sizes.get(file);
    assert(size !== undefined, `${file} was not built`);
    return sum + size;
  }, 0);
}

describe("the client's bundle", () => {
  test("is small, and so is what a page loads of it at first", () => {
    expect(firstFiles().length).toBeGreaterThan(0);
    expect(sizeOf(firstFiles())).toBeLessThan(FIRST_BYTES_MAX);
    expect(sizeOf([...sizes.keys()].filter((file) => !file.includes("block-codec")))).toBeLessThan(OTHER_BYTES_MAX);
  });

  test("what a socket needs for binary frames is one small part more, loaded with the first of them", () => {
    const codec = [...sizes.keys()].filter((file) => file.includes("block-codec"));

    expect(codec).toHaveLength(1);
    expect(sizeOf(codec)).toBeLessThan(CODEC_BYTES_MAX);
    for (const source of ["src/client/block-codec.ts", "src/protocol/block.ts", "src/protocol/block-writer.ts"]) {
      expect(sourcesOf(firstFiles())).not.toContain(source);
      expect(sourcesOf(codec)).toContain(source);
    }
  });

  test("what consumers, producers, those who watch presence and those who use checkpoints do is not loaded at first", () => {
    const [first, all] = [sourcesOf(firstFiles()), sourcesOf([...sizes.keys()])];

    for (const source of [
      "src/client/group-member.ts",
      "src/client/batch-producer.ts",
      "src/client/presence-watch.ts",
      "src/client/checkpoint-stores.ts",
    ]) {
      expect(first).not.toContain(source);
      expect(all).toContain(source);
    }
  });

  test("runs without Node and takes no schemas with it", () => {
    expect(sourcesOf([...sizes.keys()]).filter((source) => source.includes("node_modules"))).toEqual([]);
  });

  test("the table of colos stays with the service", () => {
    expect(sourcesOf([...sizes.keys()]).filter((source) => source.includes("colos"))).toEqual([]);
  });
});
