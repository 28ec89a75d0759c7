// A load client over HTTP: N keep-alive connections with one request in flight on each.
import { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

export interface LoadTimes {
  readonly connections: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
}

/** How often a second `work` is done by that many connections, each of which begins it anew when it is done. */
export async function runHttpLoad(
  times: LoadTimes,
  work: (agent: Agent, connection: number) => Promise<unknown>,
): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: times.connections });
  const state = { isSending: true, done: 0 };
  const keepWorking = async (connection: number): Promise<void> => {
    while (state.isSending) {
      await work(agent, connection);
      state.done += 1;
    }
  };
  try {
    const workers = Promise.all(Array.from({ length: times.connections }, (_, connection) => keepWorking(connection)));
    // A refusal ends the load at once; without one the workers stop when the time is over.
    await Promise.race([workers, delay(times.warmUpMs)]);
    const doneBefore = state.done;
    const startedAtMs = performance.now();
    await Promise.race([workers, delay(times.durationMs)]);
    const ratePerS = ((state.done - doneBefore) * 1_000) / (performance.now() - startedAtMs);
    state.isSending = false;
    await workers;
    return ratePerS;
  } finally {
    state.isSending = false;
    agent.destroy();
  }
}
