// Builds what the npm package ships into dist/: the client as one module for every platform, its declarations, and the command line.
import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";

const PROJECT_DIR = fileURLToPath(new URL("../../", import.meta.url));
const DIST_DIR = fileURLToPath(new URL("../../dist/", import.meta.url));

await rm(DIST_DIR, { recursive: true, force: true });
await build({
  absWorkingDir: PROJECT_DIR,
  entryPoints: ["src/client/index.ts"],
  outdir: "dist/client",
  bundle: true,
  // What only consumers and producers need is loaded with the first of them.
  splitting: true,
  format: "esm",
  platform: "neutral",
  target: "es2022",
  sourcemap: true,
  legalComments: "none",
});
await build({
  absWorkingDir: PROJECT_DIR,
  entryPoints: ["src/cli/channel.ts"],
  outfile: "dist/cli/channel.js",
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node22",
  legalComments: "none",
  // A library that is no module asks for Node's modules by `require`.
  banner: {
    js: '#!/usr/bin/env node\nimport { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);',
  },
});
await promisify(execFile)("tsc", ["-p", "src/client/tsconfig.build.json"], { cwd: PROJECT_DIR });
