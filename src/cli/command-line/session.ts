// What a command works with: the service over HTTP and sockets, input and output, and the signal that stops it.
import type { StartTimer } from "../../base/timers.ts";
import { type Channel, type ChannelDescription, EdgeChannel, EdgeChannelError } from "../../client/index.ts";
import { startPlatformTimer } from "../../client/timers.ts";
import { fetchInTime } from "./answer-time.ts";
import type { Input } from "./input.ts";
import type { Output } from "./output.ts";

export interface SessionOptions {
  readonly url: string;
  readonly token: string | undefined;
  readonly input: Input;
  readonly output: Output;
  readonly errors: NodeJS.WriteStream;
  /** Aborted when the command has to stop. */
  readonly signal: AbortSignal;
  /** Of what is asked over HTTP. Default: the platform's timers. */
  readonly startTimer?: StartTimer;
}

export interface Connected {
  readonly channel: Channel;
  readonly description: ChannelDescription | undefined;
}

/** A service that is not there is told at once. */
const HTTP_RETRIES = 2;
/** With their pauses some 20 seconds: a server may be started again meanwhile. */
const SOCKET_RETRIES = 8;

export class Session {
  readonly url: string;
  readonly token: string | undefined;
  readonly input: Input;
  readonly output: Output;
  readonly errors: NodeJS.WriteStream;
  readonly signal: AbortSignal;
  readonly service: EdgeChannel;
  #sockets: EdgeChannel | undefined;

  constructor({ url, token, input, output, errors, signal, startTimer = startPlatformTimer }: SessionOptions) {
    this.url = url;
    this.token = token;
    this.input = input;
    this.output = output;
    this.errors = errors;
    this.signal = signal;
    const fetchNow = fetchInTime((address, init) => fetch(address, init), startTimer);
    this.service = EdgeChannel.connect(url, { token, retries: HTTP_RETRIES, fetch: fetchNow, startTimer });
  }

  /** A channel over HTTP. */
  channel(name: string): Channel {
    return this.service.channel(name);
  }

  /**
   * A channel over a socket, for many calls and for leases that end with the program. It is described over HTTP first: a service that is
   * not there is told at once. `description` is undefined where there is no channel (yet: its first use may create it).
   *
   * @param onWait Called each time a put has to wait for room.
   */
  async connect(name: string, onWait?: () => void): Promise<Connected> {
    const description = await this.#describe(name);
    this.#sockets = EdgeChannel.connect(this.url, { token: this.token, transport: "socket", retries: SOCKET_RETRIES, onWait });
    return { channel: this.#sockets.channel(name), description };
  }

  /** A line for people beside the output. */
  note(text: string): void {
    this.errors.write(`channel: ${text}\n`);
  }

  async close(): Promise<void> {
    await this.#sockets?.close();
    await this.service.close();
    this.input.destroy();
  }

  async #describe(name: string): Promise<ChannelDescription | undefined> {
    try {
      return await this.channel(name).stats({ signal: this.signal });
    } catch (error) {
      if (error instanceof EdgeChannelError && error.kind === "unknown-channel") return undefined;
      throw error;
    }
  }
}
