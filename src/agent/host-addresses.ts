import { networkInterfaces } from 'node:os';
import { isUnspecified, parseAddress } from '../io/address.js';
import { classify } from '../overlay/peering/address-class.js';

/** This host's addresses at which `listen` hears and that mean something elsewhere; public ones first. Cheap enough for once a second. */
export function hostAddresses(listen: string): string[] {
  if (!isUnspecified(parseAddress(listen)!)) return classify(listen).name === 'never' ? [] : [listen];
  const both = listen.includes(':');
  const all = Object.values(networkInterfaces())
    .flat()
    .filter((address) => address !== undefined)
    .filter(({ internal, family }) => !internal && (both || family === 'IPv4'))
    .map(({ address }) => address);
  const of = (name: string) => all.filter((address) => classify(address).name === name);
  return [...of('public'), ...of('private')];
}
