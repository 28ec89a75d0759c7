// What consumers, producers, those who watch presence and those who use checkpoints do. Not every program has one, so this is loaded with the
// first of them: see load-machinery.ts.
export { BatchProducer } from "./batch-producer.ts";
export { openCheckpoints } from "./checkpoint-stores.ts";
export { PreferredMembers } from "./preferred-members.ts";
export { watchPresence } from "./presence-watch.ts";
