/** How the host would reach an address without us. */
import { parseAddress } from '../crypto/identity/address.js';
import type { RunIp } from './ip.js';
import type { Participant } from './plan.js';

export interface NativeRoute {
  device: string;
  /** The source address that the kernel would choose. */
  source: string;
}

interface Listed {
  dev?: string;
  prefsrc?: string;
}

/** Undefined where there is no way. `mark`: one that our rules don't look at. */
export async function nativeRoute(
  run: RunIp,
  address: string,
  mark: number,
): Promise<NativeRoute | undefined> {
  const family = address.includes(':') ? '-6' : '-4';
  const { status, stdout } = await run([family, '-j', 'route', 'get', address, 'mark', String(mark)]);
  if (status !== 0) return undefined;
  const [{ dev, prefsrc }] = JSON.parse(stdout || '[{}]') as Listed[];
  return dev === undefined || prefsrc === undefined ? undefined : { device: dev, source: prefsrc };
}

/**
 * Which of this host's real addresses reaches each of `addresses`: that of the kernel's choice if `own` has it, else the first of `own` of
 * that family that the host bears. Without a source where there is neither: the other end would refuse it.
 */
export async function participantsOf(
  run: RunIp,
  addresses: readonly string[],
  own: readonly string[],
  mark: number,
): Promise<{ participants: Participant[]; devices: string[] }> {
  if (addresses.length === 0) return { participants: [], devices: [] };
  const borne = await bornAddresses(run);
  const devices = new Set<string>();
  const participants: Participant[] = [];
  for (const address of addresses) {
    const native = await nativeRoute(run, address, mark);
    // An address of this host itself is no way to anybody else.
    if (native === undefined || native.device === 'lo') continue;
    devices.add(native.device);
    const source = own.includes(native.source)
      ? native.source
      : own.find((mine) => mine.includes(':') === address.includes(':') && borne.has(mine));
    participants.push({ address, ...(source !== undefined && { source }) });
  }
  return { participants, devices: [...devices] };
}

/** Addresses of the host's interfaces, as text in canonical form. */
async function bornAddresses(run: RunIp): Promise<Set<string>> {
  const { status, stdout } = await run(['-j', 'address', 'show']);
  if (status !== 0) return new Set();
  const listed = JSON.parse(stdout || '[]') as { addr_info?: { local?: string }[] }[];
  const texts = listed.flatMap(({ addr_info = [] }) => addr_info.map(({ local = '' }) => local));
  return new Set(texts.map((text) => parseAddress(text)?.text ?? text));
}
