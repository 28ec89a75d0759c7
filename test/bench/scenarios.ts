// What is measured, against which floor, and what it must reach, in the order in which it is run.
import { BACKLOG_SCENARIOS } from "./backlog-scenarios.ts";
import { LATENCY_SCENARIOS } from "./latency-scenarios.ts";
import { PIPELINING_SCENARIOS } from "./pipelining-scenarios.ts";
import { PULL_SCENARIOS } from "./pull-scenarios.ts";
import { PUT_SCENARIOS } from "./put-scenarios.ts";
import { ROUTING_SCENARIOS } from "./routing-scenarios.ts";
import { SDK_SCENARIOS } from "./sdk-scenarios.ts";
import type { Scenario } from "./scenario.ts";
import { STREAM_SCENARIOS } from "./stream-scenarios.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...PUT_SCENARIOS,
  ...PULL_SCENARIOS,
  ...SDK_SCENARIOS,
  ...STREAM_SCENARIOS,
  ...PIPELINING_SCENARIOS,
  ...LATENCY_SCENARIOS,
  ...BACKLOG_SCENARIOS,
  ...ROUTING_SCENARIOS,
];
