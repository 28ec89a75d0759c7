// Requests to the HTTP surface, whatever they ask for: what of them is refused, and with which words.
// Words in brackets that are not rules of src/channel/SPEC.md name a section of src/protocol/PROTOCOL.md.
import { describe, expect, test } from "vitest";
import type { ChannelDescription } from "../../src/protocol/description.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { FRAME_MEDIA_TYPE } from "../../src/protocol/version.ts";
import { findMethods, ROUTES } from "../../src/protocol/routes.ts";
import { MIB, pointersOf, putBytes, type Sample } from "./http.ts";
import { call, createChannel, describeChannel, freshChannel, pathOf, read, readProblem } from "./service.ts";

const METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"];

function pullText(channel: string, query: string, contentType: string, body: string): Promise<Response> {
  return call("POST", pathOf(channel, `/messages/pull${query}`), { body, headers: { "Content-Type": contentType } });
}

function takesBody({ body, isMessageBody, isValueBody, isPageBody }: (typeof ROUTES)[number]): boolean {
  return body !== undefined || isMessageBody === true || isValueBody === true || isPageBody === true;
}

describe("src/worker/index", () => {
  test("[protocol:http] /healthz answers", async () => {
    expect(await read(call("GET", "/healthz"))).toEqual({ status: "ok" });
  });

  test("[G11] an address that is not served is refused with its path", async () => {
    for (const path of ["/", "/v1", "/v2/channels", "/v1/channels/", "/v1/channels/a/", "/v1/channels/a/other", "/V1/channels"]) {
      const problem = await readProblem(call("GET", path));

      expect(problem).toMatchObject({ kind: "unknown-route", status: 404, path, retry: "never" });
    }
  });

  test("[G11] a method that an address does not take is refused with those that it takes", async () => {
    const paths = new Set(ROUTES.map((route) => route.path.replaceAll(/\{\w+\}/g, "1")));
    for (const path of paths) {
      const allow = findMethods(path);
      for (const method of METHODS.filter((name) => !allow.includes(name))) {
        const reply = await call(method, path);

        expect([`${method} ${path}`, reply.headers.get("Allow")]).toEqual([`${method} ${path}`, allow.join(", ")]);
        expect(await readProblem(reply)).toMatchObject({ kind: "method-not-allowed", status: 405, allow });
      }
    }
  });

  test("[G11] an address that takes GET takes HEAD, and says so", async () => {
    const channel = await createChannel();
    const reply = await call("HEAD", pathOf(channel));

    expect([reply.status, await reply.text()]).toEqual([200, ""]);
    expect((await call("POST", pathOf(channel))).headers.get("Allow")).toBe("PUT, GET, HEAD, PATCH, DELETE");
    expect((await call("HEAD", pathOf(channel, "/messages/batch"))).status).toBe(405);
  });

  test("[G11] a route's own name is no offset", async () => {
    const channel = await createChannel();
    for (const name of ["pull", "settle", "batch"]) {
      for (const method of ["GET", "DELETE"]) {
        const problem = await readProblem(call(method, pathOf(channel, `/messages/${name}`)));

        expect([method, name, problem]).toMatchObject([method, name, { kind: "method-not-allowed", allow: ["POST"] }]);
      }
    }
    expect(await pointersOf(call("GET", pathOf(channel, "/messages/pulls")))).toEqual(["/path/offset"]);
  });

  test("[G11] an unknown member or parameter is called so and told what there is, and a number that is too large is told the largest", async () => {
    const channel = await createChannel();
    const details = async (rest: string, json: object): Promise<unknown> => {
      const problem = await readProblem(call("POST", pathOf(channel, rest), { json }));
      return problem["errors"];
    };

    expect(await details("/messages/pull", { maxx: 1 })).toEqual([
      { pointer: "/maxx", detail: expect.stringMatching(/^Unknown member: expected one of .*\bmax, /) as string },
    ]);
    expect(await details("/messages/batch?waitms=1", {})).toEqual([
      { pointer: "/query/waitms", detail: expect.stringMatching(/^Unknown parameter: expected one of .*\bwaitMs\b/) as string },
    ]);
    for (const digits of ["9".repeat(16), "9".repeat(400)]) {
      expect(await details(`/messages/batch?waitMs=${digits}`, {})).toEqual([
        { pointer: "/query/waitMs", detail: `Expected at most ${Number.MAX_SAFE_INTEGER}` },
      ]);
    }
  });

  test("[protocol:refusals] name, query, content type and body are checked in this order", async () => {
    const channel = freshChannel();

    expect(await pointersOf(pullText("-bad", "?bad=1", "text/plain", "{"))).toEqual(["/path/channel"]);
    expect(await pointersOf(pullText(channel, "?bad=1", "text/plain", "{"))).toEqual(["/query/bad"]);
    expect(await readProblem(pullText(channel, "", "text/plain", "{"))).toMatchObject({ kind: "unsupported-media-type" });
    expect(await pointersOf(pullText(channel, "", "application/json", "{"))).toEqual([""]);
    expect(await pointersOf(pullText(channel, "", "application/json", '{"ack":"auto","min":2,"max":1}'))).toEqual(["/min"]);
  });
});

