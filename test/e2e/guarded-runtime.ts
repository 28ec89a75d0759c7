// A runtime of the tests' own that wants a token, which they kill and start again as they like.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, beforeAll } from "vitest";
import { buildWorker, type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";

export const TOKEN = "s3cret-token";

export class GuardedRuntime {
  #dir = "";
  #bundle = "";
  #runtime: LocalRuntime | undefined;

  private constructor() {}

  /** One that runs from before the first test of the file until after the last. */
  static forThisFile(): GuardedRuntime {
    const guarded = new GuardedRuntime();
    beforeAll(async () => {
      guarded.#dir = await mkdtemp(join(tmpdir(), "edge-channel-test-"));
      ({ bundle: guarded.#bundle } = await buildWorker({ outDir: join(guarded.#dir, "build") }));
      await guarded.#start();
    });
    afterAll(async () => {
      await guarded.#running.stop();
      await rm(guarded.#dir, { recursive: true, force: true });
    });
    return guarded;
  }

  get url(): string {
    return this.#running.url;
  }

  /** A folder for files of the tests, which goes with the runtime. */
  get dir(): string {
    return this.#dir;
  }

  kill(): Promise<void> {
    return this.#running.kill();
  }

  /** Starts it where it was, with what it had stored. */
  startAgain(): Promise<void> {
    return this.#start(this.#running.port);
  }

  get #running(): LocalRuntime {
    assert(this.#runtime !== undefined, "The runtime was not started");
    return this.#runtime;
  }

  async #start(port?: number): Promise<void> {
    const vars = { API_TOKEN: TOKEN, AUTO_CREATE: "true" };
    const storageDir = join(this.#dir, "storage");
    this.#runtime = await startLocalRuntime({ bundle: this.#bundle, storageDir, vars, ...(port !== undefined && { port }) });
  }
}
