// Checkpoints under attack: requests for them, and what they have to be after those that were accepted.
import { randomBytes } from "node:crypto";
import type { CheckpointEntry } from "../../../src/protocol/checkpoint.ts";
import type { CheckpointRider, RefusedPartJson } from "./delivery-forms.ts";
import { arrivingBody, type RequestSpec } from "./request.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { parseObject } from "./verdict.ts";
import type { WireReply } from "./wire.ts";

const NAMES = ["a", "B", "a.1", "a.10", "0", "z~:_-", "n".repeat(128)];
const PAGE_DEFAULT = 100;

interface Kept {
  readonly version: number;
  readonly body: Buffer;
  readonly contentType: string;
}

/** What the accepted writes and deletions make of the checkpoints of a channel. */
export class CheckpointModel {
  readonly #kept = new Map<string, Kept>();
  #deletedVersionMax = 0;

  clear(): void {
    this.#kept.clear();
    this.#deletedVersionMax = 0;
  }

  get names(): readonly string[] {
    return [...this.#kept.keys()].sort((a, b) => (a < b ? -1 : 1));
  }

  versionOf(name: string): number | undefined {
    return this.#kept.get(name)?.version;
  }

  /** The mistake in the reply to an accepted request, or undefined. */
  applyReply(spec: RequestSpec, reply: WireReply): string | undefined {
    const name = lastSegment(spec);
    if (spec.operationId === "readCheckpoint") return this.#checkRead(name, reply);
    const document = parseObject(String(reply.body));
    if (spec.operationId === "listCheckpoints") return this.#checkPage(spec, document);
    return spec.operationId === "writeCheckpoint" ? this.#write(name, spec, reply) : this.#delete(name, document);
  }

  /** The same for the answer to a frame that writes nothing; `sent` is what was asked. */
  applyFrame(sent: Readonly<Record<string, unknown>>, frame: Readonly<Record<string, unknown>>): string | undefined {
    const name = String(sent["name"]);
    if (frame["type"] === "checkpoints") return this.#checkList(sent, frame);
    if (frame["type"] === "checkpoint-deleted") {
      const conflict = this.#findConflict(sent as unknown as CheckpointRider);
      return conflict === undefined ? this.#delete(name, frame) : `deleted ${name} beside version ${conflict ?? "none"}`;
    }
    const kept = this.#kept.get(name);
    if (kept === undefined) return `reads ${name}, which is not there`;
    const { json, text, base64 } = frame as { json?: unknown; text?: string; base64?: string };
    const isSame =
      text !== undefined
        ? kept.body.equals(Buffer.from(text))
        : base64 !== undefined
          ? kept.body.equals(Buffer.from(base64, "base64"))
          : JSON.stringify(json) === JSON.stringify(JSON.parse(String(kept.body)));
    return isSame ? this.#compare(name, frame as unknown as CheckpointEntry) : `reads another value of ${name}`;
  }

  /** A refusal tells what is there. */
  checkRefusal({ kind, checkpoint, current }: Readonly<Record<string, unknown>>): string | undefined {
    const version = this.versionOf(String(checkpoint));
    if (kind === "unknown-checkpoint") return version === undefined ? undefined : `does not know version ${version}`;
    if (kind !== "checkpoint-conflict" || current === (version ?? null)) return undefined;
    return `tells the version ${String(current)} instead of ${version ?? "none"}`;
  }

  /** Applies a checkpoint that rode on a settle call, whose value is `body`; says where it should have been refused. */
  ride(rider: CheckpointRider, body: Buffer, contentType: string, version: number | undefined): string | undefined {
    const conflict = this.#findConflict(rider);
    if (conflict !== undefined) return `wrote ${rider.name} beside version ${conflict ?? "none"}`;
    const next = this.#nextVersion(rider.name);
    this.#kept.set(rider.name, { version: next, body, contentType });
    return version === next ? undefined : `wrote version ${version ?? "none"} of ${rider.name} instead of ${next}`;
  }

  /** Judges whether a checkpoint is at fault that rode on a refused settle call. */
  checkRide(rider: CheckpointRider, part: RefusedPartJson | undefined): string | undefined {
    const conflict = this.#findConflict(rider);
    const isConflict = part?.problem.kind === "checkpoint-conflict";
    if (isConflict !== (conflict !== undefined)) return `judged ${rider.name} with ${JSON.stringify(part)}`;
    return !isConflict || part.problem.current === conflict ? undefined : `told ${part.problem.current} instead of ${conflict}`;
  }

  /** The version that does not match, null for none; undefined where there is no conflict. */
  #findConflict({ name, ifMatch, ifNoneMatch }: CheckpointRider): number | null | undefined {
    const version = this.versionOf(name);
    const isMatch = ifMatch === undefined || (ifMatch === "*" ? version !== undefined : version === ifMatch);
    return isMatch && (ifNoneMatch === undefined || version === undefined) ? undefined : (version ?? null);
  }

  #nextVersion(name: string): number {
    return (this.versionOf(name) ?? this.#deletedVersionMax) + 1;
  }

