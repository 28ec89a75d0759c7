// The arithmetic about a million readers, on worlds small enough to count by hand.
import { describe, expect, test } from "vitest";
import { distanceKm } from "../../../src/protocol/colos.ts";
import { weighColos } from "../../simulation/world/all-colos.ts";
import { needColo } from "../../simulation/world/eight-colos.ts";
import { countMillion, SEND_MS } from "../../simulation/world/million.ts";
import { KM_PER_MS } from "../../simulation/world/world.ts";
import { Random } from "../../simulation/random.ts";

const SEED = 5;
const IAD = needColo("IAD");

describe("test/simulation/world/million", () => {
  test("relays are split at 5,000, and what they send and copy is counted", () => {
    const places = [
      { colo: IAD, readers: 5_000 },
      { colo: needColo("NRT"), readers: 5_001 },
    ];
    const { readers, relays, figures, wakingMs, bytesBetween, memory } = countMillion(places, IAD);

    expect([readers, relays]).toEqual([10_001, 3]);
    expect(wakingMs).toBeCloseTo(3 * 0.074, 9);
    expect(bytesBetween).toEqual({ relayed: 2 * 1_100, plain: 5_001 * 1_100 });
    expect(memory.relay).toEqual({ copies: 5_500_000, attachments: 81_920_000 });
    expect(figures.map(({ sendMs }) => sendMs)).toEqual([...SEND_MS]);
    const [fast] = figures;
    expect(fast?.commitsOfChannel).toBeCloseTo(1000 / 0.009, 6);
    expect(fast?.commitsOfRelay).toBeCloseTo(1000 / 15, 6);
    expect(fast?.commitsWithoutRelays).toBeCloseTo(1000 / 30.003, 6);
  });

  test("a delivery takes the turn at the channel, the way, and the turn at the relay", () => {
    const { figures } = countMillion([{ colo: needColo("NRT"), readers: 1 }], IAD);

    const wayMs = distanceKm(IAD, needColo("NRT")) / KM_PER_MS;
    expect(figures[0]?.deliveryP50Ms).toBeCloseTo(wayMs + 0.006, 9);
    expect(figures[0]?.p99WithoutRelaysMs).toBeCloseTo(wayMs + 0.003, 9);
  });

  test("of a million readers over all colos the channel keeps ahead of a full relay, and the same seed gives the same", () => {
    const million = countMillion(weighColos(new Random(SEED), 1_000_000), IAD);

    expect(Math.abs(million.readers - 1_000_000)).toBeLessThan(500);
    expect(million.relays).toBeLessThan(million.secondTierRelays);
    for (const { commitsOfChannel, commitsOfRelay } of million.figures) expect(commitsOfChannel).toBeGreaterThan(commitsOfRelay);
    expect(million.bytesBetween.plain / million.bytesBetween.relayed).toBeGreaterThan(1_000);
    const [one, other] = [
      countMillion(weighColos(new Random(SEED), 9_000), IAD),
      countMillion(weighColos(new Random(SEED), 9_000), IAD),
    ];
    expect(other).toEqual(one);
  });
});
