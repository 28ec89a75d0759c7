// What client and server agree on before the first frame. Apart from the frames' schemas, which clients do without.

/** Every frame is JSON text. */
export const SUBPROTOCOL_JSON = "channel.v1.json";
/** The same, and beside it binary frames that carry messages in blocks. */
export const SUBPROTOCOL_BIN = "channel.v1.bin";
/** The media type of such a binary frame as the body of a request or a reply over HTTP. */
export const FRAME_MEDIA_TYPE = "application/vnd.edge-channel.v1.bin";

/** What keeps a connection that nothing else goes over, byte for byte: the runtime answers it without waking anybody. */
export const PING_FRAME = '{"type":"ping"}';
export const PONG_FRAME = '{"type":"pong"}';

/** Versions of the protocol that this code speaks. */
export const PROTOCOL_VERSIONS: readonly number[] = [1];

/** Closes a connection to a channel that moves: what was not answered was not done. */
export const MOVED_CLOSE_CODE = 4410;
