// The service on the real runtime, which can be killed and comes back on the same storage and port.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildWorker, type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";

// On the project's disk and not in the system's temporary folder, which may be memory.
const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));

export class SoakServer {
  readonly #dir: string;
  readonly #bundle: string;
  #runtime: LocalRuntime;

  private constructor(dir: string, bundle: string, runtime: LocalRuntime) {
    this.#dir = dir;
    this.#bundle = bundle;
    this.#runtime = runtime;
  }

  static async start(): Promise<SoakServer> {
    await mkdir(CACHE_DIR, { recursive: true });
    const dir = await mkdtemp(join(CACHE_DIR, "soak-"));
    const { bundle } = await buildWorker({ outDir: join(dir, "build") });
    return new SoakServer(dir, bundle, await startOn(dir, bundle, 0));
  }

  get url(): string {
    return this.#runtime.url;
  }

  /** Of workerd itself. */
  get pid(): number {
    return this.#runtime.pid;
  }

  /** Ends it with signal 9 and starts it again. */
  async killAndStart(): Promise<void> {
    const { port } = this.#runtime;
    await this.#runtime.kill();
    this.#runtime = await startOn(this.#dir, this.#bundle, port);
  }

  /** Ends it, and removes its storage. */
  async stop(): Promise<void> {
    await this.#runtime.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

function startOn(dir: string, bundle: string, port: number): Promise<LocalRuntime> {
  return startLocalRuntime({ bundle, storageDir: join(dir, "storage"), port, vars: { DEVELOPMENT: "1" } });
}
