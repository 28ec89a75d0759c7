// What a worker takes that embeds the service in its own deployment: `edge-channel/worker` of the package. EMBEDDING.md shows how.
export { ChannelObject } from "../object/channel-object.ts";
export { DirectoryShard } from "../object/directory-shard.ts";
export type { Env } from "../object/env.ts";
export { RelayObject } from "../object/relay-object.ts";
export { app } from "./app.ts";
export { ChannelService } from "./channel-service.ts";
export { default } from "./index.ts";
export type { ServiceProps } from "./queue-producer.ts";
