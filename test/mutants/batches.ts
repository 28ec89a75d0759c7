// Breaks of what is done with blocks: those that are put, and those that are sent.
import type { Mutant } from "./mutant.ts";

export const BATCHES: readonly Mutant[] = [
  {
    name: "RB1: members in the head of a batch over HTTP are passed over",
    file: "src/protocol/put-frame.ts",
    from: "const noHeadSchema = v.strictObject({});",
    to: "const noHeadSchema = v.object({});",
    workersTest: "test/workers/http-frames.test.ts",
  },
  {
    name: "RB3: a pull that waited is answered with the id of what waited for it",
    file: "src/worker/delivery-routes.ts",
    from: "`{${data.head.slice(`{${BRIDGE_ID},`.length)}`",
    to: "data.head",
    workersTest: "test/workers/http-frames.test.ts",
  },
  {
    name: "RB1: a varint may be longer than needed",
    file: "src/protocol/block.ts",
    from: "(byte === 0 && length > 1) ||",
    to: "",
  },
  {
    name: "RB1: bodies may end before their block",
    file: "src/protocol/block.ts",
    from: "return bodyStart - bodiesStart === bodyBytes ? undefined",
    to: "return bodyStart - bodiesStart <= bodyBytes ? undefined",
  },
  {
    name: "RB1: an index may have more entries than are counted",
    file: "src/protocol/block.ts",
    from: "if (!cursor.isAtEnd) return",
    to: "if (false) return",
  },
  {
    name: "RB1: a put may bring control records",
    file: "src/protocol/put-block.ts",
    from: "if (flags & ~PUT_FLAGS)",
    to: "if (false)",
  },
  {
    name: "RB1: bytes may follow the block of a put",
    file: "src/protocol/put-frame.ts",
    from: "if (block.value.byteLength < blocks.byteLength)",
    to: "if (false)",
  },
  {
    name: "RB1: texts may begin in the middle of a character",
    file: "src/protocol/put-block.ts",
    from: "if ((block.firstByte(to) & 0xc0) === 0x80)",
    to: "if (false)",
  },
  {
    name: "RB2: a block takes the time of the others in its row",
    file: "src/channel/run-part.ts",
    from: "if (writer.baseTimeMs === this.#origin.putAtMs)",
    to: "if (true)",
  },
  {
    name: "RB2: a block that is cut loses its first messages",
    file: "src/channel/run-part.ts",
    from: "return new BlockPart(this.#block, this.#origin, this.#from + from, this.#from + to);",
    to: "return new BlockPart(this.#block, this.#origin, from, to);",
  },
  {
    name: "RB3: a slice of what was compacted has other offsets",
    file: "src/channel/run.ts",
    from: " - this.#block.skippedBefore(first), false);",
    to: ", false);",
  },
  {
    name: "RB3: a binary frame overtakes the text before it",
    file: "src/object/joined-frames.ts",
    from: "if (joining !== undefined) this.#flush(connection, joining);",
    to: "",
  },
];
