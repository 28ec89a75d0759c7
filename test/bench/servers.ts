// The two sides of every pair, product and floors: each in one workerd of its own, built and started when first asked for.
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildWorker, type LocalRuntime, type LocalRuntimeExit, startLocalRuntime } from "../../src/cli/local-runtime.ts";

// On the project's disk and not in the system's temporary folder, which may be memory: there a commit would cost nothing.
const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
const FLOOR_ENTRY = fileURLToPath(new URL("floor.ts", import.meta.url));
const FLOOR_OBJECTS = [
  { name: "ECHO", className: "EchoFloor" },
  { name: "QUEUED_ECHO", className: "QueuedEchoFloor" },
  { name: "FAN_OUT", className: "FanOutFloor" },
  { name: "ROW", className: "RowFloor" },
  { name: "TAKE", className: "TakeFloor" },
];
/** Lets the product be used without keys on the loopback address. */
const PRODUCT_VARS = { DEVELOPMENT: "1" };

export class Servers {
  readonly #dir: string;
  readonly #runtimes: LocalRuntime[] = [];
  #product: Promise<LocalRuntime> | undefined;
  #floors: Promise<LocalRuntime> | undefined;
  #productBundle: Promise<string> | undefined;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  static async open(): Promise<Servers> {
    await mkdir(CACHE_DIR, { recursive: true });
    const dir = await mkdtemp(join(CACHE_DIR, "bench-"));
    // An interrupted run may leave gigabytes.
    process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
    return new Servers(dir);
  }

  async productUrl(): Promise<string> {
    return (await this.#runningProduct()).url;
  }

  async productPid(): Promise<number> {
    return (await this.#runningProduct()).pid;
  }

  async floorsUrl(): Promise<string> {
    this.#floors ??= this.#startFloors();
    return (await this.#floors).url;
  }

  /** A product of its own for those who stop and start it; the same name finds the same storage. */
  async startProduct(storageName: string): Promise<LocalRuntime> {
    this.#productBundle ??= buildWorker({ outDir: join(this.#dir, "product-bundle") }).then((built) => built.bundle);
    return await this.#start(await this.#productBundle, storageName, PRODUCT_VARS);
  }

  async close(): Promise<void> {
    await Promise.all(this.#runtimes.map((runtime) => runtime.stop()));
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** The last words of all servers, for the report of a failure. */
  output(): string {
    return this.#runtimes
      .map((runtime) => runtime.output())
      .join("\n")
      .trim();
  }

  async #runningProduct(): Promise<LocalRuntime> {
    this.#product ??= this.startProduct("product");
    return await this.#product;
  }

  async #startFloors(): Promise<LocalRuntime> {
    const outDir = join(this.#dir, "floor-bundle");
    const { bundle } = await buildWorker({ outDir, entry: FLOOR_ENTRY, durableObjects: FLOOR_OBJECTS });
    return await this.#start(bundle, "floors", {});
  }

  async #start(bundle: string, storageName: string, vars: Record<string, string>): Promise<LocalRuntime> {
    const onExit = (exit: LocalRuntimeExit): void => {
      if (!exit.isExpected)
        console.error(`workerd (${storageName}) ended by itself: ${exit.code ?? exit.signal}\n${exit.output}`);
    };
    const runtime = await startLocalRuntime({ bundle, storageDir: join(this.#dir, storageName), vars, onExit });
    this.#runtimes.push(runtime);
    return runtime;
  }
}
