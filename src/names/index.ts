/**
 * Names of the overlay's nodes, without touching resolv.conf: `NODE.causeway` and the reverse, answered at this node's overlay addresses.
 *
 *   zone.ts      what the names mean (pure)
 *   answer.ts    a query and its answer (pure)
 *   server.ts    UDP and TCP sockets around it
 *   resolved.ts  tells systemd-resolved, where it runs, that these names are to be asked here
 *
 * The agent makes a new `Zone` when certificates come or go. What never happens here: recursion, or an answer to a host outside
 * the overlay.
 */
export { NameServer, type NameServerOptions } from './server.js';
export { registerNames, type Registered } from './resolved.js';
export { Zone, type ZoneNode } from './zone.js';
