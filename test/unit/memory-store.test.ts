// The memory store keeps the contract of the port.
import { describe } from "vitest";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { testCheckpointContract } from "../checkpoint-contract.ts";
import { type InStore, NO_CHANGES, testStoreContract } from "../store-contract.ts";

function inStore(use: Parameters<InStore>[0]): void {
  const store = new MemoryStore();
  use({ open: () => store, commit: (changes) => store.commit({ ...NO_CHANGES, ...changes }) });
}

describe("src/storage/memory-store", () => {
  testStoreContract(inStore);
  testCheckpointContract(inStore);
});
