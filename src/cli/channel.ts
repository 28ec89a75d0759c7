// `npm run channel -- COMMAND`: channels from a shell. `--help` says what the commands do; each is a file in commands/.
import { enableCompileCache } from "node:module";

const EXIT_GRACE_MS = 1_000;

// Without it each call would strip the types of all sources anew, which takes longer than most commands.
enableCompileCache();
const { main } = await import("./command-line/main.ts");
process.exitCode = await main(process.argv.slice(2));
// A connection that a hanging server does not close would keep the process alive.
setTimeout(() => process.exit(), EXIT_GRACE_MS).unref();
