// What the object of a relay does, apart from the runtime that it lives in: takes what its readers say, keeps the link to the channel while
// messages flow, sends what the core decides. Clock, chance, timers, sockets and the link are given to it.
import type { StartTimer } from "../base/timers.ts";
import { Relay } from "../channel/relay/relay.ts";
import type { LinkFrame } from "../channel/relay/link-frames.ts";
import type { Operation, Origin } from "../channel/operation.ts";
import type { PressureState } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { RelayDescription } from "../protocol/relay-routes.ts";
import type { Connections } from "./connections.ts";
import type { Runtime } from "./runtime.ts";
import { DeliveredFrames } from "./delivered-frames.ts";
import { JoinedFrames } from "./joined-frames.ts";
import { logWarning } from "./log.ts";
import type { RelayLink } from "./relay-link.ts";
import { SocketDesk } from "./socket-desk.ts";

export interface RelayHostOptions {
  readonly channel: string;
  readonly relay: string;
  readonly connections: Connections;
  readonly runtime: Pick<Runtime, "nowMs" | "setTimeout" | "draw32">;
  /** Connects with the channel; rejects where it can not be reached. `misplaced`: the channel has its relays elsewhere (rule RY13). */
  readonly openLink: (listener: LinkEvents) => Promise<Pick<RelayLink, "ask" | "close"> | "misplaced">;
  /** Tells the channel that nobody is left. What comes of it is not told: the channel finds out when it calls. */
  readonly leave: () => void;
  readonly startTimer: StartTimer;
  /** Sets the alarm, by which silent connections are found. */
  readonly setAlarm: (atMs: number) => void;
}

interface LinkEvents {
  readonly onFrame: (frame: LinkFrame, bytes: number) => void;
  readonly onClose: () => void;
}

const NO_STATE: PressureState = { depth: 0, bytes: 0, utilization: 0, waiters: 0 };
/** Between two looks whether the link is idle. */
const LOOK_MS_MIN = 1000;
/** The standard's code: the service restarts, come back. */
const SERVICE_RESTART = 1012;

export class RelayHost {
  readonly #options: RelayHostOptions;
  readonly #connections: Connections;
  readonly #relay: Relay;
  readonly #desk: SocketDesk;
  #link: Pick<RelayLink, "ask" | "close"> | undefined;
  #isOpening = false;
  /** Attempts to reach the channel since it last accepted something. */
  #attempts = 0;
  /** JSON of the channel's state as it was told last. */
  #state = JSON.stringify(NO_STATE);
  #isTurnSet = false;
  #stopIdleTimer: (() => void) | undefined;
  #isLookSet = false;
  /** Whether the channel knows of it, or may. */
  #isKnown: boolean;
  readonly #counts = { framesIn: 0, bytesIn: 0, framesOut: 0, bytesOut: 0 };
  readonly #sinceMs: number;

