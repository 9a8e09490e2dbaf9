import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressFromBytes, parseAddress, parsePrefix } from '../../../src/crypto/identity/address.js';
import { reverseName, Zone } from '../../../src/names/zone.js';

const node = (name: string, ...texts: string[]) => ({
  name,
  addresses: texts.map((text) => parseAddress(text)!),
});
const prefix = (text: string) => {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(parsed.text);
  return parsed.prefix;
};

const nodes = [node('a', '10.77.0.1', 'fd77::1'), node('db1.example.com', '10.77.0.5')];
const zone = new Zone('causeway', nodes, [prefix('10.77.0.0/16'), prefix('fd77::/48')]);

test('a node is found by its name in any case, with the addresses of both families', () => {
  const found = { kind: 'node', zone: 'causeway', addresses: { v4: ['10.77.0.1'], v6: ['fd77::1'] } };
  expect(zone.find('a.causeway')).toEqual(found);
  expect(zone.find('A.CauseWay')).toEqual(found);
  expect(zone.find('db1.example.com.causeway')).toMatchObject({ addresses: { v4: ['10.77.0.5'], v6: [] } });
});

test('an address is found by its reverse name', () => {
  expect(zone.find('1.0.77.10.in-addr.arpa')).toEqual({
    kind: 'address',
    zone: '77.10.in-addr.arpa',
    name: 'a.causeway',
  });
  expect(zone.find(reverseName(parseAddress('fd77::1')!.bytes))).toMatchObject({ name: 'a.causeway' });
});

test('what lies between a name and the top exists, with nothing at it', () => {
  expect(zone.find('com.causeway')).toEqual({ kind: 'unknown', zone: 'causeway', isParent: true });
  expect(zone.find('0.77.10.in-addr.arpa')).toMatchObject({ kind: 'unknown', isParent: true });
  expect(zone.find('net.causeway')).toMatchObject({ kind: 'unknown', isParent: false });
  expect(zone.find('causeway')).toEqual({ kind: 'top', zone: 'causeway' });
});

test('names of others are outside, also those that only look alike', () => {
  for (const name of ['example.com', 'acauseway', 'a.causeway.org', '1.0.78.10.in-addr.arpa', '']) {
    expect(zone.find(name), name).toEqual({ kind: 'outside' });
  }
});

test.each([
  ['10.0.0.0/8', ['10.in-addr.arpa']],
  ['10.64.0.0/14', ['64.10.in-addr.arpa', '65.10.in-addr.arpa', '66.10.in-addr.arpa', '67.10.in-addr.arpa']],
  ['10.128.0.0/9', []], // 128 zones are too many
  ['fd77::/47', ['0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa', '1.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa']],
])('the reverse zones of %s', (text, zones) => {
  expect(new Zone('causeway', [], [prefix(text)]).reverse).toEqual(zones);
});

test('every address of a node has a reverse name that leads back to it', () => {
  const address = fc
    .tuple(fc.constantFrom(14, 16), fc.integer({ min: 0, max: 0xffff }))
    .map(([, low]) => addressFromBytes(Uint8Array.of(10, 77, low >> 8, low & 255))!);
  fc.assert(
    fc.property(address, ({ text, bytes }) => {
      const made = new Zone('causeway', [node('x', text)], [prefix('10.76.0.0/14')]);
      expect(made.find(reverseName(bytes))).toMatchObject({ kind: 'address', name: 'x.causeway' });
    }),
  );
});
