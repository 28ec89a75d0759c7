// What consumers, producers and those who watch presence do. Not every program has one, so this is loaded with the first of them: see
// load-machinery.ts.
export { BatchProducer } from "./batch-producer.ts";
export { PreferredMembers } from "./preferred-members.ts";
export { watchPresence } from "./presence-watch.ts";
