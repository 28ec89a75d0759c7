// What an object asks the outside, and where traffic comes from.
import { describe, expect, test, vi } from "vitest";
import { findMainRegion } from "../../src/channel/traffic-places.ts";
import { learnOwnColo } from "../../src/object/own-colo.ts";

describe("src/object/own-colo", () => {
  test("[NM11] takes the colo out of the trace, and nothing out of anything else", async () => {
    const asked: string[] = [];
    const answering = (text: string) => (url: string) => {
      asked.push(url);
      return Promise.resolve(new Response(text));
    };
    expect(await learnOwnColo(answering("fl=1\nip=::1\ncolo=AMS\nhttp=http/2\n"))).toBe("AMS");
    expect(await learnOwnColo(answering("colo=somewhere"))).toBeUndefined();
    expect(asked).toEqual(Array(2).fill("https://www.cloudflare.com/cdn-cgi/trace"));
  });

  test("[NM11] where the outside is not there, it is not known", async () => {
    const spy = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    expect(await learnOwnColo(() => Promise.reject(new Error("offline")))).toBeUndefined();
    spy.mockRestore();
  });
});

function share(region: string | undefined, ratePerSecond: number) {
  return { region, ratePerSecond };
}

describe("src/channel/traffic-places", () => {
  test("[NM12] the area that more than half comes from whose place is known, or none", () => {
    expect(findMainRegion([])).toBeNull();
    expect(findMainRegion([share("weur", 0)])).toBeNull();
    expect(findMainRegion([share("weur", 1), share("apac", 1)])).toBeNull();
    expect(findMainRegion([share("weur", 1), share("apac", 1), share("weur", 0.5), share(undefined, 9)])).toBe("weur");
  });
});
