// Builds a worker once, as `wrangler deploy` would, into a folder that `startLocalRuntime` can start from again and again.
// Wrangler's own dry run makes the bundle, and its upload form names every module and binding: no setting is written twice.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { buildOnce } from "./build-cache.ts";

const PROJECT_DIR = fileURLToPath(new URL("../../", import.meta.url));
const BUILD_TIMEOUT_MS = 60_000;
/** Where tools keep what can be made again. */
const CACHE_DIR = join(PROJECT_DIR, "node_modules/.cache/edge-channel");
/** All that decides what becomes of the project's own worker: dependencies and wrangler are named by the lockfile. */
const WORKER_SOURCES = ["src", "wrangler.toml", "package.json", "package-lock.json", "tsconfig.json"];
const MANIFEST_NAME = "worker.json";

export type ModuleKind = "esModule" | "commonJsModule" | "text" | "data" | "wasm" | "json";

export interface WorkerModule {
  readonly name: string;
  readonly kind: ModuleKind;
  /** Absolute path of the module's contents. */
  readonly file: string;
}

export interface DurableObjectBinding {
  readonly name: string;
  readonly className: string;
}

export interface WorkerSettings {
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly durableObjects: readonly DurableObjectBinding[];
  /** Every plain variable of the configuration; a value that is not text is a JSON binding, as in production. */
  readonly vars: Readonly<Record<string, unknown>>;
  /** Bindings that the bare runtime does not offer (rate limits, assets, …): they are absent from `env`. */
  readonly unsupportedBindings: readonly string[];
}

export interface BuiltWorker extends WorkerSettings {
  /** Path of the main module: what to pass as `bundle`. */
  readonly bundle: string;
  /** The main module comes first. */
  readonly modules: readonly WorkerModule[];
}

export interface BuildWorkerOptions {
  readonly outDir: string;
  /** Default: the project's wrangler.toml. */
  readonly configPath?: string;
  /** Another entry file than the configuration's `main`; its Durable Objects are then the ones given here, none by default. */
  readonly entry?: string;
  readonly durableObjects?: readonly DurableObjectBinding[];
}

/**
 * Bundles the worker into `outDir`, with a manifest beside the modules. The project's own worker is built once for the same sources. Rejects
 * with wrangler's output when the build fails.
 */
export async function buildWorker(options: BuildWorkerOptions): Promise<BuiltWorker> {
  const outDir = resolve(options.outDir);
  const isOwn = options.entry === undefined && options.configPath === undefined;
  const form = await (isOwn ? buildOwnWorker() : buildForm(options));
  await mkdir(outDir, { recursive: true });
  return await unpackUploadForm(form, outDir);
}

function buildOwnWorker(): Promise<Buffer> {
  const terms = [process.env["CLOUDFLARE_ENV"] ?? ""];
  return buildOnce({ cacheDir: CACHE_DIR, rootDir: PROJECT_DIR, sources: WORKER_SOURCES, terms }, () => buildForm({}));
}

