// The text of a workerd configuration (Cap'n Proto) for one worker with Durable Objects on disk. Pure: no files.
import type { DurableObjectBinding, ModuleKind } from "./worker-build.ts";

export interface WorkerdConfigInput {
  readonly host: string;
  readonly port: number;
  readonly storageDir: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  /** The main module comes first; `file` is relative to the configuration. */
  readonly modules: readonly { readonly name: string; readonly kind: ModuleKind; readonly file: string }[];
  readonly durableObjects: readonly DurableObjectBinding[];
  readonly vars: Readonly<Record<string, unknown>>;
}

export const SOCKET_NAME = "http";

export function formatWorkerdConfig(input: WorkerdConfigInput): string {
  const address = formatAddress(input.host, input.port);
  const modules = input.modules.map(({ name, kind, file }) => `(name = ${quote(name)}, ${kind} = embed ${quote(file)})`);
  const vars = Object.entries(input.vars).map(([name, value]) =>
    typeof value === "string"
      ? `(name = ${quote(name)}, text = ${quote(value)})`
      : `(name = ${quote(name)}, json = ${quote(JSON.stringify(value))})`,
  );
  const namespaces = input.durableObjects.map(
    ({ name, className }) => `(name = ${quote(name)}, durableObjectNamespace = ${quote(className)})`,
  );
  // Object ids derive from the unique key and the files lie in a folder of that name, so it must be the same at every start.
  const classNames = [...new Set(input.durableObjects.map(({ className }) => className))];
  const classes = classNames.map((name) => `(className = ${quote(name)}, uniqueKey = ${quote(name)}, enableSql = true)`);
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .mainWorker),
    (name = "storage", disk = (path = ${quote(input.storageDir)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = ${quote(SOCKET_NAME)}, address = ${quote(address)}, http = (), service = "main")],
);
const mainWorker :Workerd.Worker = (
  compatibilityDate = ${quote(input.compatibilityDate)},
  compatibilityFlags = ${formatList(input.compatibilityFlags.map(quote))},
  modules = ${formatList(modules)},
  bindings = ${formatList([...vars, ...namespaces])},
  durableObjectNamespaces = ${formatList(classes)},
  durableObjectStorage = ${classes.length === 0 ? "(none = void)" : `(localDisk = "storage")`},
);
`;
}

function formatAddress(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function formatList(items: readonly string[]): string {
  return items.length === 0 ? "[]" : `[\n    ${items.join(",\n    ")},\n  ]`;
}

// Cap'n Proto knows C's escapes but not JSON's \uXXXX, so control characters are written as bytes.
function quote(text: string): string {
  const escaped = text.replace(/[\p{Cc}"\\]/gu, (char) =>
    Array.from(Buffer.from(char), (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join(""),
  );
  return `"${escaped}"`;
}
