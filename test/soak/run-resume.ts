// The command line of the soak: `npm run soak:resume -- --messages 100000`.
import { chooseSeed } from "../e2e/hostile/seeded-random.ts";
import { parseWholeOptions } from "./options.ts";
import { soakResume, type ResumePlan, type ResumeReport } from "./resume.ts";

const DEFAULTS = { messages: 100_000, disconnections: 200, evictions: 20, kills: 20 } as const;
const LINE_INTERVAL_MS = 10_000;

const HELP = `Usage: npm run soak:resume -- [options]

Sends messages through a log to five members of a group and five plain readers, on the real runtime, while connections are cut off,
the channel's object is evicted, for which all hold still for eleven seconds, and the runtime is killed with signal 9 and started again.
Each plain reader has to be given each message once and in order; of the group each message has to be acked once, those of a key in order.

  --messages N        default ${DEFAULTS.messages}
  --disconnections N  connections that are cut off under load; default ${DEFAULTS.disconnections}
  --evictions N       default ${DEFAULTS.evictions}
  --kills N           default ${DEFAULTS.kills}
  --seed N            repeats what a run drew by chance; the timing differs (default: a fresh one)
  --help              this text

Ends with 0 when nothing was lost, had twice or out of order, 1 otherwise, 2 for wrong options.`;

function formatReport(plan: ResumePlan, report: ResumeReport): string {
  const { counts, examples } = report.faults;
  const rows: readonly (readonly [string, string | number])[] = [
    ["seed", String(plan.seed)],
    ["messages stored", report.stored],
    ["disconnections", report.disconnections],
    ["evictions", report.evictions],
    ["kills", report.kills],
    ["reconnections of clients", report.reconnections],
    ["deliveries to the group", report.group.deliveries],
    ["acks accepted", report.group.accepted],
    ["told done when repeated", report.group.done - report.group.accepted],
    ["acks refused, lease lost", report.group.refused],
    ["acks counted by the channel", report.ackedByChannel],
    ["left in the group", report.depth],
    ["lost", counts.lost],
    ["twice", counts.twice],
    ["out of order", counts.outOfOrder],
    ["seconds", Math.round(report.seconds)],
  ];
  const lines = rows.map(([name, value]) => `${name.padEnd(28)}  ${value.toLocaleString("en").padStart(10)}`);
  return [...lines, ...examples.map((example) => `fault: ${example}`)].join("\n");
}

function isClean({ messages }: ResumePlan, { faults, group, ackedByChannel, depth, stored }: ResumeReport): boolean {
  return faults.total === 0 && depth === 0 && [group.done, ackedByChannel, stored].every((count) => count === messages);
}

async function run(plan: ResumePlan): Promise<void> {
  console.log(`seed ${plan.seed}`);
  let lastMs = performance.now();
  const report = await soakResume(plan, (line) => {
    if (performance.now() - lastMs < LINE_INTERVAL_MS) return;
    lastMs = performance.now();
    console.log(line);
  });
  console.log(formatReport(plan, report));
  if (!isClean(plan, report)) process.exitCode = 1;
}

// Ends through "exit", where the runtime is ended too.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

const plan = parseWholeOptions(process.argv.slice(2), HELP, { ...DEFAULTS, seed: chooseSeed() });
if (plan !== undefined) {
  try {
    await run(plan);
  } catch (error) {
    console.error(error);
    console.error(`The run failed, seed ${plan.seed}`);
    process.exitCode = 1;
  }
}
