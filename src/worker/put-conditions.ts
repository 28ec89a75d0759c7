// The conditions of a put over HTTP: headers that name the producer's number or the idempotency key, and the expected offset.
import type * as v from "valibot";
import { CONDITION_HEADERS, EITHER_WAY, type PutConditions } from "../protocol/dedup.ts";
import { invalidRequest, parseWith } from "../protocol/fault.ts";
import { RefusalError } from "./refusal-error.ts";
import { orThrow, type AppContext } from "./request-parts.ts";

type HeaderName = keyof typeof CONDITION_HEADERS;

const PRODUCER_HEADERS = ["Producer-Id", "Producer-Epoch", "Producer-Seq"] as const;

export function conditionsOf(context: AppContext, expectedOffset: number | undefined): PutConditions {
  const { headers } = context.req.raw;
  const missing = PRODUCER_HEADERS.filter((name) => !headers.has(name));
  const hasProducer = missing.length < PRODUCER_HEADERS.length;
  const [firstMissing] = missing;
  if (hasProducer && firstMissing !== undefined) {
    throw new RefusalError(invalidRequest(`/header/${firstMissing}`, `Expected ${PRODUCER_HEADERS.join(", ")} together`));
  }
  const hasKey = headers.has("Idempotency-Key");
  if (hasProducer && hasKey) throw new RefusalError(invalidRequest("/header/Idempotency-Key", EITHER_WAY));
  return {
    ...(hasProducer && {
      producer: {
        id: headerOf(headers, "Producer-Id"),
        epoch: headerOf(headers, "Producer-Epoch"),
        seq: headerOf(headers, "Producer-Seq"),
      },
    }),
    ...(hasKey && { idempotencyKey: headerOf(headers, "Idempotency-Key") }),
    ...(expectedOffset !== undefined && { expectedOffset }),
  };
}

function headerOf<Name extends HeaderName>(headers: Headers, name: Name): v.InferOutput<(typeof CONDITION_HEADERS)[Name]> {
  return orThrow(parseWith(CONDITION_HEADERS[name], headers.get(name), `/header/${name}`));
}