describe("src/worker/request-parts", () => {
  test("[protocol:names] a channel's name may have 128 characters and . _ ~ : -", async () => {
    for (const channel of [`0._~:-${crypto.randomUUID()}`, `A${crypto.randomUUID()}`.padEnd(LIMITS.channelNameCharsMax, "x")]) {
      const description = await read<ChannelDescription>(call("PUT", pathOf(channel)), 201);

      expect(description.channel).toBe(channel);
    }
  });

  test("[protocol:names] a name that is not allowed is refused on every route", async () => {
    const names = ["-a", ".a", "%20a", "a%20b", "a%2Fb", "%C3%BC", "a@b", "x".repeat(LIMITS.channelNameCharsMax + 1)];
    const samples: Sample[] = [
      ["PUT", ""],
      ["GET", ""],
      ["PATCH", ""],
      ["DELETE", ""],
      ["POST", "/messages"],
      ["POST", "/messages/batch"],
      ["POST", "/messages/pull"],
      ["GET", "/messages"],
      ["DELETE", "/messages/1"],
      ["GET", "/checkpoints"],
      ["PUT", "/checkpoints/a"],
      ["GET", "/socket"],
    ];
    for (const name of names) {
      for (const [method, rest] of samples) {
        expect([`${method} ${name}${rest}`, await pointersOf(call(method, pathOf(name, rest)))]).toEqual([
          `${method} ${name}${rest}`,
          ["/path/channel"],
        ]);
      }
    }
  });

  test("[protocol:versions] an unknown query parameter is refused on every route", async () => {
    for (const route of ROUTES.filter(({ path }) => path.startsWith("/v1/"))) {
      const filled = route.path.replace("{scheduledId}", "1-1").replaceAll(/\{(?:snapshot|restore)Id\}/g, "0123456789abcdef");
      const path = filled.replaceAll(/\{\w+\}/g, "1");
      const reply = await call(route.method.toUpperCase(), `${path}?wiatMs=5`);

      expect([route.operationId, await pointersOf(reply)]).toEqual([route.operationId, ["/query/wiatMs"]]);
    }
  });

  test("[G11] a query parameter that is called like a member of every object is unknown too", async () => {
    const path = pathOf(freshChannel(), "/messages");
    for (const name of ["__proto__", "constructor", "toString"]) {
      expect([name, await pointersOf(call("GET", `${path}?${name}=1`))]).toEqual([name, [`/query/${name}`]]);
      expect([name, await pointersOf(call("GET", `${path}?${name}=1&${name}=1`))]).toEqual([name, [`/query/${name}`]]);
    }
  });

  test("[G11] a query parameter that is repeated or not a whole number in its range is refused", async () => {
    const path = pathOf(freshChannel(), "/messages");
    for (const waitMs of ["-1", "1.5", "1e3", "abc", "", "%20", "9".repeat(17)]) {
      expect([waitMs, await pointersOf(call("POST", `${path}?waitMs=${waitMs}`, { body: "a" }))]).toEqual([
        waitMs,
        ["/query/waitMs"],
      ]);
    }
    expect(await pointersOf(call("POST", `${path}?waitMs=1&waitMs=2`, { body: "a" }))).toEqual(["/query/waitMs"]);
    for (const limit of [0, LIMITS.browseMessagesMax + 1]) {
      expect(await pointersOf(call("GET", `${path}?limit=${limit}`))).toEqual(["/query/limit"]);
    }
    expect(await pointersOf(call("GET", `${path}?from=0`))).toEqual(["/query/from"]);
  });

  test("[G11] an offset that can not be one is refused", async () => {
    const channel = await createChannel();
    for (const offset of ["0", "-1", "abc", "1.5", "batches", String(2 ** 48 + 1)]) {
      for (const method of ["GET", "DELETE"]) {
        expect([offset, await pointersOf(call(method, pathOf(channel, `/messages/${offset}`)))]).toEqual([
          offset,
          ["/path/offset"],
        ]);
      }
    }
  });

  test("[G11] a JSON body of another content type is refused with the one that is taken", async () => {
    const channel = await createChannel();
    const samples: Sample[] = [
      ["PUT", ""],
      ["PATCH", ""],
      ["POST", "/messages/batch"],
      ["POST", "/messages/pull"],
    ];
    for (const [method, rest] of samples) {
      for (const type of ["text/plain", "application/jsonx", "application/problem+json", "multipart/form-data; boundary=a"]) {
        const reply = call(method, pathOf(channel, rest), { body: "{}", headers: { "Content-Type": type } });

        const accepted = ["application/json", ...(rest === "/messages/batch" ? [FRAME_MEDIA_TYPE] : [])];
        const expected = { kind: "unsupported-media-type", status: 415, accepted };
        expect(await readProblem(reply)).toMatchObject(expected);
      }
    }
  });

  test("[protocol:put one] a body with a content encoding is refused, and put nowhere", async () => {
    const channel = await createChannel();
    const samples: Sample[] = [
      ["PUT", ""],
      ["PATCH", ""],
      ["POST", "/messages"],
      ["POST", "/messages/batch"],
      ["POST", "/messages/pull"],
      ["POST", "/messages/settle"],
      ["PUT", "/checkpoints/a"],
    ];
    for (const [method, rest] of samples) {
      for (const encoding of ["gzip", "br", "identity, gzip", "x"]) {
        const headers = { "Content-Type": "application/json", "Content-Encoding": encoding };
        const reply = call(method, pathOf(channel, rest), { body: "{}", headers });

        const expected = { kind: "unsupported-media-type", status: 415, acceptedEncodings: ["identity"] };
        expect([rest, await readProblem(reply)]).toMatchObject([rest, expected]);
      }
    }
    await read(putBytes(channel, "a", { "Content-Encoding": "Identity" }), 201);
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[G11] a JSON body without a content type is refused, an absent one only where it is needed", async () => {
    const body = new TextEncoder().encode("{}");
    const channel = freshChannel();

    expect(await readProblem(call("PUT", pathOf(channel), { body }))).toMatchObject({ kind: "unsupported-media-type" });
    await read(call("PUT", pathOf(channel)), 201);
    expect(await readProblem(call("PATCH", pathOf(channel)))).toMatchObject({ kind: "unsupported-media-type" });
    const settle = pathOf(channel, "/messages/settle");
    expect(await readProblem(call("POST", settle))).toMatchObject({ kind: "unsupported-media-type" });
  });

  test("[G11] malformed JSON is refused with a pointer to the whole body", async () => {
    const channel = await createChannel();
    const headers = { "Content-Type": "application/json; charset=utf-8" };
    for (const body of ["", "{", '{"a":1,}', "nul", new Uint8Array([0x22, 0xff, 0x22])]) {
      const problem = await readProblem(call("PATCH", pathOf(channel), { body, headers }));

      expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "" }] });
      expect(problem.detail).toMatch(/Malformed JSON/);
    }
  });

  test("[G11] a JSON body with wrong members is refused with pointers to them", async () => {
    const channel = await createChannel();
    const cases: [object | string | null, string[]][] = [
      [null, [""]],
      ["open", [""]],
      [{ maxMessages: "1", maxBytes: 0 }, ["/maxMessages"]],
      [{ maxMesages: 1 }, ["/maxMesages"]],
      [{ "a/b~c": 1 }, ["/a~1b~0c"]],
      [{ growth: { factor: 1, maxMessages: 1, maxBytes: 1 } }, ["/growth/factor"]],
      [{ growth: { factor: 2, maxMessages: 1, maxBytes: 1024 * MIB } }, ["/growth/maxMessages"]],
      [{ expireAfterIdleMs: 1 }, ["/expireAfterIdleMs"]],
      [{ state: "deleted" }, ["/state"]],
    ];
    for (const [json, pointers] of cases) {
      expect([JSON.stringify(json), await pointersOf(call("PATCH", pathOf(channel), { json }))]).toEqual([
        JSON.stringify(json),
        pointers,
      ]);
    }
  });

  test("[G11] a list where an object belongs is refused", async () => {
    const channel = await createChannel();
    const samples: Sample[] = [
      ["PUT", ""],
      ["PATCH", ""],
      ["POST", "/messages/batch"],
      ["POST", "/messages/pull"],
    ];
    for (const [method, rest] of samples) {
      expect(await pointersOf(call(method, pathOf(channel, rest), { json: [] }))).toContain("");
    }
    const headersAsList = { messages: [{ text: "a", headers: ["b"] }] };
    const reply = call("POST", pathOf(channel, "/messages/batch"), { json: headersAsList });
    expect(await pointersOf(reply)).toEqual(["/messages/0/headers"]);
  });

  test("[G6] a control body above its limit is refused, whether its length is announced or not", async () => {
    const channel = await createChannel();
    const text = JSON.stringify({ ack: "auto", max: 1 }).padEnd(LIMITS.controlBodyBytesMax + 1);
    for (const body of [text, new Blob([text]).stream()]) {
      const reply = call("POST", pathOf(channel, "/messages/pull"), { body, headers: { "Content-Type": "application/json" } });

      expect(await readProblem(reply)).toMatchObject({ kind: "request-too-large", limit: LIMITS.controlBodyBytesMax });
    }
  });

  test("[G6] JSON in another charset than UTF-8 is refused", async () => {
    const channel = await createChannel();
    const pullAs = (type: string): Promise<Response> =>
      call("POST", pathOf(channel, "/messages/pull"), { body: "{}", headers: { "Content-Type": `application/json${type}` } });

    for (const type of ["; charset=utf-16", ';charset="UTF-16LE"', "; a=b; charset=iso-8859-1"]) {
      expect([type, (await readProblem(pullAs(type))).kind]).toEqual([type, "unsupported-media-type"]);
    }
    for (const type of ["", "; charset=utf-8", ';Charset="UTF-8"'])
      expect([type, (await pullAs(type)).status]).toEqual([type, 200]);
  });

  test.each(ROUTES.filter((route) => route.method !== "get" && !takesBody(route)))(
    "[G6] $operationId takes no body and refuses one, whether its length is announced or not",
    async ({ method, path }) => {
      const channel = await createChannel();
      const address = path
        .replace("{channel}", channel)
        .replace("{offset}", "1")
        .replace(/\{(?:snapshotId|restoreId)\}/, "0123456789abcdef")
        .replace("{scheduledId}", "1-1")
        .replace(/\{\w+\}/, "some");

      for (const body of ["{}", new Blob(["x"]).stream()]) {
        const problem = await readProblem(call(method.toUpperCase(), address, { body }));
        expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "", detail: "Expected no body" }] });
      }
      const { kind } = await call(method.toUpperCase(), address, { body: "" }).then((reply) => reply.json<{ kind?: string }>());
      expect(kind).not.toBe("invalid-request");
    },
  );
});
