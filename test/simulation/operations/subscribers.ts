// Subscribers: members of groups, plain readers of logs and taps; credit in small and large pieces, and readers that come back by the
// tokens that they were told.
import type { OperationOf, Origin, StreamTarget } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { MessageFilter } from "../../../src/protocol/stream-frames.ts";
import type { Random } from "../random.ts";
import type { World } from "../world.ts";
import { drawStart } from "./groups.ts";
import { type ActorOperation, drawGroup, drawOrigin } from "./operation.ts";
import { drawBatch, fill, KEYS } from "./producers.ts";

/** Older ones are mostly of lives that are over. */
const SESSIONS_REMEMBERED = 6;

/** So many of the last leases that were told are named by who comes back. */
const LEASES_HELD_MAX = 12;

type Credit = OperationOf<"credit">["credit"];

function drawCredit(random: Random): Credit {
  const messages = random.oneOf(0, 1, 1, 2, 3, 5, 8, 100, Number.MAX_SAFE_INTEGER);
  return { messages, bytes: random.oneOf(0, 8, 60, 300, 300, 5_000, 5_000, Number.MAX_SAFE_INTEGER) };
}

/** Mostly enough to be sent something. */
function drawFirstCredit(random: Random): Credit {
  return random.chance(60) ? { messages: random.oneOf(1, 2, 3, 8), bytes: random.oneOf(60, 300, 5_000) } : drawCredit(random);
}

function drawFilter(random: Random): { readonly filter?: MessageFilter } {
  if (random.chance(50)) return {};
  const keys = random.some(KEYS, 40);
  const filter = random.oneOf<MessageFilter>(
    {},
    { keys: keys.length === 0 ? ["nobody's"] : keys },
    { keys: ["nobody's"] },
    { headers: { trace: "é" } },
    { keys: [...KEYS], headers: { trace: "é" } },
    { headers: { trace: "other" } },
  );
  return { filter };
}

/** What a subscription was told, of this life or another; now and then of a place that is not there, or nonsense. */
function drawToken(world: World, random: Random): string {
  const told = random.pick(world.ledger.readings.tokens) ?? "life-0.1";
  const [life = ""] = told.split(".");
  const known = [...world.ledger.readings.tokens].reverse()[0] ?? told;
  return random.oneOf(
    known,
    known,
    told,
    told,
    `${life}.${world.model.state.nextOffset + random.oneOf(0, 1, 50)}`,
    `${life}.0`,
    life,
  );
}

function subscribe(world: World, random: Random, target: StreamTarget): void {
  world.perform({ type: "subscribe", credit: drawFirstCredit(random), target }, drawOrigin(world, random));
}

function drawReader(world: World, random: Random): StreamTarget {
  const isResumed = world.ledger.readings.tokens.length > 0 && random.chance(30);
  const from = isResumed ? { resume: drawToken(world, random) } : drawStart(world, random);
  return { type: "reader", from, ...drawFilter(random) };
}

function drawMember(world: World, random: Random): Extract<StreamTarget, { type: "member" }> {
  return { type: "member", leaseMs: random.oneOf(1_000, 2_500, 30_000, 600_000), ...drawGroup(world, random) };
}

/** Leases of some of what was sent last; rarely one of another life, or nonsense. */
function drawHeld(world: World, random: Random): { readonly leaseId: string }[] {
  const last = world.ledger.leases.slice(-LEASES_HELD_MAX).map(({ leaseId }) => ({ leaseId }));
  const held = random.chance(20) ? last : random.some(last, random.oneOf(0, 50, 90));
  return random.chance(3) ? [...held, { leaseId: "0-1-1-0000000000000000-0000000000000000" }] : [...held];
}

/** Mostly what is right for the channel. */
function drawPlain(world: World, random: Random): StreamTarget {
  const isLog = (world.model.state.record?.settings.retention === "log") === random.chance(90);
  return isLog ? drawReader(world, random) : { type: "tap", ...drawFilter(random) };
}

/** Mostly a subscription or a watch that is there and open. */
function drawSubscription(world: World, random: Random): Origin {
  const { subscriptions, watches } = world.model.state;
  const open = [...subscriptions, ...watches].filter(({ connection }) => world.isOpen(connection));
  const { connection, request } = (random.chance(90) ? random.pick(open) : undefined) ?? drawOrigin(world, random);
  return { connection, request };
}

