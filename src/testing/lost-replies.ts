// Replies that get lost on their way: what was asked for is done, and who asked for it does not hear of it.
import type { Frame } from "./socket-pair.ts";

/** What is called: a put of one or many, a get, a pull, a settle call, or anything else. */
export type CallKind = "put" | "get" | "pull" | "settle" | "other";

export interface LostReplyOptions {
  /** Default: of any channel. */
  readonly channel?: string | undefined;
  /** Default: any call. */
  readonly to?: CallKind | undefined;
}

const KINDS_OF_FRAMES: Readonly<Record<string, CallKind>> = {
  put: "put",
  "put-batch": "put",
  get: "get",
  pull: "pull",
  settle: "settle",
  stats: "other",
};
/** Frames that say what was done. */
const REPLIES: ReadonlySet<string> = new Set(["put-ok", "got", "settled", "stats"]);

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
    for (const { type, id } of readFrames(frame)) {
      const kind = KINDS_OF_FRAMES[type];
      if (kind !== undefined) this.#unanswered.set(id, kind);
    }
  }

  /** Whether one of the replies in a frame gets lost, and with it all of the frame. */
  loses(frame: Frame): boolean {
    return readFrames(frame).some(({ type, id }) => REPLIES.has(type) && this.#losesReply(id));
  }

  #losesReply(id: number): boolean {
    const kind = this.#unanswered.get(id);
    this.#unanswered.delete(id);
    return kind !== undefined && this.#replies.takes({ channel: this.#channel, kind });
  }
}

interface FrameHead {
  readonly type: string;
  readonly id: number;
}

type AnyFrame = FrameHead | { readonly type: "joined"; readonly frames: readonly FrameHead[] };

/** What a frame consists of. */
function readFrames(text: Frame): readonly FrameHead[] {
  if (typeof text !== "string") return [];
  const frame = JSON.parse(text) as AnyFrame;
  return "frames" in frame ? frame.frames : [frame];
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
