// Groups in memory.
import type { GroupChanges, GroupRecord, GroupStore } from "../channel/group-store.ts";

export class MemoryGroups implements GroupStore {
  readonly #records = new Map<number, GroupRecord>();
  readonly #done = new Map<string, Uint8Array>();

  readGroups(): readonly GroupRecord[] {
    return [...this.#records.values()].sort((a, b) => a.id - b.id);
  }

  readDone(groupId: number, bucket: number): Uint8Array | undefined {
    return this.#done.get(`${groupId}:${bucket}`);
  }

  dump(): object {
    return { records: this.readGroups(), done: [...this.#done] };
  }

  load({ records, done }: { records: GroupRecord[]; done: [string, Uint8Array][] }): void {
    this.commit({ isCleared: true, write: records, delete: [], clearDone: [], writeDone: [], deleteDone: [] });
    for (const [key, places] of done) this.#done.set(key, places);
  }

  commit(changes: GroupChanges): void {
    if (changes.isCleared) {
      this.#records.clear();
      this.#done.clear();
    }
    for (const id of changes.delete) this.#records.delete(id);
    for (const id of [...changes.delete, ...changes.clearDone]) {
      for (const key of this.#done.keys()) if (key.startsWith(`${id}:`)) this.#done.delete(key);
    }
    for (const { groupId, bucket } of changes.deleteDone) this.#done.delete(`${groupId}:${bucket}`);
    for (const record of changes.write) this.#records.set(record.id, record);
    for (const { groupId, bucket, places } of changes.writeDone) this.#done.set(`${groupId}:${bucket}`, places);
  }
}
