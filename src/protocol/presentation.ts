// The forms in which JSON carries a body.

/** Which JSON member carries the body: chosen when the message is put, and kept, so that a reader sees what the producer sent. */
export type Presentation = "bytes" | "text" | "json";

export const DEFAULT_CONTENT_TYPES: { readonly [Member in Presentation]: string } = {
  bytes: "application/octet-stream",
  text: "text/plain; charset=utf-8",
  json: "application/json",
};
