// What a relay and its channel say to each other: frames of the protocol, as a plain reader's client sends and gets them.
import type { Refusal } from "../../protocol/problems.ts";
import { formatResume } from "../../protocol/stream-frames.ts";
import type { Size } from "../admission.ts";
import type { StreamStart } from "../operation.ts";
import type { RelayedPage } from "./tail.ts";

/** What a relay follows: a life of its channel, as a plain reader of a log or as a tap of another channel. */
export interface Followed {
  readonly life: string;
  readonly isTap: boolean;
}

/** Where in it a subscription goes on. */
export function askFrom({ life, isTap }: Followed, position: number): Pick<SubscribeAsk, "from" | "tap"> {
  return { from: { resume: formatResume(life, position) }, ...(isTap && { tap: true }) };
}

interface SubscribeAsk {
  readonly type: "subscribe";
  readonly id: number;
  readonly credit: Size;
  readonly from: StreamStart;
  readonly tap?: true;
}

/** To the channel. */
export type LinkAsk =
  | SubscribeAsk
  | { readonly type: "credit"; readonly id: number; readonly messages: number; readonly bytes: number }
  | { readonly type: "unsubscribe"; readonly id: number };

/** From the channel. */
export type LinkFrame =
  | { readonly type: "subscribed"; readonly id: number; readonly life: string; readonly position: number }
  | {
      readonly type: "deliver";
      readonly id: number;
      readonly page: RelayedPage;
      /** Messages and bytes, as taken off the credit. */
      readonly size: Size;
      /** JSON of the state of the channel. */
      readonly state: string;
    }
  | { readonly type: "ended"; readonly id: number; readonly refusal: Refusal | undefined }
  | { readonly type: "refused"; readonly id: number; readonly refusal: Refusal };
