// What a page has to load for the client.
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { assert, expect, test } from "vitest";

const BYTES_MAX = 15_000;

test("the client is small, runs without Node and takes no schemas with it", async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: [resolve(import.meta.dirname, "../../src/client/index.ts")],
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    metafile: true,
    write: false,
  });

  const [bundle] = outputFiles;
  assert(bundle !== undefined);
  expect(gzipSync(bundle.contents).byteLength).toBeLessThan(BYTES_MAX);
  const parts = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.entries(inputs));
  const used = parts.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([name]) => name);
  expect(used.filter((name) => name.includes("node_modules"))).toEqual([]);
});
