// What is measured, against which floor, and what it must reach, in the order in which it is run.
import { BACKLOG_SCENARIOS } from "./backlog-scenarios.ts";
import { LATENCY_SCENARIOS } from "./latency-scenarios.ts";
import { PULL_SCENARIOS } from "./pull-scenarios.ts";
import { PUT_SCENARIOS } from "./put-scenarios.ts";
import type { Scenario } from "./scenario.ts";

export const SCENARIOS: readonly Scenario[] = [...PUT_SCENARIOS, ...PULL_SCENARIOS, ...LATENCY_SCENARIOS, ...BACKLOG_SCENARIOS];
