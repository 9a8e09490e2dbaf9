import { describe, expect, it } from 'vitest';
import { classify } from '../../../src/overlay/peering/address-class.js';
import {
  KIND_HOST,
  KIND_SEEN,
  KIND_VARYING,
  type PublishedEndpoint,
} from '../../../src/overlay/peering/endpoint.js';
import { reachOf } from '../../../src/overlay/peering/reach.js';
import { Sightings } from '../../../src/overlay/peering/sightings.js';

const at = (kind: number, host: string, port = 7100): PublishedEndpoint => ({ kind, host, port });
const host = (...hosts: string[]) => hosts.map((each) => at(KIND_HOST, each));
const isOverlay = (text: string) => text.startsWith('10.77.');
const reach = (self: PublishedEndpoint[], node: PublishedEndpoint[]) => reachOf(self, node, isOverlay);
const hosts = (self: PublishedEndpoint[], node: PublishedEndpoint[]) => {
  const found = reach(self, node);
  return found.type === 'places' ? found.places.map((place) => place.host) : found.reason;
};

describe('the class of an address', () => {
  it.each([
    ['0.0.0.0', 'never'],
    ['127.0.0.1', 'never'],
    ['169.254.1.1', 'never'],
    ['224.0.0.1', 'never'],
    ['255.255.255.255', 'never'],
    ['::', 'never'],
    ['::1', 'never'],
    ['fe80::1', 'never'],
    ['ff02::1', 'never'],
    ['::ffff:0:1', 'never'],
    ['no address', 'never'],
    ['10.1.2.3', 'private'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.0.1', 'private'],
    ['100.64.0.1', 'private'],
    ['fd00::1', 'private'],
    ['172.32.0.1', 'public'],
    ['100.128.0.1', 'public'],
    ['192.0.2.1', 'public'],
    ['2001:db8::1', 'public'],
  ])('%s is %s', (text, name) => {
    expect(classify(text).name).toBe(name);
  });
});

describe('what may be tried of what a node publishes', () => {
  it('are its public addresses, of families that are here too', () => {
    expect(hosts(host('192.0.2.1'), host('192.0.2.2', '2001:db8::2'))).toEqual(['192.0.2.2']);
    expect(hosts(host('192.0.2.1', '2001:db8::1'), host('192.0.2.2', '2001:db8::2'))).toHaveLength(2);
  });

  it('is nothing that is absurd, ours, of the overlay, or of a service that answers to strangers', () => {
    const self = host('192.0.2.1', '10.0.0.1');
    const absurd = ['127.0.0.1', '224.0.0.1', '0.0.0.0', '10.77.0.9', '192.0.2.1', '10.0.0.1'];
    const node = [
      ...host(...absurd),
      at(KIND_HOST, '192.0.2.2', 53),
      at(KIND_HOST, '192.0.2.2', 0),
      at(9, '192.0.2.3'),
    ];
    expect(reach(self, node)).toEqual({ type: 'none', reason: 'no-usable-endpoint', refused: node.length });
    expect(hosts(self, [])).toBe('publishes-nothing');
  });

  it('is a private address only where both can be of one site', () => {
    const lan = host('192.168.1.2');
    const behind = (outside: string, inside: string) => [at(KIND_SEEN, outside), ...host(inside)];
    // One private network without an outside; other blocks are other networks.
    expect(hosts(lan, host('192.168.1.3'))).toEqual(['192.168.1.3']);
    expect(hosts(lan, host('10.0.0.3'))).toBe('no-usable-endpoint');
    // One NAT, two NATs.
    expect(hosts(behind('192.0.2.9', '192.168.1.2'), behind('192.0.2.9', '192.168.1.3'))).toContain(
      '192.168.1.3',
    );
    expect(hosts(behind('192.0.2.8', '192.168.1.2'), behind('192.0.2.9', '192.168.1.3'))).toEqual([
      '192.0.2.9',
    ]);
    // A public host has a private bridge of its own.
    expect(hosts(host('192.0.2.8', '172.17.0.1'), host('192.0.2.9', '172.17.0.2'))).toEqual(['192.0.2.9']);
  });

  it('has to be opened from both sides where a NAT is between', () => {
    const open = host('192.0.2.1');
    const behind = [at(KIND_SEEN, '192.0.2.9'), ...host('192.168.1.2')];
    expect(reach(open, host('192.0.2.2'))).toMatchObject({ punch: false });
    expect(reach(open, behind)).toMatchObject({ punch: true });
    expect(reach(behind, open)).toMatchObject({ punch: true });
  });

  it('is nothing where both are behind NATs and one has a port for each destination', () => {
    const behind = [at(KIND_SEEN, '192.0.2.8'), ...host('192.168.1.2')];
    const varying = [at(KIND_VARYING, '192.0.2.9'), ...host('192.168.1.2')];
    expect(hosts(behind, varying)).toBe('its-nat-varies');
    expect(hosts(varying, behind)).toBe('our-nat-varies');
    expect(hosts(varying, host('192.0.2.2'))).toEqual(['192.0.2.2']);
    // The other family may have no NAT.
    const both = [...varying, ...host('2001:db8::9')];
    expect(hosts([...behind, ...host('2001:db8::8')], both)).toEqual(['2001:db8::9']);
  });
});

describe('what peers see of a host', () => {
  const own = [{ host: '192.168.1.2', port: 7100 }];
  const published = (...places: [number, string, number][]) => {
    const sightings = new Sightings();
    for (const [peer, seen, port] of places) sightings.note(peer, { host: seen, port });
    return sightings.publish(own).map(({ kind, host: text, port }) => [kind, text, port]);
  };

  it('is published beside its own addresses, which are not said twice', () => {
    expect(published()).toEqual([[KIND_HOST, '192.168.1.2', 7100]]);
    expect(published([1, '192.168.1.2', 7100])).toEqual([[KIND_HOST, '192.168.1.2', 7100]]);
    expect(published([1, '192.0.2.9', 40_000])).toEqual([
      [KIND_SEEN, '192.0.2.9', 40_000],
      [KIND_HOST, '192.168.1.2', 7100],
    ]);
  });

  it('varies where peers see other ports', () => {
    expect(published([1, '192.0.2.9', 1], [2, '192.0.2.9', 2])[0]).toEqual([KIND_VARYING, '192.0.2.9', 1]);
    expect(published([1, '192.0.2.9', 1], [2, '192.0.2.9', 1])[0]).toEqual([KIND_SEEN, '192.0.2.9', 1]);
  });

  it('counts no longer than the peer is there, and is never without sense', () => {
    const sightings = new Sightings();
    expect(sightings.note(1, { host: '192.0.2.9', port: 1 })).toBe(true);
    sightings.forget(1);
    expect(sightings.note(2, { host: '127.0.0.1', port: 1 })).toBe(false);
    expect(sightings.note(2, { host: '192.0.2.9', port: 0 })).toBe(false);
    expect(sightings.publish([])).toEqual([]);
  });

  it('is bounded, whatever peers tell', () => {
    const places = Array.from({ length: 50 }, (_, i): [number, string, number] => [i, `192.0.2.${i}`, 1]);
    expect(published(...places)).toHaveLength(5);
  });
});
