// What a WebSocket agrees on before the first frame. Apart from the frames' schemas, which clients do without.

export const SUBPROTOCOL_JSON = "channel.v1.json";

/** Versions of the protocol that this code speaks. */
export const PROTOCOL_VERSIONS: readonly number[] = [1];
