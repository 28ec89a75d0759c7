// A channel with groups under attack: every answer is a success or a typed refusal, and after each step every group's account and the
// channel's add up (SPEC GP3, G4). What each reader gets is left to the tests of groups.
import type { ChannelDescription, GroupDescription } from "../../../src/protocol/description.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { ROUTES } from "../../../src/protocol/routes.ts";
import { randomKey, randomMessages, randomTake } from "./content.ts";
import type { ShownMessage } from "./delivery-forms.ts";
import { mutateRequest } from "./http-mutations.ts";
import type { RequestMutation } from "./mutator.ts";
import type { LaneOptions } from "./lane.ts";
import { ChannelModel } from "./model.ts";
import { formatRequest, isCut, type RequestSpec } from "./request.ts";
import { judgeReply, parseObject, type Verdict } from "./verdict.ts";
import { WireClient, type WireReply } from "./wire.ts";

const GROUPS = ["billing", "audit", "a", "z"];
const VERBS = ["acks", "acks", "acks", "retries", "rejects", "releases", "extends"] as const;
/** Refusals of valid requests that say something about the channel or its groups. */
const FAIR_KINDS = new Set([
  "batch-too-large",
  "channel-deleted",
  "channel-full",
  "invalid-lease",
  "message-too-large",
  "no-readers",
  "seek-out-of-range",
  "settings-conflict",
  "unknown-channel",
  "unknown-group",
  "unknown-message",
]);

type Step = readonly [operationId: string, method: string, rest: string, document?: object];

export class GroupAttack {
  readonly #options: LaneOptions;
  readonly #retention: "log" | "interest";
  readonly #wire: WireClient;
  readonly #names = new Set<string>();
  readonly #steps: Generator<() => Step, never>;
  /** A model of nothing: mutations ask it for leases. */
  readonly #nothing = new ChannelModel();
  #leaseIds: string[] = [];
  #generation = 0;
  #isThere = false;
  #nextOffset = 1;
  #sent = "";

  constructor(options: LaneOptions, retention: "log" | "interest") {
    this.#options = options;
    this.#retention = retention;
    this.#wire = new WireClient(options.port);
    this.#steps = this.#shuffleSteps();
  }

