/**
 * The host around the device. The agent creates the device through the ports (src/io); here the host learns to use it.
 *
 *   plan.ts          from names and numbers to lines for `ip -batch`: pure
 *   ip.ts            runs `ip`, and turns its complaints into typed errors
 *   nft-plan.ts, nft.ts  likewise for nftables
 *   sysctl.ts        settings of other devices, and what they were before
 *   native-route.ts  how the host would reach an address without us
 *   listing.ts       what the host has of a plan
 *   host.ts          applies a plan, changes and mends it, takes everything back, also what a killed agent left
 *   watch.ts         says when others changed routes, rules or interfaces
 *   sender-plan.ts, senders.ts  have nftables say who sends what
 *   many-plan.ts, many.ts  have nftables judge what goes to many hosts
 *
 * The agent's lifecycle calls `prepare` before the device exists, `apply` once it does, `revert` before it goes; `causeway
 * down` and `ExecStopPost` call `removeLeftovers`. Nothing here sees a packet, and no other folder changes routes or rules.
 */
export { HostError, type HostErrorCode } from './ip.js';
export { HostSenders, type SenderQuestion } from './senders.js';
export { HostMany, type ManyQuestion } from './many.js';
export { planSenders, senderGroup, senderTable } from './sender-plan.js';
export { HostInterception, hostTools, removeLeftovers } from './host.js';
export type { Applied, Destinations, HostTools } from './host.js';
export { nftTable, type NftInput } from './nft-plan.js';
export { nativeRoute } from './native-route.js';
export { readSetting, type Setting } from './sysctl.js';
export { watchHost } from './watch.js';
export {
  planHost,
  planRouteChange,
  routingTable,
  RULE_PRIORITY,
  ROUTE_PROTOCOL,
  TABLE_BASE,
} from './plan.js';
export type { HostInput, HostPlan, FamilyPlan, RouteChange } from './plan.js';
