// The parts of the command line that need no server: what is written behind a command, pieces of the input, help, text for terminals.
import { PassThrough } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAttempt } from "../../src/cli/commands/inspect.ts";
import { PUT } from "../../src/cli/commands/put.ts";
import { formatReaders, lineOfPresence } from "../../src/cli/commands/readers.ts";
import { checkAddress } from "../../src/cli/command-line/address.ts";
import { wasAllHad } from "../../src/cli/commands/sub.ts";
import { formatHelp, formatOverview } from "../../src/cli/command-line/command.ts";
import { Given, parseWhole, UsageError } from "../../src/cli/command-line/given.ts";
import { bodyOfBytes, escapeControls } from "../../src/cli/command-line/message-text.ts";
import { splitPieces } from "../../src/cli/command-line/pieces.ts";
import { Session, type SessionOptions } from "../../src/cli/command-line/session.ts";
import { COMMANDS } from "../../src/cli/commands/all.ts";
import type { Channel } from "../../src/client/index.ts";
import { encodeBody } from "../../src/client/message-json.ts";
import type { Problem } from "../../src/protocol/problems.ts";

const NEWLINE = 0x0a;
const SYNTAX = {
  needed: ["CHANNEL"],
  optional: ["TEXT"],
  options: [
    { name: "wait", value: "TIME", text: "" },
    { name: "size", value: "SIZE", text: "" },
  ],
};

function parse(...args: readonly string[]): Given {
  return Given.parse(args, SYNTAX);
}

async function collect(chunks: readonly Uint8Array[], bytesMax: number): Promise<Uint8Array[]> {
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield* chunks;
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of splitPieces(stream(), { separator: NEWLINE, bytesMax })) pieces.push(piece);
  return pieces;
}

describe("src/cli/command-line/given", () => {
  test.each([
    ["500ms", 500],
    ["1.5s", 1500],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["1d", 86_400_000],
  ])("a time is a number with its unit: %s", (text, ms) => {
    expect(parse("c", "--wait", text).timeMs("wait", 0, 86_400_000)).toBe(ms);
  });

  test.each([
    ["0", 0],
    ["64KiB", 65_536],
    ["1.5MiB", 1_572_864],
    ["1GiB", 1_073_741_824],
  ])("a size is a number of bytes, or has a unit: %s", (text, bytes) => {
    expect(parse("c", "--size", text).bytes("size", 0, 2 ** 31)).toBe(bytes);
  });

  test.each(["10", "-1s", "1w", "s", "1e3s", "25h"])("a time that has no unit, is none or is too long is refused: %s", (text) => {
    expect(() => parse("c", `--wait=${text}`).timeMs("wait", 0, 86_400_000)).toThrow(UsageError);
  });

  test("a negative number behind an option is refused as its value", () => {
    expect(() => parse("c", "--size", "-1").bytes("size", 0, 9)).toThrow('Cannot use --size "-1": expected a size such as');
    expect(() => parse("c", "-1")).toThrow("Unknown option '-1'");
    expect(() => parse("c", "--", "--wait", "-1")).toThrow('Cannot use "-1": nothing more is expected there');
  });

  test("a text that looks like an option stands behind --, and help needs no operands", () => {
    expect(parse("c", "--", "--wait").operand("TEXT")).toBe("--wait");
    expect(parse("--help").has("help")).toBe(true);
  });

  test.each([
    ["CHANNEL is missing", []],
    ['Cannot use "b": nothing more is expected there', ["c", "a", "b"]],
    ["'--wait <value>' argument missing", ["c", "--wait"]],
    ["Unknown option '--foo'", ["c", "--foo"]],
    ["Cannot use --wait twice: give it once", ["c", "--wait", "1s", "--wait=1s"]],
  ])("what cannot be understood is refused: %s", (message, args) => {
    expect(() => parse(...args)).toThrow(message);
  });

  test("an option of many values and a switch may be there again", () => {
    const given = Given.parse(["c", "--tag", "a", "--json", "--tag", "b", "--json"], {
      needed: ["CHANNEL"],
      options: [{ name: "tag", value: "TAG", isMany: true, text: "" }],
    });

    expect([given.texts("tag"), given.has("json")]).toEqual([["a", "b"], true]);
  });

  test.each(["0", "-1", "1.5", "1e3", "x", "", "101"])("a number that is not whole or out of range is refused: %s", (text) => {
    expect(() => parseWhole("--max", text, 1, 100)).toThrow(`Cannot use --max "${text}": expected a whole number from 1 to 100`);
  });
});

