// The parts of a channel and who knows whom; channel.ts works with them.
import type { Place } from "../protocol/place.ts";
import { DEFAULT_SETTINGS } from "../protocol/settings.ts";
import { Activity } from "./activity.ts";
import { AttachedLeases, type CarriedLeases, unpackFrames } from "./attached-leases.ts";
import { Backlog } from "./backlog.ts";
import { Checkpoints } from "./checkpoints.ts";
import { DeadLetters } from "./dead-letters.ts";
import { Dedup } from "./dedup.ts";
import { GroupDesk } from "./group-desk.ts";
import { Groups, type ChannelRetention } from "./groups.ts";
import { IdleGroups } from "./idle-groups.ts";
import { LeaseFlow } from "./lease-flow.ts";
import { MemberRouting } from "./member-routing.ts";
import { MessageDesk } from "./message-desk.ts";
import { Presence } from "./presence.ts";
import { ReaderRegistry } from "./reader-registry.ts";
import { RecordCell } from "./record-cell.ts";
import { RedriveJob } from "./redrive-job.ts";
import { Schedule } from "./schedule.ts";
import { Snapshots } from "./snapshots.ts";
import type { ChannelRecord, ChannelStore } from "./store.ts";
import type { AttachedRequests } from "./socket-room.ts";
import { Streams } from "./streams.ts";
import type { Subscription } from "./subscription.ts";
import { Traffic } from "./traffic.ts";
import { WaitLine, type Waiter } from "./wait-line.ts";
import { WorkStealing } from "./work-stealing.ts";

export interface ChannelOptions {
  readonly name: string;
  readonly store: ChannelStore;
  /** Waiters found in the attachments of the open sockets. */
  readonly waiters?: Iterable<Waiter>;
  readonly subscriptions?: Iterable<Subscription>;
  /** What the sockets that are known carry of the leases of streams, also those that carry nothing. */
  readonly leases?: Iterable<CarriedLeases>;
  /** Bytes of leases that fit a socket beside what else it carries; `attachedLeasesBytesMax` if absent. */
  readonly measureLeaseRoom?: (kept: AttachedRequests) => number;
  /** Whether a connection can still be told something: one that left takes nothing (G7). */
  readonly isConnected: (connection: number) => boolean;
  /** Where the client of a connection is; not known if absent. */
  readonly placeOf?: (connection: number) => Place | undefined;
  /** Where the channel's object is; not known if absent. */
  readonly ownPlace?: () => Place | undefined;
  /** Whether a relay is not subscribed that may have readers; never if absent. */
  readonly isRelayAway?: () => boolean;
}

export interface ChannelParts {
  readonly attached: AttachedLeases;
  readonly cell: RecordCell;
  readonly backlog: Backlog;
  readonly groups: Groups;
  readonly idleGroups: IdleGroups;
  readonly deadLetters: DeadLetters;
  readonly checkpoints: Checkpoints;
  readonly schedule: Schedule;
  readonly snapshots: Snapshots;
  readonly dedup: Dedup;
  readonly line: WaitLine;
  readonly streams: Streams;
  readonly workStealing: WorkStealing;
  readonly traffic: Traffic;
  readonly redriveJob: RedriveJob;
  readonly groupDesk: GroupDesk;
  readonly messageDesk: MessageDesk;
  readonly activity: Activity;
}

/** Builds them from what is stored and from what the sockets carry. */
export function assembleParts(options: ChannelOptions): ChannelParts {
  const { store, waiters = [], subscriptions = [], isConnected } = options;
  const cell = new RecordCell(store.readChannel());
  const backlog = new Backlog(store);
  const deadLetters = new DeadLetters(store.deadLetters);
  const channelSettings = (): ChannelRetention => retentionInForce(cell.get());
  const leases = [...(options.leases ?? [])];
  const attached = new AttachedLeases(leases.map(({ connection }) => connection));
  const carried = leases.flatMap(unpackFrames);
  const stores = { store: store.groups, deliveryStore: store.delivery };
  const flow = new LeaseFlow();
  const groups = new Groups({ backlog, deadLetters, ...stores, attached, flow, carried, channelSettings });
  attached.takeChangedConnections();
  const checkpoints = new Checkpoints(store.checkpoints);
  const schedule = new Schedule(store.schedule);
  const dedup = new Dedup(store);
  const subscribed = [...subscriptions];
  const line = restoreLine(waiters, subscribed);
  const { placeOf = () => undefined, ownPlace = () => undefined, isRelayAway = () => false } = options;
  const routing = new MemberRouting({ groups, placeOf, ownPlace });
  const activity = new Activity({ isConnected, placeOf });
  const placeOfPull = (holder: string): Place | undefined => activity.placeOfPull(holder);
  const presence = new Presence({ groups, line, flow, placeOf, placeOfPull });
  const streamsParts = { backlog, groups, line, held: () => traffic.held, isConnected, routing, presence, isRelayAway };
  const streams = new Streams(streamsParts, subscribed, cell.get()?.life);
  const idleGroups = new IdleGroups({ groups, line, streams });
  const announce: Streams["announce"] = (group, controls) => streams.announce(group, controls);
  const traffic = new Traffic({ cell, backlog, groups, idleGroups, schedule, line, dedup, announce, isConnected });
  const readers = new ReaderRegistry({ groups, line, streams, activity, placeOf });
  const kept = { backlog, groups, deadLetters };
  const refuse = (record: ChannelRecord): ReturnType<Traffic["refuseRedriving"]> => traffic.refuseRedriving(record);
  const redriveParts = { ...kept, line, held: () => traffic.held, refuse };
  const redriveJob = new RedriveJob(cell, redriveParts);
  return {
    ...kept,
    attached,
    cell,
    idleGroups,
    checkpoints,
    schedule,
    snapshots: new Snapshots(store.snapshots),
    dedup,
    line,
    streams,
    workStealing: new WorkStealing({ groups, line, streams, routing }),
    traffic,
    redriveJob,
    groupDesk: new GroupDesk({ ...kept, traffic, streams, checkpoints, redriveParts, job: redriveJob, readers }),
    messageDesk: new MessageDesk({ ...kept, schedule }),
    activity,
  };
}

function restoreLine(waiters: Iterable<Waiter>, subscriptions: readonly Subscription[]): WaitLine {
  const line = new WaitLine();
  const places = subscriptions.flatMap((one) => (one.type === "member" && one.place !== undefined ? [one.place] : []));
  line.restore([...waiters, ...places]);
  line.takeChangedConnections();
  return line;
}

function retentionInForce(record: ChannelRecord | undefined): ChannelRetention {
  const settings = record?.settings ?? DEFAULT_SETTINGS;
  const { retention, maxAgeMs, whenNoGroups, delivery, messageTtlMs, onExpired } = settings;
  const { limits = settings, createdAtMs = 0 } = record ?? {};
  return { retention, maxAgeMs, whenNoGroups, delivery, messageTtlMs, onExpired, limits, createdAtMs };
}
