// All that can happen, with the weights by which it is chosen. A new kind of actor adds its file here.
import { CHECKPOINTS } from "./checkpoints.ts";
import { CONNECTIONS } from "./connections.ts";
import { DELAYED } from "./delayed.ts";
import { GROUP_KEEPERS } from "./groups.ts";
import { KEEPERS } from "./keepers.ts";
import type { ActorOperation } from "./operation.ts";
import { PRODUCERS } from "./producers.ts";
import { READERS } from "./readers.ts";
import { RETRIERS } from "./retriers.ts";
import { SETTLERS } from "./settlers.ts";
import { SUBSCRIBERS } from "./subscribers.ts";
import { TIME } from "./time.ts";

export const OPERATIONS: readonly ActorOperation[] = [
  ...PRODUCERS,
  ...DELAYED,
  ...RETRIERS,
  ...READERS,
  ...SETTLERS,
  ...SUBSCRIBERS,
  ...CHECKPOINTS,
  ...CONNECTIONS,
  ...KEEPERS,
  ...GROUP_KEEPERS,
  ...TIME,
];
