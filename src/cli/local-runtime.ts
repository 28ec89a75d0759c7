// Runs a worker on the real workerd binary, without the development proxy, with Durable Object storage on disk.
// The pid is workerd's own, so a kill reaches the process that holds the storage. For crash tests, benchmarks and the CLI.
import { type ChildProcess, spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { endWithUs } from "./processes.ts";
import { type BuiltWorker, buildWorker, type DurableObjectBinding, readBuiltWorker } from "./worker-build.ts";
import { formatWorkerdConfig, SOCKET_NAME } from "./workerd-config.ts";

export { buildWorker } from "./worker-build.ts";

const START_TIMEOUT_MS = 20_000;
const STOP_GRACE_MS = 2_000;
const OUTPUT_CHARS_MAX = 65_536;

export interface LocalRuntimeExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** True when `stop` or `kill` asked for it. */
  readonly isExpected: boolean;
  /** The last output of workerd, at most 64 Ki characters. */
  readonly output: string;
}

export interface LocalRuntimeOptions {
  /** The main module of a built worker (see `buildWorker`). Default: the project's own worker, built now, in about 2 s. */
  readonly bundle?: string;
  /** Created when absent. Start again with the same folder to find the same objects. */
  readonly storageDir: string;
  /** Default: a free one, chosen by the kernel. */
  readonly port?: number;
  readonly host?: string;
  /** Added to, and stronger than, the variables of wrangler.toml. */
  readonly vars?: Readonly<Record<string, string>>;
  readonly durableObjects?: readonly DurableObjectBinding[];
  /** Aborting stops the runtime, or rejects the start. */
  readonly signal?: AbortSignal;
  readonly onExit?: (exit: LocalRuntimeExit) => void;
}

export interface LocalRuntime {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** What workerd wrote on stderr and stdout so far: the last 64 Ki characters. */
  output(): string;
  /** Sends a signal that ends a process (default SIGKILL) and resolves when it is gone, its files closed. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Asks workerd to end, and kills it when it has not done so after two seconds. Open sockets keep it from ending by itself. */
  stop(): Promise<void>;
}

/** Resolves when the port answers. Rejects with workerd's own words when the port is taken or the worker does not load. */
export async function startLocalRuntime(options: LocalRuntimeOptions): Promise<LocalRuntime> {
  options.signal?.throwIfAborted();
  const workDir = await mkdtemp(join(tmpdir(), "edge-channel-runtime-"));
  try {
    const bundle = options.bundle ?? (await buildWorker({ outDir: join(workDir, "build") })).bundle;
    const configPath = await writeConfig(workDir, await readBuiltWorker(bundle), options);
    options.signal?.throwIfAborted();
    return await new WorkerdProcess(configPath, options).start();
  } finally {
    // Workerd reads its configuration and the modules in it once.
    await rm(workDir, { recursive: true, force: true });
  }
}

async function writeConfig(workDir: string, worker: BuiltWorker, options: LocalRuntimeOptions): Promise<string> {
  const storageDir = resolve(options.storageDir);
  await mkdir(storageDir, { recursive: true });
  // `embed` looks for files beside the configuration only, so the modules are copied there, under names that need no care.
  const modules = worker.modules.map((module, index) => ({ ...module, file: `module-${index}`, source: module.file }));
  await Promise.all(modules.map(({ source, file }) => copyFile(source, join(workDir, file))));
  const text = formatWorkerdConfig({
    host: options.host ?? "127.0.0.1",
    port: options.port ?? 0,
    storageDir,
    compatibilityDate: worker.compatibilityDate,
    compatibilityFlags: worker.compatibilityFlags,
    modules,
    durableObjects: options.durableObjects ?? worker.durableObjects,
    vars: { ...worker.vars, ...options.vars },
  });
  const configPath = join(workDir, "workerd.capnp");
  await writeFile(configPath, text);
  return configPath;
}

/** One workerd: starting, running, ending (a signal was sent on purpose), gone. `#exited` settles once and never rejects. */
class WorkerdProcess {
  readonly #options: LocalRuntimeOptions;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #output = "";
  #isEnding = false;

