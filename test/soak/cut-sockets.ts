// WebSockets that can be cut off in the middle: nobody says goodbye, as when a network goes away.
import { WebSocket } from "ws";
import type { OpenSocket } from "../../src/client/index.ts";
import type { Random } from "../simulation/random.ts";

export class CutSockets {
  readonly #open = new Set<WebSocket>();

  /** For the client's option of the same name. */
  readonly openSocket: OpenSocket = (url) => {
    const socket = new WebSocket(url, "channel.v1.json", { perMessageDeflate: false });
    socket.on("open", () => this.#open.add(socket));
    socket.on("close", () => this.#open.delete(socket));
    return socket;
  };

  /** Cuts off one of those that are open; false where none is. */
  cutOne(random: Random): boolean {
    const socket = random.pick([...this.#open]);
    socket?.terminate();
    return socket !== undefined;
  }
}
