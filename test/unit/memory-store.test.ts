// The memory store keeps the contract of the port.
import { describe } from "vitest";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { NO_CHANGES, testStoreContract } from "../store-contract.ts";

describe("src/storage/memory-store", () => {
  testStoreContract((use) => {
    const store = new MemoryStore();
    use({ open: () => store, commit: (changes) => store.commit({ ...NO_CHANGES, ...changes }) });
  });
});
