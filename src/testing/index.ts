// `edge-channel/testing`: for tests of programs that use channels. TESTING.md shows how.
/// <reference lib="esnext.disposable" preserve="true" />
export { TestService, type TestClientOptions, type TestServiceOptions } from "./test-service.ts";
export type { CallKind, LostReplyOptions } from "./lost-replies.ts";
