// The service behind its door. Who may come in is decided before.
import { listChannels } from "../object/directory.ts";
import { buildApp, type App } from "./build-app.ts";

/** All routes, without authentication. */
export const app: App = buildApp({
  listChannels: (env, query) => listChannels(env.DIRECTORY, query),
  startTimer: (callback, delayMs) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
});
