// Builds what the npm package ships into dist/: the client as modules for every platform, the worker to embed as another, the
// declarations of both, and the command line.
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
  entryPoints: ["src/client/index.ts", "src/client/service-binding.ts", "src/testing/index.ts"],
  outbase: "src",
  outdir: "dist",
  bundle: true,
  // What the entries share is there once: an error of the one is an error of the other. What only consumers and producers need is
  // loaded with the first of them.
  splitting: true,
  // Beside the client, so that who serves its folder to a browser serves all of it.
  chunkNames: "client/[name]-[hash]",
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
await build({
  absWorkingDir: PROJECT_DIR,
  entryPoints: ["src/worker/embed.ts"],
  outfile: "dist/worker/embed.js",
  bundle: true,
  format: "esm",
  platform: "neutral",
  target: "es2024",
  // One of its libraries is no module, and says where it begins as those did.
  mainFields: ["module", "main"],
  external: ["cloudflare:workers"],
  sourcemap: true,
  legalComments: "none",
});
for (const config of ["src/client/tsconfig.build.json", "src/worker/tsconfig.build.json", "src/testing/tsconfig.build.json"]) {
  await promisify(execFile)("tsc", ["-p", config], { cwd: PROJECT_DIR });
}
