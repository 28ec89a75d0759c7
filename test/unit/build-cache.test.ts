// What was built once is not built again, until something changes that goes into it.
import { mkdtemp, readdir, rename, rm, writeFile, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildOnce } from "../../src/cli/build-cache.ts";

let dir: string;
let builds = 0;

beforeEach(async () => {
  builds = 0;
  dir = await mkdtemp(join(tmpdir(), "edge-channel-build-cache-"));
  await mkdir(join(dir, "root/src/deep"), { recursive: true });
  await writeFile(join(dir, "root/src/deep/one.ts"), "one");
  await writeFile(join(dir, "root/settings"), "settings");
});

afterEach(() => rm(dir, { recursive: true }));

/** Which build the result is of. */
async function build(terms: readonly string[] = [], cacheDir = join(dir, "cache")): Promise<number> {
  const sources = ["src", "settings", "absent"];
  const built = await buildOnce({ cacheDir, rootDir: join(dir, "root"), sources, terms }, () => {
    builds += 1;
    return Promise.resolve(Buffer.from(String(builds)));
  });
  return Number(built.toString());
}

describe("src/cli/build-cache", () => {
  test("the same sources are built once", async () => {
    expect([await build(), await build(), await build()]).toEqual([1, 1, 1]);
  });

  test("other contents, another name, another file and other terms are built anew, and what was before is found again", async () => {
    const path = join(dir, "root/src/deep/one.ts");
    expect(await build()).toBe(1);
    await writeFile(path, "ten");
    expect(await build()).toBe(2);
    await rename(path, join(dir, "root/src/one.ts"));
    expect(await build()).toBe(3);
    await writeFile(join(dir, "root/absent"), "");
    expect(await build()).toBe(4);
    expect(await build(["production"])).toBe(5);
    await rm(join(dir, "root/absent"));
    expect(await build()).toBe(3);
  });

  test("a folder that cannot be made only makes it build again", async () => {
    await writeFile(join(dir, "file"), "");

    expect([await build([], join(dir, "file")), await build([], join(dir, "file"))]).toEqual([1, 2]);
  });

  test("a build that fails leaves nothing, and only the last ones are kept", async () => {
    const failing = buildOnce({ cacheDir: join(dir, "cache"), rootDir: dir, sources: [], terms: [] }, () =>
      Promise.reject(new Error("It does not compile")),
    );
    await expect(failing).rejects.toThrow("It does not compile");

    for (let index = 0; index < 12; index++) await build([String(index)]);

    expect(await readdir(join(dir, "cache"))).toHaveLength(8);
    expect(await build(["11"])).toBe(12);
  });
});
