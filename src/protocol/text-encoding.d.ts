// The few globals that src/protocol and src/channel may use: UTF-8 and base64. Every runtime we serve (Workers, Node, browsers) has them.
// Only src/protocol/tsconfig.json and src/channel/tsconfig.json include this file; elsewhere the platform's own types apply.

declare class TextEncoder {
  encode(input?: string): Uint8Array<ArrayBuffer>;
  encodeInto(source: string, destination: Uint8Array): { read: number; written: number };
}

declare class TextDecoder {
  constructor(label: "utf-8", options: { fatal: boolean; ignoreBOM: boolean });
  decode(input?: ArrayBuffer | ArrayBufferView, options?: { stream?: boolean }): string;
}

/** Encodes a string of bytes (code units 0 to 255) as base64. */
declare function btoa(data: string): string;

/** Decodes base64 to a string of bytes; throws on anything that is not base64. */
declare function atob(data: string): string;