  /** One request, valid or with one thing wrong, and the sums after it. */
  async step(): Promise<void> {
    const { random, tally } = this.#options;
    const isHostile = this.#isThere && random.chance(0.3);
    const spec = this.#format(this.#isThere ? this.#draw() : ["createChannel", "PUT", "", this.#drawSettings()]);
    const route = ROUTES.find(({ operationId }) => operationId === spec.operationId);
    if (route === undefined) throw new Error(`No route ${spec.operationId}`);
    const mutation: RequestMutation = isHostile
      ? mutateRequest(spec, route, random, this.#nothing.delivery)
      : { name: "valid", spec, mustRefuse: false };
    const { verdict, reply } = await this.#send(mutation);
    const name = verdict.type === "refused" ? verdict.kind : verdict.type;
    tally.count(`${this.#retention} answers`, name);
    if (verdict.type === "accepted") tally.count(`${this.#retention} steps`, spec.operationId);
    const mistake = this.#judge(mutation, verdict, isHostile) ?? (reply && this.#apply(mutation.spec, reply));
    if (mistake !== undefined) tally.violate(`${this.#retention}, ${spec.operationId}: ${mistake}`, this.#sent);
    await this.#checkSums();
  }

  close(): void {
    this.#wire.close();
  }

  #draw(): Step {
    const { random } = this.#options;
    // Without groups there is little to attack.
    if (this.#names.size < 2 && random.chance(0.5)) {
      return ["createGroup", "PUT", `/groups/${random.pick(GROUPS)}`, this.#drawGroup()];
    }
    return this.#steps.next().value();
  }

  /** Shuffled and not drawn one by one: nothing comes seldom by chance. */
  #shuffleSteps(): Generator<() => Step, never> {
    const { random } = this.#options;
    const change = (): object => ({
      isPaused: random.chance(0.4),
      ...(random.chance(0.3) && { settings: { maxAttempts: 2 } }),
    });
    return random.shuffle<() => Step>([
      () => ["createChannel", "PUT", "", this.#drawSettings()],
      () => ["deleteChannel", "DELETE", random.chance(0.3) ? "?force=true" : "?graceMs=60000"],
      ...Array.from({ length: 3 }, () => (): Step => ["changeChannel", "PATCH", "", { state: "open" }]),
      ...Array.from({ length: 6 }, () => (): Step => [
        "putBatch",
        "POST",
        "/messages/batch",
        { messages: randomMessages(random, 8) },
      ]),
      ...Array.from({ length: 6 }, () => (): Step => ["pullMessages", "POST", "/messages/pull", this.#drawPull()]),
      ...Array.from({ length: 6 }, () => (): Step => ["settleMessages", "POST", "/messages/settle", this.#drawSettle()]),
      () => ["createGroup", "PUT", this.#drawPath(), this.#drawGroup()],
      ...Array.from({ length: 4 }, () => (): Step => ["seekGroup", "POST", `${this.#drawPath()}/seek`, this.#drawPlace()]),
      ...Array.from({ length: 3 }, () => (): Step => ["changeGroup", "PATCH", this.#drawPath(), change()]),
      ...Array.from({ length: 2 }, () => (): Step => ["deleteGroup", "DELETE", this.#drawPath()]),
      () => ["describeGroup", "GET", this.#drawPath()],
      () => ["listGroups", "GET", `/groups?limit=${random.int(1, 3)}`],
      () => ["purgeMessages", "DELETE", "/messages"],
      () => ["removeMessage", "DELETE", `/messages/${random.int(Math.max(1, this.#nextOffset - 9), this.#nextOffset)}`],
      () => ["redriveDeadLetters", "POST", "/dead-letters/redrive", random.chance(0.5) ? { group: this.#drawName() } : {}],
      () => ["dropQuarantine", "POST", "/quarantine/drop", { group: this.#drawName(), key: randomKey(random) }],
      () => [
        "releaseQuarantine",
        "POST",
        "/quarantine/release",
        { group: this.#drawName(), offset: random.int(1, this.#nextOffset) },
      ],
      () => ["changeChannel", "PATCH", "", { state: "open", maxMessages: random.int(10, 40) }],
    ]);
  }

  /** Mostly a group that is there. */
  #drawName(): string {
    const { random } = this.#options;
    return this.#names.size > 0 && random.chance(0.6) ? random.pick([...this.#names]) : random.pick(GROUPS);
  }

  #drawPath(): string {
    return `/groups/${this.#drawName()}`;
  }

  #drawSettings(): object {
    const { random } = this.#options;
    return {
      retention: this.#retention,
      maxMessages: random.int(10, 40),
      ...(this.#retention === "interest" && random.chance(0.5) && { whenNoGroups: "drop" }),
      delivery: { maxAttempts: random.int(1, 3), retryDelaysMs: [0], onExhausted: random.pick(["dead-letter", "quarantine"]) },
    };
  }

  #drawPull(): object {
    const { random } = this.#options;
    return {
      group: this.#drawName(),
      ...randomTake(random),
      ...(random.chance(0.3) ? { ack: "auto" } : { leaseMs: LIMITS.leaseMsMax }),
    };
  }

  #drawSettle(): object {
    const { random } = this.#options;
    const call: Record<string, object[]> = {};
    const ids = this.#leaseIds.splice(0, random.int(0, 4));
    for (const leaseId of ids) {
      const verb = random.pick(VERBS);
      if (verb === "extends" || random.chance(0.2)) this.#leaseIds.push(leaseId);
      (call[verb] ??= []).push({ leaseId, ...(verb === "extends" && { leaseMs: LIMITS.leaseMsMax }) });
    }
    return call;
  }

  #drawGroup(): object {
    const { random } = this.#options;
    return random.chance(0.6) ? { start: this.#drawPlace() } : {};
  }

  #drawPlace(): object {
    const { random } = this.#options;
    const offset = random.int(Math.max(1, this.#nextOffset - 12), this.#nextOffset + 1);
    return random.pick([{ at: "first" }, { at: "last" }, { offset }, { offset }, { timeMs: Date.now() - random.int(0, 200) }]);
  }

  #format([operationId, method, rest, document]: Step): RequestSpec {
    const [path = "", query] = rest.split("?", 2);
    return {
      operationId,
      method,
      path: `/v1/channels/${this.#options.name}-${this.#generation}${path}`,
      query: query === undefined ? [] : [query.split("=", 2) as [string, string]],
      headers: document === undefined ? [] : [["Content-Type", "application/json"]],
      framing: document === undefined ? "none" : "length",
      ...(document !== undefined && { body: Buffer.from(JSON.stringify(document)) }),
    };
  }

  async #send({ spec, isTransport = false }: RequestMutation): Promise<{ verdict: Verdict; reply: WireReply | undefined }> {
    const bytes = formatRequest(spec, this.#options.port);
    this.#sent = bytes.toString("latin1").slice(0, 300);
    const isHead = spec.method === "HEAD";
    const answer = await this.#wire.send(bytes, { isHead, isHalfClosed: isCut(spec) });
    if (isTransport || spec.framing === "length-too-short") this.#wire.close();
    const verdict = judgeReply(answer, { isHead, isTransport });
    const isServed = verdict.type === "accepted" && typeof answer !== "string" && !isHead;
    return { verdict, reply: isServed ? answer : undefined };
  }

  #judge({ name, mustRefuse }: RequestMutation, verdict: Verdict, isHostile: boolean): string | undefined {
    if (verdict.type === "wrong") return verdict.reason;
    if (verdict.type === "accepted" && mustRefuse) return `accepted ${name}`;
    const isUnfair =
      verdict.type === "refused" && !isHostile && !FAIR_KINDS.has(verdict.kind) && !verdict.kind.startsWith("channel-");
    return isUnfair ? `refused a valid request: ${String(verdict.problem["detail"])}` : undefined;
  }

  /** Which groups there are, and what was leased. */
  #apply({ operationId, path }: RequestSpec, { status, body }: WireReply): string | undefined {
    const name = path.split("/").at(-1) ?? "";
    const isThere = this.#names.has(name);
    switch (operationId) {
      case "createChannel":
        if (status === 201) this.#isThere = true;
        return undefined;
      case "createGroup":
        this.#names.add(name);
        return (status === 200) === isThere ? undefined : `answered ${status} where the group was ${isThere ? "" : "not "}there`;
      case "deleteGroup":
        return this.#names.delete(name) ? undefined : "deleted what was not there";
      case "pullMessages": {
        const messages = parseObject(String(body))?.["messages"] as ShownMessage[];
        const offsets = messages.map(({ offset }) => offset);
        this.#leaseIds.push(...messages.flatMap(({ leaseId }) => leaseId ?? []));
        return new Set(offsets).size === offsets.length ? undefined : `took ${offsets.join()}`;
      }
      default:
        return undefined;
    }
  }

  /** Goes on with a channel of another name. */
  #forget(): void {
    this.#generation += 1;
    this.#isThere = false;
    this.#names.clear();
    this.#leaseIds = [];
    this.#nextOffset = 1;
  }

  async #checkSums(): Promise<void> {
    const { tally } = this.#options;
    const specs = [this.#format(["describeChannel", "GET", ""]), this.#format(["listGroups", "GET", "/groups?limit=1000"])];
    const documents: unknown[] = [];
    for (const spec of specs) {
      const { verdict, reply } = await this.#send({ name: "sums", spec, mustRefuse: false });
      if (verdict.type === "refused" && ["unknown-channel", "channel-deleted"].includes(verdict.kind)) return this.#forget();
      documents.push(parseObject(String(reply?.body)));
    }
    const [channel, page] = documents as [ChannelDescription, { groups: GroupDescription[] }];
    // A deleted channel may have been made anew without a retention.
    if (channel.settings.retention !== this.#retention) return this.#forget();
    const listed = page.groups.map(({ group }) => group);
    const expected = [...this.#names].sort();
    const mistakes = [
      listed.join() === expected.join() ? undefined : `lists ${listed.join()} instead of ${expected.join()}`,
      channel.groups === listed.length ? undefined : `describes ${channel.groups} groups`,
      findWrongSum(channel),
      ...page.groups.map((group) => findWrongGroupSum(group, channel)),
    ];
    for (const mistake of mistakes) if (mistake !== undefined) tally.violate(`${this.#retention}: ${mistake}`, this.#sent);
    for (const _ of page.groups) tally.count("compared", `${this.#retention} groups`);
    this.#nextOffset = channel.nextOffset;
  }
}

function findWrongSum({ counts, depth }: ChannelDescription): string | undefined {
  const sum = depth + counts.acked + counts.removed + counts.deadLettered + counts.dropped + counts.expired;
  return counts.put === sum ? undefined : `put ${counts.put} of depth ${depth} and ${JSON.stringify(counts)}`;
}

function findWrongGroupSum(group: GroupDescription, { nextOffset }: ChannelDescription): string | undefined {
  const { counts, depth, ready, leased, retrying, quarantined, headOffset } = group;
  const sum = depth + counts.acked + counts.deadLettered + counts.removed + counts.dropped + counts.expired + counts.skipped;
  const isBalanced = counts.put === sum && depth === ready + leased + retrying + quarantined && headOffset <= nextOffset;
  const isNegative = [depth, ready, leased, retrying, quarantined, ...Object.values(counts)].some((count) => count < 0);
  return isBalanced && !isNegative ? undefined : `the account of a group is ${JSON.stringify(group)}`;
}
