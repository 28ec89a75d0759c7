// The parts of OpenAPI 3.1 that the description of this service uses.
import type { JsonSchema } from "@valibot/to-json-schema";
import type { RefusalKind } from "../../protocol/problems.ts";
import type { Route } from "../../protocol/route.ts";

export interface OpenApiDocument {
  readonly openapi: "3.1.0";
  readonly info: {
    readonly title: string;
    readonly version: string;
    readonly summary: string;
    readonly description: string;
    readonly license: { readonly name: string; readonly identifier: string };
  };
  readonly servers: readonly { readonly url: string; readonly description: string }[];
  readonly security: readonly SecurityRequirement[];
  readonly tags: readonly Tag[];
  readonly paths: Readonly<Record<string, PathItem>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly headers: Readonly<Record<string, Header>>;
    readonly securitySchemes: Readonly<
      Record<string, { readonly type: "http"; readonly scheme: "bearer"; readonly description: string }>
    >;
  };
}

type SecurityRequirement = Readonly<Record<string, readonly string[]>>;

export interface Tag {
  readonly name: string;
  readonly description: string;
}

export type PathItem = { readonly [Method in Route["method"]]?: ApiOperation };

export interface ApiOperation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  /** An empty list: no token is needed. */
  readonly security?: readonly SecurityRequirement[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: RequestBody;
  readonly responses: Readonly<Record<string, ApiResponse>>;
  /** Headers whose names have a part that the caller chooses, which OpenAPI cannot say. */
  readonly "x-header-families"?: readonly HeaderFamily[];
  readonly "x-websocket"?: SocketNotes;
}

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly description: string;
  readonly schema: JsonSchema;
  readonly example?: string | number;
}

export interface RequestBody {
  readonly description?: string;
  readonly required: boolean;
  readonly content: Readonly<Record<string, MediaType>>;
}

export interface MediaType {
  readonly schema?: ApiSchema;
  readonly example?: unknown;
}

export interface ApiSchema extends JsonSchema {
  discriminator?: { readonly propertyName: string; readonly mapping: Readonly<Record<string, string>> };
}

export interface ApiResponse {
  readonly description: string;
  readonly headers?: Readonly<Record<string, Header | Reference>>;
  readonly content?: Readonly<Record<string, MediaType>>;
  readonly "x-header-families"?: readonly HeaderFamily[];
  /** The refusals behind this status. */
  readonly "x-problem-kinds"?: readonly RefusalKind[];
}

export interface Reference {
  readonly $ref: string;
}

export interface Header {
  readonly description: string;
  readonly schema: JsonSchema;
}

export interface HeaderFamily {
  readonly name: string;
  readonly description: string;
}

/** The frames of a WebSocket in short, each by an example. */
export interface SocketNotes {
  readonly subprotocol: string;
  /** The one whose messages go in binary frames, with the first byte of each type of those. */
  readonly binary: {
    readonly subprotocol: string;
    readonly description: string;
    readonly types: Readonly<Record<string, number>>;
  };
  readonly specification: string;
  readonly client: readonly FrameNote[];
  readonly server: readonly FrameNote[];
  readonly closeCodes: readonly { readonly code: number; readonly description: string }[];
}

export interface FrameNote {
  readonly type: string;
  readonly description: string;
  readonly example: object;
}