describe("src/cli/command-line/address", () => {
  test.each([
    ["http://127.0.0.1:99999", '"99999" is no port: expected a whole number from 1 to 65535'],
    ["https://user:word@host:80a/path", '"80a" is no port'],
    ["http://[::1]:-1", '"-1" is no port'],
    ["http://", "it names no host"],
    ["http://:8787", "it names no host"],
    ["http://a b:8787", '"a b" is no host'],
    ["HTTP://[::1", '"[::1" is no host'],
    ["http://1.2.3.400", '"1.2.3.400" is no host'],
  ])("what is wrong with %s is told", (url, fault) => {
    expect(() => checkAddress(url)).toThrow(`Cannot use EDGE_CHANNEL_URL "${url}": ${fault}`);
  });

  test("any other address is left to the client", () => {
    for (const url of ["http://host", "http://[::1]:8787/path?query", "https:host:1", "nonsense", "ftp://host:99999"]) {
      expect(() => checkAddress(url)).not.toThrow();
    }
  });
});

describe("src/cli/command-line/command", () => {
  test("the overview names every command, and the help of each its operands, its options and the exit codes", () => {
    const overview = formatOverview(COMMANDS);
    for (const command of COMMANDS) {
      expect(overview).toContain(`  ${command.name} `);
      const help = formatHelp(command);
      for (const part of [...command.needed, ...command.options.map(({ name }) => `--${name}`), "3 when the server"]) {
        expect(help).toContain(part);
      }
    }
  });
});

describe("src/cli/commands/put", () => {
  test("it ends when it is stopped while it reads its input, which may never end", async () => {
    const stopping = new AbortController();
    const input = new PassThrough();
    const streams = { input, output: undefined, errors: undefined } as unknown as Pick<
      SessionOptions,
      "input" | "output" | "errors"
    >;
    const session = new Session({ url: "http://nowhere", token: undefined, ...streams, signal: stopping.signal });
    const putting = PUT.run(Given.parse(["c"], PUT), session);
    input.write("the beginning");
    stopping.abort("SIGINT");

    await expect(putting).rejects.toMatchObject({ name: "AbortError" });
    expect(input.destroyed).toBe(true);
  });
});

describe("src/cli/commands/sub --until-empty", () => {
  const closed = { kind: "channel-closed" } as const;
  const deleted = { kind: "channel-deleted", deletedAtMs: 1 } as const;

  test.each([
    ["closed with the last message", closed, { shown: 3 }, true],
    ["closed for a group, with its last message", closed, { shown: 3, depth: 2, group: "done" }, true],
    ["closed by somebody while messages were left", closed, { shown: 3, depth: 2 }, false],
    ["closed by somebody while the group had messages left", closed, { shown: 3, group: "behind" }, false],
    ["closed before", closed, {}, false],
    ["deleted with the last message", { ...deleted, droppedMessages: 0 }, { shown: 3 }, true],
    ["deleted with messages", { ...deleted, droppedMessages: 2 }, { shown: 3 }, false],
    ["deleted before", { ...deleted, droppedMessages: 0 }, {}, false],
    ["draining, with nothing for this group", { kind: "channel-draining", drainUntilMs: null }, {}, true],
    ["never there", { kind: "unknown-channel", channel: "c" }, {}, false],
  ] as const)("what is there of a channel is known to be had or not: %s", async (_, problem, had, expected) => {
    const { shown, depth, group }: { shown?: number; depth?: number; group?: string } = had;
    const groups = { describe: async (name: string) => ({ depth: name === "done" ? 0 : 1 }) };
    const channel = { stats: async () => ({ depth: depth ?? 0 }), groups } as unknown as Channel;
    const facts = { group, shown: shown ?? 0, signal: new AbortController().signal };

    expect(await wasAllHad({ problem: problem as unknown as Problem }, channel, facts)).toBe(expected);
  });
});

