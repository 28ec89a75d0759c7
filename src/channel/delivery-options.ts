// What the delivery of a group is made of.
import type { DeliverySettings } from "../protocol/settings.ts";
import type { AttachedLeases, CarriedFrame } from "./attached-leases.ts";
import type { Backlog } from "./backlog.ts";
import type { StoredDelivery } from "./delivery-store.ts";
import type { ExpirySettings } from "./delivery-terms.ts";
import type { GroupLog } from "./group-log.ts";
import type { LeaseFlow } from "./lease-flow.ts";

export interface DeliveryOptions {
  /** The number of the group. */
  readonly id: number;
  readonly log: GroupLog;
  readonly backlog?: Backlog;
  readonly stored: StoredDelivery;
  readonly attached: AttachedLeases;
  /** Is told of leases that come and go. */
  readonly flow: LeaseFlow;
  /** What the sockets carry of its leases. */
  readonly carried: readonly CarriedFrame[];
  readonly settings: () => DeliverySettings;
  readonly expiry: () => ExpirySettings;
}