/** What wrangler would upload. */
async function buildForm(options: Omit<BuildWorkerOptions, "outDir">): Promise<Buffer> {
  const configPath = resolve(options.configPath ?? join(PROJECT_DIR, "wrangler.toml"));
  const workDir = await mkdtemp(join(tmpdir(), "edge-channel-build-"));
  try {
    const { entry } = options;
    const usedConfigPath = entry === undefined ? configPath : join(workDir, "wrangler.json");
    if (entry !== undefined) await writeConfigForEntry({ ...options, entry, configPath, usedConfigPath });
    const formPath = join(workDir, "worker.form");
    await runWrangler(["deploy", "--dry-run", "--config", usedConfigPath, "--outfile", formPath], workDir);
    return await readFile(formPath);
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

/**
 * What `bundle` consists of: the manifest that `buildWorker` left beside it, or, for an ESM file made in another way, this file
 * alone with the settings of the project's configuration.
 */
export async function readBuiltWorker(bundle: string): Promise<BuiltWorker> {
  const main = resolve(bundle);
  const manifest = await readFile(join(dirname(main), MANIFEST_NAME), "utf8").catch(() => undefined);
  if (manifest !== undefined) {
    // The manifest is our own output, written by the same version of this file.
    const built = JSON.parse(manifest) as BuiltWorker;
    if (resolve(built.bundle) === main) return built;
  }
  const settings = await readWorkerSettings();
  return { ...settings, bundle: main, modules: [{ name: basename(main), kind: "esModule", file: main }] };
}

interface WranglerConfig {
  readonly compatibility_date?: string;
  readonly compatibility_flags: readonly string[];
  readonly durable_objects: { readonly bindings: readonly { readonly name: string; readonly class_name: string }[] };
  readonly vars: Readonly<Record<string, unknown>>;
}

/** The settings of a wrangler configuration, without building anything. Loads wrangler, which takes about a second. */
async function readWorkerSettings(configPath: string = join(PROJECT_DIR, "wrangler.toml")): Promise<WorkerSettings> {
  const { unstable_readConfig: readConfig } = await import("wrangler");
  // Wrangler's own type of this is made of types that its package leaves out.
  const config = readConfig({ config: configPath }) as WranglerConfig;
  if (config.compatibility_date === undefined) throw new Error(`Cannot use ${configPath}: it has no compatibility_date`);
  return {
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    durableObjects: config.durable_objects.bindings.map((binding) => ({ name: binding.name, className: binding.class_name })),
    vars: config.vars,
    unsupportedBindings: [],
  };
}

async function writeConfigForEntry(
  options: Omit<BuildWorkerOptions, "outDir"> & { entry: string; configPath: string; usedConfigPath: string },
): Promise<void> {
  const settings = await readWorkerSettings(options.configPath);
  const bindings = (options.durableObjects ?? []).map(({ name, className }) => ({ name, class_name: className }));
  const config = {
    name: "edge-channel-entry",
    main: resolve(options.entry),
    compatibility_date: settings.compatibilityDate,
    compatibility_flags: settings.compatibilityFlags,
    durable_objects: { bindings },
    // Only keeps wrangler from warning that nothing creates the classes.
    migrations: [{ tag: "v1", new_sqlite_classes: bindings.map((binding) => binding.class_name) }],
  };
  await writeFile(options.usedConfigPath, JSON.stringify(config));
}

async function runWrangler(args: readonly string[], logDir: string): Promise<void> {
  const packagePath = createRequire(import.meta.url).resolve("wrangler/package.json");
  const script = join(dirname(packagePath), "bin", "wrangler.js");
  const child = spawn(process.execPath, [script, ...args], {
    cwd: PROJECT_DIR,
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", WRANGLER_LOG_PATH: logDir },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: BUILD_TIMEOUT_MS,
  });
  let output = "";
  const collect = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const code = await new Promise<number | null>((settle, reject) => {
    child.once("error", reject);
    child.once("close", settle);
  });
  if (code === 0) return;
  const words = stripVTControlCharacters(output).trim();
  throw new Error(`Cannot build the worker: wrangler ${args.join(" ")} ended with ${code ?? "a signal"}\n${words}`);
}

interface UploadBinding {
  readonly name: string;
  readonly type: string;
  readonly text?: string;
  readonly json?: unknown;
  readonly class_name?: string;
}

interface UploadMetadata {
  readonly main_module: string;
  readonly bindings: readonly UploadBinding[];
  readonly compatibility_date: string;
  readonly compatibility_flags?: readonly string[];
}

async function unpackUploadForm(bytes: Buffer, outDir: string): Promise<BuiltWorker> {
  // The first line of a multipart body is its boundary behind two hyphens.
  const boundary = bytes.toString("latin1", 2, bytes.indexOf("\r\n"));
  const headers = { "content-type": `multipart/form-data; boundary=${boundary}` };
  const form = await new Response(new Uint8Array(bytes), { headers }).formData();
  const text = form.get("metadata");
  if (typeof text !== "string") throw new Error("Cannot read the built worker: wrangler's upload form has no metadata");
  const metadata = JSON.parse(text) as UploadMetadata;
  const modules: WorkerModule[] = [];
  for (const [partName, part] of form) {
    if (typeof part === "string" || part.type === "application/source-map") continue;
    const name = partName.replace(/^\.\//u, "");
    const file = join(outDir, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, new Uint8Array(await part.arrayBuffer()));
    const module = { name, kind: moduleKindOf(part.type, name), file };
    if (name === metadata.main_module) modules.unshift(module);
    else modules.push(module);
  }
  const built = { bundle: join(outDir, metadata.main_module), modules, ...settingsOf(metadata) };
  await writeFile(join(outDir, MANIFEST_NAME), `${JSON.stringify(built, undefined, 2)}\n`);
  return built;
}

function settingsOf(metadata: UploadMetadata): WorkerSettings {
  const vars: Record<string, unknown> = {};
  const durableObjects: DurableObjectBinding[] = [];
  const unsupportedBindings: string[] = [];
  for (const binding of metadata.bindings) {
    if (binding.type === "plain_text") vars[binding.name] = binding.text;
    else if (binding.type === "json") vars[binding.name] = binding.json;
    else if (binding.type === "durable_object_namespace" && binding.class_name !== undefined) {
      durableObjects.push({ name: binding.name, className: binding.class_name });
    } else unsupportedBindings.push(binding.name);
  }
  return {
    compatibilityDate: metadata.compatibility_date,
    compatibilityFlags: metadata.compatibility_flags ?? [],
    durableObjects,
    vars,
    unsupportedBindings,
  };
}

const MODULE_KINDS: Readonly<Record<string, ModuleKind>> = {
  "application/javascript+module": "esModule",
  "application/javascript": "commonJsModule",
  "application/wasm": "wasm",
  "application/octet-stream": "data",
  "application/json": "json",
  "text/plain": "text",
};

function moduleKindOf(contentType: string, name: string): ModuleKind {
  const kind = MODULE_KINDS[contentType.split(";", 1)[0] ?? ""];
  if (kind === undefined) throw new Error(`Cannot use module "${name}" of the built worker: unknown type "${contentType}"`);
  return kind;
}
