// All that can happen, with the weights by which it is chosen. A new kind of actor adds its file here.
import { CONNECTIONS } from "./connections.ts";
import { GROUP_KEEPERS } from "./groups.ts";
import { KEEPERS } from "./keepers.ts";
import type { ActorOperation } from "./operation.ts";
import { PRODUCERS } from "./producers.ts";
import { READERS } from "./readers.ts";
import { SETTLERS } from "./settlers.ts";
import { TIME } from "./time.ts";

export const OPERATIONS: readonly ActorOperation[] = [
  ...PRODUCERS,
  ...READERS,
  ...SETTLERS,
  ...CONNECTIONS,
  ...KEEPERS,
  ...GROUP_KEEPERS,
  ...TIME,
];
