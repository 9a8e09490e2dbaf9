/** Serves the overlay's names (`src/names`) out of what routing knows of certificates. */
import type { Logger } from 'pino';
import type { OverlayAddress, OverlayPrefix } from '../crypto/identity/address.js';
import { NameServer, registerNames, Zone } from '../names/index.js';
import type { Router } from '../overlay/route/router.js';
import type { Config } from './config/index.js';

export interface NamesParts {
  readonly config: Config;
  readonly router: Router;
  /** This node's. */
  readonly addresses: readonly OverlayAddress[];
  readonly overlay: readonly OverlayPrefix[];
  readonly now: () => number;
  readonly log: Logger;
}

/** The server, listening; systemd-resolved is told on the side. Rejects with an Error that names the key. */
export async function serveNames({
  config,
  router,
  addresses,
  overlay,
  now,
  log,
}: NamesParts): Promise<NameServer> {
  const { zone: top, port } = config.names;
  let nodes: Router['nodes'] | undefined;
  let zone = new Zone(top, [], overlay);
  const current = () => {
    if (nodes === router.nodes) return zone;
    ({ nodes } = router);
    // The certificates are the identity's, whose addresses have a family and a text.
    const named = nodes.map(({ certificate: { name, addresses: own } }) => {
      return { name, addresses: own as unknown as OverlayAddress[] };
    });
    return (zone = new Zone(top, named, overlay));
  };
  const texts = addresses.map(({ text }) => text);
  const server = new NameServer({
    addresses: texts,
    port,
    overlay,
    zone: current,
    now,
    onError: (error) => log.error({ error: String(error) }, 'names'),
  });
  try {
    await server.listen();
  } catch (error) {
    throw new Error(refusal(error as NodeJS.ErrnoException, port), { cause: error });
  }
  const zones = [top, ...zone.reverse];
  void registerNames({ device: config.tun.name, servers: texts, port, zones }).then(({ outcome, detail }) => {
    if (outcome === 'failed') log.warn({ detail }, 'systemd-resolved did not take the names of the overlay');
    else log.info({ zone: top, port, resolved: outcome }, 'serving names');
  });
  return server;
}

function refusal({ code, message }: NodeJS.ErrnoException, port: number): string {
  if (code === 'EADDRINUSE')
    return `names.port ${port} is in use; set it to another, or stop what uses it ("ss -lnup", "ss -lntp")`;
  if (code === 'EACCES' || code === 'EPERM')
    return `names.port ${port} takes CAP_NET_BIND_SERVICE; set it to 1024 or more, or give the capability`;
  return `names can't be served: ${message}`;
}
