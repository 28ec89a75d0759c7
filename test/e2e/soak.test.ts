// A short soak on every test run: `npm run soak:resume` is the long one.
import { expect, test } from "vitest";
import { soakResume } from "../soak/resume.ts";
import { chooseSeed } from "./hostile/seeded-random.ts";

const MESSAGES = 3000;

test("[G10] [SB7] readers lose nothing and have nothing twice over connections that are cut off and a kill", async () => {
  const seed = chooseSeed();

  const report = await soakResume({ messages: MESSAGES, disconnections: 8, evictions: 0, kills: 1, seed });

  expect(report.faults.examples, `seed ${seed}`).toEqual([]);
  expect(report).toMatchObject({ stored: MESSAGES, disconnections: 8, kills: 1, ackedByChannel: MESSAGES, depth: 0 });
  expect(report.group.done).toBe(MESSAGES);
  expect(report.reconnections).toBeGreaterThanOrEqual(8);
});
