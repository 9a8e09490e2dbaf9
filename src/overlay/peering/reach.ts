/**
 * Which of a node's published endpoints are worth a try from here, or why none is. What decides is what both publish: outside addresses,
 * what their NATs do with ports, and whether they can be of one site, without which a private address is somebody else's.
 */
import { classify } from './address-class.js';
import {
  KIND_HOST,
  KIND_SEEN,
  KIND_VARYING,
  type Place,
  placeKey,
  type PublishedEndpoint,
} from './endpoint.js';

/** Below it are the ports of services that answer to strangers: no record makes this node send there. */
export const LOWEST_PORT = 1024;

export type Unreachable =
  | 'publishes-nothing'
  /** Of families, sites or ports that aren't tried from here. */
  | 'no-usable-endpoint'
  /** Its NAT has another port for each destination, and this node is behind one too. */
  | 'its-nat-varies'
  /** The same, the other way round. */
  | 'our-nat-varies';

export type Reach =
  | {
      readonly type: 'places';
      readonly places: readonly Place[];
      /** A NAT or a firewall may have to be opened from both sides. */
      readonly punch: boolean;
      /** Endpoints that were refused, for counting. */
      readonly refused: number;
    }
  | { readonly type: 'none'; readonly reason: Unreachable; readonly refused: number };

/** `self` and `node`: what each publishes. `isOverlay`: whether an address is one of the overlay's own, which would loop. */
export function reachOf(
  self: readonly PublishedEndpoint[],
  node: readonly PublishedEndpoint[],
  isOverlay: (host: string) => boolean,
): Reach {
  if (node.length === 0) return { type: 'none', reason: 'publishes-nothing', refused: 0 };
  const site = siteOf(self, node);
  const isOwn = (endpoint: PublishedEndpoint): boolean =>
    self.some(
      (own) => own.host === endpoint.host && (own.kind === KIND_HOST || placeKey(own) === placeKey(endpoint)),
    );
  const usable = unique(node).filter(
    (endpoint) => !isOwn(endpoint) && !isOverlay(endpoint.host) && isTried(endpoint, self, site),
  );
  const refused = node.length - usable.length;
  const places: Place[] = [];
  let reason: Unreachable = 'no-usable-endpoint';
  for (const endpoint of usable) {
    const blocked = site.same ? undefined : blockedBy(endpoint, self, node);
    if (blocked) reason = blocked;
    else places.push({ host: endpoint.host, port: endpoint.port });
  }
  if (places.length === 0) return { type: 'none', reason, refused };
  return { type: 'places', places, punch: isBehindNat(self) || isBehindNat(node), refused };
}

interface Site {
  /** Both may be in one private network. */
  readonly possible: boolean;
  /** Both come out of one NAT. */
  readonly same: boolean;
}

const familyOf = (host: string): number => (host.includes(':') ? 6 : 4);
const isSeen = ({ kind }: PublishedEndpoint): boolean => kind === KIND_SEEN || kind === KIND_VARYING;

function isBehindNat(endpoints: readonly PublishedEndpoint[], family = 0): boolean {
  return endpoints.some(
    (endpoint) => isSeen(endpoint) && (family === 0 || familyOf(endpoint.host) === family),
  );
}

function varies(endpoints: readonly PublishedEndpoint[], family: number): boolean {
  return endpoints.some(({ kind, host }) => kind === KIND_VARYING && familyOf(host) === family);
}

/** Two nodes with public addresses of their own are of one site only where a NAT shows one address for both. */
function siteOf(self: readonly PublishedEndpoint[], node: readonly PublishedEndpoint[]): Site {
  const outside = (endpoints: readonly PublishedEndpoint[]) =>
    endpoints.filter(({ host }) => familyOf(host) === 4 && classify(host).name === 'public');
  const [ours, theirs] = [outside(self), outside(node)];
  const same = ours.some(
    (endpoint) => isSeen(endpoint) && theirs.some((other) => isSeen(other) && other.host === endpoint.host),
  );
  return { same, possible: same || ours.length === 0 || theirs.length === 0 };
}

function isTried(endpoint: PublishedEndpoint, self: readonly PublishedEndpoint[], site: Site): boolean {
  const { kind, host, port } = endpoint;
  const address = classify(host);
  const known = kind === KIND_HOST || isSeen(endpoint);
  if (!known || port < LOWEST_PORT || address.name === 'never') return false;
  if (!self.some((own) => familyOf(own.host) === familyOf(host))) return false;
  if (address.name === 'public') return true;
  return site.possible && self.some((own) => isOfBlock(own.host, address.block));
}

function isOfBlock(host: string, block: string): boolean {
  const address = classify(host);
  return address.name === 'private' && address.block === block;
}

/** Where both are behind NATs, both must know the other's port, which a varying NAT makes anew for each destination. */
function blockedBy(
  { host }: PublishedEndpoint,
  self: readonly PublishedEndpoint[],
  node: readonly PublishedEndpoint[],
): Unreachable | undefined {
  const family = familyOf(host);
  if (!isBehindNat(self, family) || !isBehindNat(node, family)) return undefined;
  if (varies(node, family)) return 'its-nat-varies';
  return varies(self, family) ? 'our-nat-varies' : undefined;
}

function unique(endpoints: readonly PublishedEndpoint[]): PublishedEndpoint[] {
  return [...new Map(endpoints.map((endpoint) => [placeKey(endpoint), endpoint])).values()];
}
