// All commands, in the order of the help.
import type { Command } from "../command-line/command.ts";
import { BENCH } from "./bench.ts";
import { CHANNELS, CREATE, RM, STATS } from "./channels.ts";
import { GET } from "./get.ts";
import { INSPECT } from "./inspect.ts";
import { MOVE } from "./move.ts";
import { PIPE } from "./pipe.ts";
import { PUT } from "./put.ts";
import { READERS } from "./readers.ts";
import { REDRIVE } from "./redrive.ts";
import { SUB } from "./sub.ts";
import { TAIL } from "./tail.ts";

export const COMMANDS: readonly Command[] = [
  PUT,
  GET,
  SUB,
  TAIL,
  PIPE,
  STATS,
  READERS,
  CHANNELS,
  CREATE,
  RM,
  MOVE,
  INSPECT,
  REDRIVE,
  BENCH,
];