  #write(name: string, spec: RequestSpec, { status, headers, body }: WireReply): string | undefined {
    const before = this.#kept.get(name);
    const version = this.#nextVersion(name);
    const arrived = arrivingBody(spec);
    const kept: Kept = { version, body: arrived, contentType: contentTypeOf(spec) };
    this.#kept.set(name, kept);
    const entry = parseObject(String(body)) as unknown as CheckpointEntry;
    if (status !== (before === undefined ? 201 : 200)) return `answered ${status} where version ${before?.version ?? "none"} was`;
    return headers.get("etag") === `"${version}"` ? this.#compare(name, entry) : `has the tag ${headers.get("etag") ?? "none"}`;
  }

  #delete(name: string, document: Readonly<Record<string, unknown>> | undefined): string | undefined {
    const version = this.versionOf(name);
    this.#kept.delete(name);
    this.#deletedVersionMax = Math.max(this.#deletedVersionMax, version ?? 0);
    const isSame = document?.["name"] === name && document["version"] === version;
    return isSame ? undefined : `deleted ${JSON.stringify(document)} instead of version ${version ?? "none"}`;
  }

  #checkRead(name: string, { headers, body }: WireReply): string | undefined {
    const kept = this.#kept.get(name);
    if (kept === undefined) return `reads ${name}, which is not there`;
    if (headers.get("etag") !== `"${kept.version}"`) return `reads the tag ${headers.get("etag") ?? "none"}`;
    if (headers.get("content-type") !== kept.contentType) return `reads the type ${headers.get("content-type") ?? "none"}`;
    return body.equals(kept.body) ? undefined : `reads ${body.byteLength} other bytes`;
  }

  #checkPage(spec: RequestSpec, document: Readonly<Record<string, unknown>> | undefined): string | undefined {
    return this.#checkList(Object.fromEntries(spec.query), document);
  }

  #checkList(
    asked: Readonly<Record<string, unknown>>,
    document: Readonly<Record<string, unknown>> | undefined,
  ): string | undefined {
    const { after = "", prefix = "", limit = PAGE_DEFAULT } = asked as { after?: string; prefix?: string; limit?: unknown };
    const names = this.names.filter((name) => name > after && name.startsWith(prefix));
    const page = names.slice(0, Number(limit));
    const entries = document?.["checkpoints"] as readonly CheckpointEntry[];
    const shown = entries.map(({ name }) => name);
    if (shown.join() !== page.join()) return `lists ${shown.join()} instead of ${page.join()}`;
    const next = page.length < names.length ? page.at(-1) : null;
    if (document?.["next"] !== next) return `goes on after ${String(document?.["next"])} instead of ${String(next)}`;
    return entries.map((entry) => this.#compare(entry.name, entry)).find((mistake) => mistake !== undefined);
  }

  #compare(name: string, entry: CheckpointEntry): string | undefined {
    const { version, body, contentType } = this.#kept.get(name) ?? {};
    const isSame = entry.name === name && entry.version === version && entry.contentType === contentType;
    return isSame && entry.bytes === body?.byteLength ? undefined : `shows ${name} as ${JSON.stringify(entry)}`;
  }
}

function lastSegment({ path }: RequestSpec): string {
  return path.split("/").at(-1) ?? "";
}

function contentTypeOf({ headers }: RequestSpec): string {
  const [, given] = headers.find(([name]) => name.toLowerCase() === "content-type") ?? [];
  return given ?? "application/octet-stream";
}

type Built = Omit<RequestSpec, "operationId">;

/** What a builder needs to know. */
export interface CheckpointContext {
  readonly random: SeededRandom;
  readonly channel: string;
  readonly checkpoints: CheckpointModel;
}

/** Most of the time one that is there. */
function someName({ random, checkpoints }: CheckpointContext): string {
  const { names } = checkpoints;
  return names.length > 0 && random.chance(0.7) ? random.pick(names) : random.pick(NAMES);
}

function requestOf(method: string, { channel }: CheckpointContext, name: string): Built {
  return { method, path: `/v1/channels/${channel}/checkpoints/${name}`, query: [], headers: [], framing: "none" };
}

/** A condition that may be met. */
function someCondition({ random, checkpoints }: CheckpointContext, name: string): RequestSpec["headers"] {
  const version = checkpoints.versionOf(name) ?? 0;
  return random.pick<() => RequestSpec["headers"]>([
    () => [],
    () => [["If-Match", "*"]],
    () => [["if-match", `"${version}"`]],
    () => [["If-Match", `W/"${version}"`]],
    () => [["If-Match", `"${random.int(0, 20)}"`]],
  ])();
}

export function buildWriteCheckpoint(context: CheckpointContext): Built {
  const { random } = context;
  const name = someName(context);
  const condition: RequestSpec["headers"] = random.chance(0.2) ? [["If-None-Match", "*"]] : someCondition(context, name);
  const type = random.pick(["text/plain", "application/json; charset=utf-8", "image/png", undefined]);
  const headers: RequestSpec["headers"] = type === undefined ? condition : [...condition, ["Content-Type", type]];
  const framing = random.chance(0.2) ? "chunked" : "length";
  return { ...requestOf("PUT", context, name), headers, body: randomBytes(random.int(0, 300)), framing };
}

export function buildReadCheckpoint(context: CheckpointContext): Built {
  return requestOf("GET", context, someName(context));
}

export function buildDeleteCheckpoint(context: CheckpointContext): Built {
  const name = someName(context);
  return { ...requestOf("DELETE", context, name), headers: someCondition(context, name) };
}

export function buildListCheckpoints(context: CheckpointContext): Built {
  const { random, channel } = context;
  const maybe = (name: string, value: string): [string, string][] => (random.chance(0.4) ? [[name, value]] : []);
  const query = [
    ...maybe("limit", String(random.pick([1, 2, 3, 1000]))),
    ...maybe("prefix", random.pick(["a", "a.", "zz"])),
    ...maybe("after", random.pick(NAMES)),
  ];
  return { method: "GET", path: `/v1/channels/${channel}/checkpoints`, query, headers: [], framing: "none" };
}
