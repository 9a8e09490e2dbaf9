/**
 * The host around the device. The agent creates the device through the ports (src/io); here the host learns to use it.
 *
 *   plan.ts   from names and numbers to lines for `ip -batch`: pure
 *   ip.ts     runs `ip`, and turns its complaints into typed errors
 *   host.ts   applies a plan, changes its routes, takes everything back, also what a killed agent left
 *
 * The agent's lifecycle calls `prepare` before the device exists, `apply` once it does, `revert` before it goes; `causeway
 * down` and `ExecStopPost` call `removeLeftovers`. Nothing here sees a packet, and no other folder changes routes or rules.
 */
export { HostError, type HostErrorCode } from './ip.js';
export { HostInterception, removeLeftovers, type Applied } from './host.js';
export {
  planHost,
  planRouteChange,
  routingTable,
  RULE_PRIORITY,
  ROUTE_PROTOCOL,
  TABLE_BASE,
} from './plan.js';
export type { HostInput, HostPlan, FamilyPlan, RouteChange } from './plan.js';