  constructor(options: RelayHostOptions) {
    this.#options = options;
    const { channel, connections, runtime } = options;
    this.#connections = connections;
    this.#sinceMs = runtime.nowMs();
    const readers = [...connections.subscriptions()].filter((one) => one.type === "reader");
    this.#relay = new Relay(readers);
    this.#isKnown = readers.length > 0;
    this.#desk = new SocketDesk({
      channel,
      connections,
      runtime,
      operate: (operation, origin) => this.#operate(operation, origin),
      beginLooks: () => this.#beginLooks(),
      forget: ({ connection }) => {
        this.#relay.disconnect(connection);
        // A relay leases nothing.
        this.#connections.forget(connection);
        // One of which nothing was known was there before the object slept: the channel knows of it.
        this.#isKnown = true;
        this.#settle();
      },
    });
  }

  receive(socket: WebSocket, data: string | ArrayBuffer): void {
    this.#desk.receive(socket, data);
    this.#desk.endSilent({ isForced: false });
  }

  end(socket: WebSocket, code: number, wasClean: boolean): void {
    this.#desk.end(socket, code, wasClean);
  }

  lose(socket: WebSocket): void {
    this.#desk.lose(socket);
  }

  /** The channel has something for it, or lost sight of it. Tells how many readers it has. */
  wake(): { readonly readers: number } {
    this.#relay.wake();
    this.#settle();
    return { readers: this.#relay.readers };
  }

  /** Looks for silent connections, and whether the link is idle. */
  alarm(): void {
    this.#isLookSet = false;
    this.#desk.endSilent({ isForced: true });
    this.#relay.look(this.#options.runtime.nowMs());
    this.#settle();
    if (this.#connections.nextLookAtMs(this.#options.runtime.nowMs()) !== undefined) this.#beginLooks();
  }

  describe(): RelayDescription {
    const { relay } = this.#options;
    const { readers } = this.#relay;
    const connections = this.#connections.count;
    return { relay, readers, connections, isLinked: this.#link !== undefined, ...this.#counts, sinceMs: this.#sinceMs };
  }

  #operate(operation: Operation, origin: Origin): void {
    if (operation.type === "subscribe") this.#relay.subscribe(operation, origin);
    if (operation.type === "credit") this.#relay.grant(operation, origin);
    if (operation.type === "unsubscribe") this.#relay.unsubscribe(operation, origin);
    this.#settle();
  }

  /** Does what the core has decided. */
  #settle(): void {
    this.#send();
    for (const ask of this.#relay.takeAsks()) this.#link?.ask(ask);
    if (this.#relay.isDoneWithLink) this.#closeLink();
    if (this.#relay.wantsLink) this.#openLink();
    if (this.#relay.hasMore) this.#setTurn();
    this.#leaveIfUnused();
    this.#setIdleTimer();
  }

  #send(): void {
    for (const connection of this.#relay.takeChangedConnections()) {
      const subscriptions = this.#relay.subscriptionsOf(connection);
      this.#connections.write(connection, { waiters: [], subscriptions }, undefined);
    }
    const counts = this.#counts;
    const connections = this.#connections;
    const joined = new JoinedFrames({
      joinsFrames: (connection) => connections.joinsFrames(connection),
      send: (connection, frame) => {
        counts.framesOut += 1;
        counts.bytesOut += typeof frame === "string" ? frame.length : frame.byteLength;
        connections.send(connection, frame);
      },
    });
    const formats = new DeliveredFrames();
    for (const { connection, request, outcome } of this.#relay.takeEffects()) {
      const frame = formats.format(request, outcome, connections.isBinary(connection), () => this.#state);
      if (frame !== undefined) joined.send(connection, frame);
    }
    joined.flush();
  }

  /** What more there is follows in a turn of its own, behind what has come meanwhile. */
  #setTurn(): void {
    if (this.#isTurnSet) return;
    this.#isTurnSet = true;
    this.#options.runtime.setTimeout(() => {
      this.#isTurnSet = false;
      this.#relay.serve();
      this.#settle();
    }, 0);
  }

  #openLink(): void {
    if (this.#isOpening || this.#link !== undefined) return;
    this.#isOpening = true;
    this.#isKnown = true;
    this.#attempts += 1;
    const pauseMs = this.#attempts === 1 ? 0 : this.#drawPauseMs();
    if (pauseMs === 0) this.#connect();
    else this.#options.runtime.setTimeout(() => this.#connect(), pauseMs);
  }

  #connect(): void {
    const events: LinkEvents = {
      onFrame: (frame, bytes) => {
        if (this.#link === link) this.#receiveFromChannel(frame, bytes);
      },
      onClose: () => {
        if (this.#link === link) this.#loseLink();
      },
    };
    let link: Pick<RelayLink, "ask" | "close"> | undefined;
    this.#options.openLink(events).then(
      (opened) => {
        this.#isOpening = false;
        if (opened === "misplaced") {
          this.#attempts = LIMITS.relayAttemptsMax;
          this.#loseLink();
          return;
        }
        this.#link = link = opened;
        this.#relay.linkUp(this.#options.runtime.nowMs());
        this.#settle();
      },
      (error: unknown) => {
        const { channel, relay } = this.#options;
        logWarning("relay-link-failed", { channel, relay, attempts: this.#attempts }, error);
        this.#isOpening = false;
        this.#loseLink();
      },
    );
  }

  #receiveFromChannel(frame: LinkFrame, bytes: number): void {
    if (frame.type === "subscribed") this.#attempts = 0;
    if (frame.type === "deliver") {
      this.#state = frame.state;
      this.#counts.framesIn += 1;
      this.#counts.bytesIn += bytes;
    }
    this.#relay.receive(frame, this.#options.runtime.nowMs());
    this.#settle();
  }

  #loseLink(): void {
    this.#link = undefined;
    this.#relay.linkDown();
    if (this.#attempts >= LIMITS.relayAttemptsMax) this.#dismiss();
    this.#settle();
  }

  #closeLink(): void {
    this.#link?.close();
    this.#link = undefined;
    this.#relay.linkDown();
  }

  /** The channel can not be reached: its readers find their way themselves (rule RY10). */
  #dismiss(): void {
    this.#attempts = 0;
    for (const socket of this.#connections.sockets) {
      this.#desk.lose(socket);
      socket.close(SERVICE_RESTART, "The channel cannot be reached: come back");
    }
  }

  /** With full jitter, so that the relays of a channel do not come all at once. */
  #drawPauseMs(): number {
    const { relayRetryMsMin, relayRetryMsMax } = LIMITS;
    const most = Math.min(relayRetryMsMax, relayRetryMsMin * 2 ** this.#attempts);
    return Math.ceil((this.#options.runtime.draw32() / 2 ** 32) * most);
  }

  #leaveIfUnused(): void {
    if (!this.#isKnown || this.#relay.readers > 0 || this.#link !== undefined || this.#isOpening) return;
    this.#isKnown = false;
    this.#attempts = 0;
    this.#options.leave();
  }

  #setIdleTimer(): void {
    const atMs = this.#relay.idleAtMs;
    if (atMs === undefined) {
      // A timer would keep the object awake.
      this.#stopIdleTimer?.();
      this.#stopIdleTimer = undefined;
      return;
    }
    if (this.#stopIdleTimer !== undefined) return;
    const delayMs = Math.max(LOOK_MS_MIN, atMs - this.#options.runtime.nowMs());
    this.#stopIdleTimer = this.#options.startTimer(() => {
      this.#stopIdleTimer = undefined;
      this.#relay.look(this.#options.runtime.nowMs());
      this.#settle();
    }, delayMs);
  }

  #beginLooks(): void {
    const atMs = this.#connections.nextLookAtMs(this.#options.runtime.nowMs());
    if (this.#isLookSet || atMs === undefined) return;
    this.#isLookSet = true;
    this.#options.setAlarm(atMs);
  }
}