describe("src/cli/commands/inspect", () => {
  test("[RD8] an attempt says in words why it was this reader", () => {
    const attempt = { attempt: 1, reader: "r1", leasedAtMs: 0 };
    const near = formatAttempt({ ...attempt, route: { tier: "colo", reason: "pow2", candidates: 3, load: 2 } });
    const ofKey = formatAttempt({ ...attempt, route: { tier: "key", reason: "owns-key", candidates: 1, load: 0 } });

    expect(near).toContain(" by r1 (at the colo of its origin, pow2 of 3, holding 2), goes on");
    expect(ofKey).toContain(" by r1 (it has others of the key, holding 0), goes on");
    expect(formatAttempt(attempt)).toContain(" by r1, goes on");
  });
});

/** A row a line. */
function table(heads: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  return [heads, ...rows].map((cells) => cells.join("|")).join("\n");
}

describe("src/cli/commands/readers", () => {
  test("[RG6] people see a row for each with its place; what is not known is left empty", () => {
    const entry = {
      role: "reader",
      continent: null,
      country: null,
      connections: 1,
      sinceMs: null,
      lastSeenMs: null,
      credit: 9,
      inFlight: 2,
      ratePerSecond: 0.5,
    } as const;
    const member = { ...entry, id: "r1", kind: "member", group: "g", colo: "FRA", region: "weur" } as const;
    const plain = { ...entry, id: "~7", kind: "plain", colo: null, region: null } as const;

    expect(formatReaders([member, plain], { isForPeople: true, table }).split("\n").slice(1)).toEqual([
      "r1|reader|member|g|FRA|weur|1|9|2|0.5|",
      "~7|reader|plain||||1|9|2|0.5|",
    ]);
    expect(formatReaders([member, plain], { isForPeople: false, table })).toBe(
      `${JSON.stringify(member)}\n${JSON.stringify(plain)}`,
    );
  });
});

describe("src/cli/commands/readers --follow", () => {
  test("[RG8] people see a line for how many there are and for each that comes or goes, without control characters", () => {
    const colos = [
      { colo: "FRA", readers: 1200 },
      { colo: null, readers: 1 },
    ];

    expect(lineOfPresence({ type: "present", readers: 1201, colos })).toBe("1,201 readers  FRA 1,200  ? 1");
    expect(lineOfPresence({ type: "join", reader: "w\u001B1", colo: "FRA" })).toBe("join    FRA  w\\x1b1");
    expect(lineOfPresence({ type: "expiry", reader: "~7", colo: null })).toBe("expiry  ?    ~7");
  });
});

describe("src/cli/command-line/pieces", () => {
  test("pieces are the input again; each ends with its only separator, or is as long as may be, or is the last", async () => {
    const chunk = fc.array(fc.constantFrom(NEWLINE, 0x61, 0xff), { maxLength: 12 }).map((bytes) => Uint8Array.from(bytes));
    await fc.assert(
      fc.asyncProperty(fc.array(chunk, { maxLength: 8 }), fc.integer({ min: 1, max: 9 }), async (chunks, bytesMax) => {
        const pieces = await collect(chunks, bytesMax);

        expect(Buffer.concat(pieces)).toEqual(Buffer.concat(chunks));
        for (const [index, piece] of pieces.entries()) {
          const isWhole = piece.at(-1) === NEWLINE || piece.byteLength === bytesMax || index === pieces.length - 1;
          expect(isWhole && piece.byteLength > 0 && piece.byteLength <= bytesMax).toBe(true);
          expect(piece.subarray(0, -1).includes(NEWLINE)).toBe(false);
        }
      }),
    );
  });
});

describe("src/cli/command-line/message-text", () => {
  test("bytes are a body of the same bytes, and text only where a terminal can show it", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc
            .string({ unit: fc.constantFrom("a", "\n", "\u001b", "\u00e4", "\u{1f600}", "\ufeff") })
            .map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          expect(Buffer.from(encodeBody(bodyOfBytes(bytes)).bytes).equals(bytes)).toBe(true);
        },
      ),
    );
    expect(bodyOfBytes(Buffer.from("a\t\u00e4\r\n"))).toBe("a\t\u00e4\r\n");
    expect(bodyOfBytes(Buffer.from("\u001b[31m"))).toBeInstanceOf(Uint8Array);
  });

  test("what would be a command to the terminal is shown by its code", () => {
    expect(escapeControls("\u001b[31mred\u009b\u007f\n\t\u00e4")).toBe(`${String.raw`\x1b[31mred\x9b\x7f\n\t`}\u00e4`);
  });
});