  constructor(configPath: string, options: LocalRuntimeOptions) {
    this.#options = options;
    const args = ["serve", "--experimental", "--control-fd=3", configPath, "config"];
    // Workers see UTC in production whatever the time zone of the machine.
    const env = { ...process.env, TZ: "UTC" };
    this.#child = spawn(workerdPath(), args, { env, stdio: ["ignore", "pipe", "pipe", "pipe"] });
    endWithThisProcess(this.#child);
    const collect = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_CHARS_MAX);
    };
    this.#child.stdout?.on("data", collect);
    this.#child.stderr?.on("data", collect);
    this.#exited = new Promise((settle) => {
      // A spawn that fails (no binary, no memory) says "error" and never "exit".
      this.#child.once("error", (error) => {
        this.#output += `${error.message}\n`;
        settle();
      });
      this.#child.once("exit", () => settle());
    });
  }

  async start(): Promise<LocalRuntime> {
    const abort = new AbortController();
    try {
      const port = await Promise.race([this.#listening(abort.signal), this.#failure(abort.signal)]);
      return this.#runtime(port);
    } catch (error) {
      await this.#end("SIGKILL");
      throw error;
    } finally {
      abort.abort();
    }
  }

  async #listening(signal: AbortSignal): Promise<number> {
    const port = await readPort(this.#child.stdio[3] as Readable);
    while (!signal.aborted && !(await answers(this.#options.host ?? "127.0.0.1", port))) await delay(10);
    return port;
  }

  async #failure(signal: AbortSignal): Promise<never> {
    const reason = await Promise.race([
      // The last lines of stderr may arrive after the exit.
      this.#exited.then(() => delay(20, "it ended")),
      delay(START_TIMEOUT_MS, `it did not answer within ${START_TIMEOUT_MS} ms`, { signal }).catch(() => "the start is over"),
      aborted(this.#options.signal, signal),
    ]);
    throw new Error(`Cannot start workerd: ${reason}\n${this.#output.trim()}`, { cause: this.#options.signal?.reason });
  }

  #runtime(port: number): LocalRuntime {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error("Cannot start workerd: it has no process id");
    const { onExit, signal, host = "127.0.0.1" } = this.#options;
    const stop = (): Promise<void> => this.#stop();
    const onAbort = (): void => void stop();
    signal?.addEventListener("abort", onAbort, { once: true });
    void this.#exited.then(() => {
      signal?.removeEventListener("abort", onAbort);
      const { exitCode: code, signalCode } = this.#child;
      onExit?.({ code, signal: signalCode, isExpected: this.#isEnding, output: this.#output });
    });
    return {
      url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
      port,
      pid,
      output: () => this.#output,
      kill: (killSignal = "SIGKILL") => this.#end(killSignal),
      stop,
    };
  }

  async #stop(): Promise<void> {
    const abort = new AbortController();
    const late = delay(STOP_GRACE_MS, undefined, { signal: abort.signal }).then(
      () => this.#end("SIGKILL"),
      () => undefined,
    );
    await Promise.race([this.#end("SIGTERM"), late]);
    abort.abort();
    await this.#exited;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#isEnding = true;
    this.#child.kill(signal);
    await this.#exited;
  }
}

async function readPort(control: Readable): Promise<number> {
  for await (const line of createInterface(control)) {
    const message = JSON.parse(line) as { event?: string; socket?: string; port?: number };
    if (message.event === "listen" && message.socket === SOCKET_NAME && message.port !== undefined) return message.port;
  }
  // The pipe closed before the port was told, so the process is ending: its exit is what gets reported.
  return await new Promise<never>(() => undefined);
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect({ host: host === "0.0.0.0" || host === "::" ? "localhost" : host, port });
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
    socket.once("connect", () => socket.destroy());
  });
}

function aborted(signal: AbortSignal | undefined, until: AbortSignal): Promise<string> {
  return new Promise((settle) => {
    if (signal?.aborted === true) settle("it was aborted");
    signal?.addEventListener("abort", () => settle("it was aborted"), { once: true, signal: until });
  });
}

/** The real binary, of the version that wrangler uses. The package's own command is a script that starts it as a grandchild. */
function workerdPath(): string {
  const wranglerRequire = createRequire(createRequire(import.meta.url).resolve("wrangler/package.json"));
  const workerd = wranglerRequire("workerd") as { default: string };
  return workerd.default;
}

const running = new Set<ChildProcess>();
const END_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
let isHooked = false;

function endWithThisProcess(child: ChildProcess): void {
  running.add(child);
  child.once("exit", () => running.delete(child));
  if (child.pid !== undefined) endWithUs(child, child.pid);
  if (isHooked) return;
  isHooked = true;
  process.once("exit", killRunning);
  for (const signal of END_SIGNALS) {
    const onSignal = (): void => {
      // Somebody else listens too: they decide whether and when the process ends, and "exit" follows then.
      if (process.listenerCount(signal) > 1) return;
      killRunning();
      process.off(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

function killRunning(): void {
  for (const child of running) child.kill("SIGKILL");
}
