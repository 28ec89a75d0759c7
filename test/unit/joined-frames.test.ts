// Which frames of a commit are joined, over connections that only note what they are sent.
import { describe, expect, test } from "vitest";
import { JoinedFrames, type FrameSink } from "../../src/object/joined-frames.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

class NotedFrames implements FrameSink {
  readonly sent: [number, string | Uint8Array][] = [];

  /** Odd connections asked for joined frames. */
  joinsFrames(connection: number): boolean {
    return connection % 2 === 1;
  }

  send(connection: number, frame: string | Uint8Array): void {
    this.sent.push([connection, frame]);
  }
}

describe("src/object/joined-frames", () => {
  test("[protocol:websocket] frames are joined for each connection that asked for it, and others are sent at once", () => {
    const connections = new NotedFrames();
    const frames = new JoinedFrames(connections);

    for (const [connection, id] of [
      [1, 1],
      [2, 2],
      [3, 3],
      [1, 4],
    ] as const)
      frames.send(connection, `{"id":${id}}`);
    frames.flush();

    expect(connections.sent).toEqual([
      [2, '{"id":2}'],
      [1, '{"type":"joined","frames":[{"id":1},{"id":4}]}'],
      [3, '{"id":3}'],
    ]);
  });

  test("[RB3] a binary frame goes by itself, behind the text before it and before the text behind it", () => {
    const connections = new NotedFrames();
    const frames = new JoinedFrames(connections);
    const bytes = new Uint8Array([1]);

    for (const frame of ["1", "2", bytes, bytes, "3"]) frames.send(1, frame);
    frames.flush();

    expect(connections.sent).toEqual([
      [1, '{"type":"joined","frames":[1,2]}'],
      [1, bytes],
      [1, bytes],
      [1, "3"],
    ]);
  });

  test("[G6] what would be too long together is sent in several frames, and a long one by itself, in their order", () => {
    const connections = new NotedFrames();
    const frames = new JoinedFrames(connections);
    const half = `"${"a".repeat(LIMITS.joinedFrameCharsMax / 2)}"`;
    const long = `"${"b".repeat(LIMITS.joinedFrameCharsMax)}"`;

    for (const frame of ["1", half, half, long, "2", "3"]) frames.send(1, frame);
    frames.flush();

    expect(connections.sent.map(([, text]) => text)).toEqual([
      `{"type":"joined","frames":[1,${half}]}`,
      half,
      long,
      '{"type":"joined","frames":[2,3]}',
    ]);
  });

  test("a flush leaves nothing behind", () => {
    const connections = new NotedFrames();
    const frames = new JoinedFrames(connections);
    frames.send(1, "1");
    frames.flush();

    frames.flush();

    expect(connections.sent).toEqual([[1, "1"]]);
  });
});
