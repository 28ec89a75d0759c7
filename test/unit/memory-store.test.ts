// The memory store keeps the contract of the port.
import { describe } from "vitest";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { testCheckpointContract } from "../checkpoint-contract.ts";
import { testDeliveryContract } from "../delivery-contract.ts";
import { testScheduleContract } from "../schedule-contract.ts";
import { testDedupContract } from "../dedup-contract.ts";
import { testSnapshotContract } from "../snapshot-contract.ts";
import { NO_CHANGES, testStoreContract, type InStore } from "../store-contract.ts";

const inStore: InStore = (use) => {
  const store = new MemoryStore();
  use({ open: () => store, commit: (changes) => store.commit({ ...NO_CHANGES, ...changes }) });
};

describe("src/storage/memory-store", () => {
  testStoreContract(inStore);
  testDeliveryContract(inStore);
  testCheckpointContract(inStore);
  testScheduleContract(inStore);
  testDedupContract(inStore);
  testSnapshotContract(inStore);
});
