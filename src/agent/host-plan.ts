/** From a configuration and an identity to what the host and the worker are asked for. */
import { readdirSync } from 'node:fs';
import { nodeIdOf } from '../crypto/identity/name.js';
import { ROLE_EXIT } from '../overlay/route/tables.js';
import type { HostInput, NftInput, Setting } from '../tun/index.js';
import { readSetting } from '../tun/index.js';
import { toRulePrefix } from './config/address.js';
import type { Config, Identity } from './config/index.js';
import {
  CAPTURE_MARK,
  GSO_MAX_SEGMENTS,
  GSO_MAX_SIZE,
  MARK,
  RESENT_MARK,
  TX_QUEUE_LENGTH,
} from './host-tuning.js';
import type { InterceptOptions } from './messages.js';

export interface HostAsked {
  routing: HostInput;
  nft: NftInput | undefined;
  settings: Setting[];
}

export function hostPlanOf(config: Config, identity: Identity): HostAsked {
  const { intercept, forward, tun } = config;
  const full = intercept.mode === 'full';
  const addresses = identity.verified.certificate.addresses.map(({ text }) => text);
  const withExit = intercept.exit !== undefined;
  const routing: HostInput = {
    tun: {
      name: tun.name,
      mtu: tun.mtu,
      // What isn't the overlay's business must not find a narrower way here than its own.
      ...(full && { deviceMtu: Math.max(tun.mtu, widestInterface()) }),
      txQueueLength: TX_QUEUE_LENGTH,
      gsoMaxSize: GSO_MAX_SIZE,
      gsoMaxSegments: GSO_MAX_SEGMENTS,
    },
    addresses,
    prefixes: identity.trust.overlayPrefixes.map(({ text }) => text),
    routed: [],
    mark: MARK,
    refuse: intercept.fallback === 'refuse',
    ...(intercept.participants && { participants: [] }),
    ...(full && { capture: CAPTURE_MARK }),
    ...(withExit && { exit: false }),
  };
  const nft: NftInput = {
    tun: tun.name,
    ...(full && { capture: { mark: CAPTURE_MARK, resent: RESENT_MARK } }),
    ...(withExit && { unroutable: addresses }),
    ...(forward && { forward }),
  };
  return { routing, nft: full || forward ? nft : undefined, settings: forward ? forwarding(tun.name) : [] };
}

/** Undefined where only the overlay's prefixes lead into the device. */
export function interceptOptionsOf(config: Config, identity: Identity): InterceptOptions | undefined {
  const { intercept, forward } = config;
  if (intercept.mode === 'split' && !intercept.participants && !forward) return undefined;
  return {
    resentMark: RESENT_MARK,
    fallback: intercept.fallback === 'direct',
    overlay: identity.trust.overlayPrefixes.map(toRulePrefix),
    through: intercept.exit === undefined ? 0 : nodeIdOf(intercept.exit),
    forOthers: forward !== undefined && identity.verified.certificate.roles.includes(ROLE_EXIT),
  };
}

/** The largest MTU of the host's interfaces, loopback apart. */
function widestInterface(): number {
  const names = readdirSync('/sys/class/net').filter((name) => name !== 'lo');
  const found = names.flatMap((name) => Number(readSetting(`/sys/class/net/${name}/mtu`) ?? 0));
  return Math.min(65_535, Math.max(0, ...found));
}

/** Packets come in by the device and by the networks behind, whichever interfaces those are. */
function forwarding(tun: string): Setting[] {
  const devices = readdirSync('/proc/sys/net/ipv4/conf').filter(
    (name) => !['all', 'default', 'lo'].includes(name),
  );
  const settings = [...new Set([tun, ...devices])].map((name) => ({
    path: `ipv4/conf/${name}/forwarding`,
    value: '1',
  }));
  // A router takes no router advertisements unless it is told to (RFC 4861 §6.2.1): the host would lose its own default route.
  const advised = devices
    .filter((name) => readSetting(`/proc/sys/net/ipv6/conf/${name}/accept_ra`) === '1')
    .map((name) => ({ path: `ipv6/conf/${name}/accept_ra`, value: '2' }));
  return [...settings, ...advised, { path: 'ipv6/conf/all/forwarding', value: '1' }];
}
