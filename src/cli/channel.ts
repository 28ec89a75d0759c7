// `npm run channel -- COMMAND`: channels from a shell. `--help` says what the commands do; each is a file in commands/.
// What an older Node lacks is not imported by its name: the program would not begin, and could not say what it needs.
import * as nodeModule from "node:module";

const EXIT_GRACE_MS = 1_000;
/** The first with WebSockets. */
const NODE_MAJOR_MIN = 22;

if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR_MIN) {
  console.error(`edge-channel needs Node ${NODE_MAJOR_MIN} or newer, this is ${process.versions.node}`);
  process.exit(2);
}
// Without it each call would strip the types of all sources anew, which takes longer than most commands. The first of Node 22 had none.
const { enableCompileCache }: Partial<typeof nodeModule> = nodeModule;
enableCompileCache?.();
const { main } = await import("./command-line/main.ts");
process.exitCode = await main(process.argv.slice(2));
// A connection that a hanging server does not close would keep the process alive.
setTimeout(() => process.exit(), EXIT_GRACE_MS).unref();