/** Members share messages among which control records lie. */
function resizeBetweenTurns(world: World, random: Random): void {
  const target = drawMember(world, random);
  for (let member = 0; member < 2; member++) subscribe(world, random, target);
  const { maxMessages = 10 } = world.model.state.record?.limits ?? {};
  for (let turn = 0; turn < 2; turn++) {
    world.perform({ type: "put", messages: fill(random, 1, 8) });
    world.perform({ type: "patch", patch: { maxMessages: maxMessages + turn + 1 } });
    world.perform({ type: "put", messages: fill(random, 2, 8) });
    if (random.chance(50)) world.perform({ type: "get", max: 2, ...(target.group !== undefined && { group: target.group }) });
    world.end("none");
  }
}

export const SUBSCRIBERS: readonly ActorOperation[] = [
  {
    name: "subscribe as a member",
    weight: 34,
    run: (world, random) => {
      subscribe(world, random, drawMember(world, random));
    },
  },
  {
    name: "subscribe as a plain reader",
    weight: 34,
    run: (world, random) => {
      subscribe(world, random, drawPlain(world, random));
    },
  },
  {
    name: "go on where a subscription was",
    weight: 16,
    run: (world, random) => {
      const from = { resume: drawToken(world, random) };
      subscribe(world, random, { type: "reader", from, ...(random.chance(20) && drawFilter(random)) });
    },
  },
  {
    name: "subscribe without a connection",
    weight: 5,
    run: (world, random) => {
      world.perform({ type: "subscribe", credit: drawFirstCredit(random), target: drawPlain(world, random) });
    },
  },
  {
    name: "crowd with subscriptions",
    weight: 5,
    run: (world, random) => {
      const { connection } = drawOrigin(world, random);
      const target = random.chance(50) ? drawMember(world, random) : drawPlain(world, random);
      for (let request = 1; request <= LIMITS.subscriptionsPerSocketMax + 1; request++)
        world.perform({ type: "subscribe", credit: drawFirstCredit(random), target }, { connection, request });
    },
  },
  {
    name: "grant credit",
    weight: 60,
    run: (world, random) => {
      const origin = drawSubscription(world, random);
      world.perform({ type: "credit", request: origin.request, credit: drawCredit(random) }, origin);
    },
  },
  {
    name: "grant credit to all",
    weight: 30,
    run: (world, random) => {
      for (const { connection, request } of world.model.state.subscriptions) {
        if (!world.isOpen(connection)) continue;
        const credit = { messages: random.oneOf(1, 3, 20), bytes: random.oneOf(300, 5_000) };
        world.perform({ type: "credit", request, credit }, { connection, request });
      }
    },
  },
  {
    name: "unsubscribe",
    weight: 12,
    run: (world, random) => {
      const origin = drawSubscription(world, random);
      world.perform({ type: "unsubscribe", request: origin.request }, origin);
    },
  },
  {
    name: "come back after the connection was lost",
    weight: 12,
    run: (world, random) => {
      // A client whose socket ended reads on from the last frame that it got.
      const reader = random.pick(world.model.state.subscriptions.filter((one) => one.type === "reader" && !one.isTap));
      const before = world.ledger.readings.tokens.at(-1);
      if (reader === undefined || before === undefined) return;
      world.disconnect(reader.connection, random.chance(50));
      if (random.chance(60)) world.perform({ type: "put", messages: drawBatch(random) });
      subscribe(world, random, { type: "reader", from: { resume: before } });
    },
  },
  {
    name: "come back as a member",
    weight: 16,
    run: (world, random) => {
      // A client whose socket ended, or does so unheard, takes its leases over on another one, in time or not.
      const session = random.pick(world.ledger.sessions.slice(-SESSIONS_REMEMBERED));
      if (session === undefined) return;
      const { connection } = session;
      if (world.isOpen(connection) && random.chance(40)) world.disconnect(connection, random.chance(20));
      else if (world.isOpen(connection) && random.chance(30)) world.cut(connection);
      if (random.chance(20)) world.pass(random.oneOf(1_000, LIMITS.resumeGraceMs - 1, LIMITS.resumeGraceMs));
      const resume = random.chance(90) ? session.resume : random.oneOf("life-0.1-0-0", "nonsense", `${session.resume}0`);
      const own = random.chance(95) ? { group: session.group } : drawGroup(world, random);
      const { group } = own;
      const held = random.chance(50) && { held: drawHeld(world, random) };
      subscribe(world, random, { ...drawMember(world, random), ...(group !== undefined && { group }), resume, ...held });
    },
  },
  {
    name: "wait beside a member that has taken what there was",
    weight: 14,
    run: (world, random) => {
      const member = drawMember(world, random);
      const [taking, waiting] = [drawOrigin(world, random), drawOrigin(world, random)];
      world.perform({ type: "subscribe", credit: { messages: random.oneOf(6, 12), bytes: 5_000 }, target: member }, taking);
      world.perform({ type: "put", messages: random.chance(50) ? drawBatch(random) : fill(random, 4, 8) });
      world.end("none");
      if (random.chance(80)) world.pass(LIMITS.revokeAgeMs);
      const { group } = member;
      if (random.chance(70)) world.perform({ type: "subscribe", credit: drawFirstCredit(random), target: member }, waiting);
      else world.perform({ type: "get", max: 3, min: 1, waitMs: 5_000, ...(group !== undefined && { group }) }, waiting);
      world.end("none");
      if (random.chance(50)) world.pass(LIMITS.revokeAgeMs);
    },
  },
  {
    name: "take over what a subscription holds",
    weight: 12,
    run: (world, random) => {
      // Most tokens that were told are of subscriptions that are over.
      const member = drawMember(world, random);
      const outcome = world.perform(
        { type: "subscribe", credit: drawFirstCredit(random), target: member },
        drawOrigin(world, random),
      );
      const resume = outcome.type === "subscribed" ? outcome.resume : undefined;
      if (random.chance(50)) world.end("none");
      if (resume !== undefined) subscribe(world, random, { ...member, resume });
    },
  },
  {
    name: "read what nobody puts",
    weight: 12,
    run: (world, random) => {
      const filter: MessageFilter = { keys: ["nobody's"] };
      const isLog = world.model.state.record?.settings.retention === "log";
      subscribe(world, random, isLog ? { type: "reader", from: { at: "first" }, filter } : { type: "tap", filter });
    },
  },
  {
    name: "read too slowly",
    weight: 14,
    run: (world, random) => {
      // A log gives up what its reader was not sent.
      if (world.model.state.record?.settings.retention !== "log") return;
      const origin = drawOrigin(world, random);
      const credit = { messages: random.oneOf(0, 1), bytes: 5_000 };
      world.perform({ type: "subscribe", credit, target: { type: "reader", from: { at: "first" } } }, origin);
      const { maxMessages } = world.model.state.record.limits;
      for (let put = 0; put * 4 < maxMessages; put++) {
        world.perform({ type: "put", messages: fill(random, 4, 8) });
        world.end("none");
      }
      world.perform({ type: "credit", request: origin.request, credit: { messages: 3, bytes: 5_000 } }, origin);
    },
  },
  {
    name: "go on with the token of another life or place",
    weight: 9,
    run: (world, random) => {
      if (world.model.state.record?.settings.retention !== "log") return;
      const { record, nextOffset } = world.model.state;
      const resume = random.oneOf("life-0.1", `${record.life}.${nextOffset + random.oneOf(1, 50)}`);
      subscribe(world, random, { type: "reader", from: { resume } });
    },
  },
  {
    name: "end what is subscribed to",
    weight: 7,
    run: (world, random) => {
      const { groups, record } = world.model.state;
      const group = random.pick(groups)?.name;
      subscribe(world, random, group === undefined ? drawPlain(world, random) : { ...drawMember(world, random), group });
      if (record?.settings.retention === "queue" || group === undefined) world.perform({ type: "delete", graceMs: 0 });
      else world.perform({ type: "delete-group", group });
    },
  },
  {
    name: "watch",
    weight: 15,
    run: (world, random) => {
      world.perform({ type: "watch" }, drawOrigin(world, random));
      if (random.chance(40)) world.perform({ type: "patch", patch: { state: "draining" } });
      // Enough to cross a mark where that is low.
      else for (let puts = random.between(1, 4); puts > 0; puts--) world.perform({ type: "put", messages: drawBatch(random) });
    },
  },
  {
    name: "put and get while members stand",
    weight: 8,
    run: (world, random) => {
      if (random.chance(50)) {
        resizeBetweenTurns(world, random);
        return;
      }
      world.perform({ type: "put", messages: drawBatch(random) });
      world.perform({ type: "get", max: random.oneOf(1, 5), ...drawGroup(world, random) });
    },
  },
];
