// Replies that get lost on their way: what was asked for is done, and who asked for it does not hear of it.
import { assert } from "../base/assert.ts";
import { BINARY_FRAME_TYPES, splitBinaryFrame } from "../protocol/binary-frame.ts";
import { parsePutFrame } from "../protocol/put-frame.ts";
import { parseClientFrame, type ClientFrame, type ServerFrame } from "../protocol/frames.ts";
import type { Frame } from "./socket-pair.ts";

/** What is called: a put of one or many, a get, a pull, a settle call, or anything else. */
export const CALL_KINDS = ["put", "get", "pull", "settle", "other"] as const;

export type CallKind = (typeof CALL_KINDS)[number];

export interface LostReplyOptions {
  /** Default: of any channel. */
  readonly channel?: string | undefined;
  /** Default: any call. */
  readonly to?: CallKind | undefined;
}

/** What each frame of a program calls; undefined for those that are no calls, since no reply tells what they did. */
const KINDS_OF_FRAMES: Readonly<Record<ClientFrame["type"], CallKind | undefined>> = {
  put: "put",
  "put-batch": "put",
  get: "get",
  pull: "pull",
  settle: "settle",
  stats: "other",
  "read-checkpoint": "other",
  "write-checkpoint": "other",
  "delete-checkpoint": "other",
  "list-checkpoints": "other",
  hello: undefined,
  reserve: undefined,
  cancel: undefined,
  subscribe: undefined,
  credit: undefined,
  unsubscribe: undefined,
  watch: undefined,
  presence: undefined,
  echo: undefined,
};
/** Frames about a call that is not done yet. */
const INTERIM: ReadonlySet<string> = new Set(["wait", "room"]);

export class LostReplies {
  readonly #faults: LostReplyOptions[] = [];

  add(fault: LostReplyOptions): void {
    this.#faults.push(fault);
  }

  /** Whether the reply to this call gets lost. A fault loses one. */
  takes(call: { readonly channel: string | undefined; readonly kind: CallKind }): boolean {
    const place = this.#faults.findIndex(
      ({ channel, to }) => (channel ?? call.channel) === call.channel && (to ?? call.kind) === call.kind,
    );
    if (place >= 0) this.#faults.splice(place, 1);
    return place >= 0;
  }
}

/** Knows what the replies of one connection are replies to. */
export class ReplyWatch {
  readonly #replies: LostReplies;
  readonly #channel: string;
  readonly #unanswered = new Map<number, CallKind>();

  constructor(replies: LostReplies, channel: string) {
    this.#replies = replies;
    this.#channel = channel;
  }

  noteRequest(frame: Frame): void {
    // What cannot be read is refused: no reply to it tells of anything that was done.
    if (typeof frame !== "string") {
      const put = parsePutFrame(new Uint8Array(frame));
      if (put.ok) this.#unanswered.set(put.value.head.id, "put");
      return;
    }
    const read = parseClientFrame(frame);
    if (!read.ok || read.value.type === "hello" || read.value.type === "echo") return;
    const kind = KINDS_OF_FRAMES[read.value.type];
    if (kind !== undefined) this.#unanswered.set(read.value.id, kind);
  }

  /** Whether one of the replies in a frame gets lost, and with it all of the frame. */
  loses(frame: Frame): boolean {
    const read = readServerFrame(frame);
    return (read.type === "joined" ? read.frames : [read]).some((one) => this.#losesReply(one));
  }

  #losesReply(frame: ServerFrame): boolean {
    if (frame.type === "problem" && frame.inReplyTo !== undefined) this.#unanswered.delete(frame.inReplyTo);
    if (!("id" in frame) || INTERIM.has(frame.type)) return false;
    const kind = this.#unanswered.get(frame.id);
    this.#unanswered.delete(frame.id);
    return kind !== undefined && this.#replies.takes({ channel: this.#channel, kind });
  }
}

/** A frame of the object without the messages of a binary one. */
function readServerFrame(frame: Frame): ServerFrame {
  if (typeof frame === "string") return JSON.parse(frame) as ServerFrame;
  const split = splitBinaryFrame(new Uint8Array(frame));
  assert(split.ok, "the object sends whole frames");
  const { type, head } = split.value;
  return { ...(JSON.parse(head) as object), type: type === BINARY_FRAME_TYPES.got ? "got" : "deliver" } as ServerFrame;
}

/** What a request asks for, by its address. */
export function readCall(url: string, { method = "GET", body }: RequestInit): { channel: string | undefined; kind: CallKind } {
  const [, channel, rest = ""] = /^\/v1\/channels\/([^/]+)(.*)$/.exec(new URL(url).pathname) ?? [];
  const name = channel === undefined ? undefined : decodeURIComponent(channel);
  return { channel: name, kind: method === "POST" ? kindOfPost(rest, body) : "other" };
}

function kindOfPost(path: string, body: RequestInit["body"]): CallKind {
  if (path === "/messages" || path === "/messages/batch") return "put";
  if (path === "/messages/settle") return "settle";
  if (path !== "/messages/pull") return "other";
  const isTaking = typeof body === "string" && /"ack"\s*:\s*"auto"/.test(body);
  return isTaking ? "get" : "pull";
}
