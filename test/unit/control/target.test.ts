import { expect, test } from 'vitest';
import { findNode } from '../../../src/control/index.js';

const nodes = [
  { name: 'alpha', nodeId: 1, prefixes: ['10.77.0.1/32', 'fd77::1/128', '10.20.0.0/16'] },
  { name: 'beta', nodeId: 2, prefixes: ['10.77.0.2/32', '10.20.5.0/24'] },
];

test('a name, an address or an address in a prefix finds its node, the longest prefix first', () => {
  expect(findNode('beta', nodes).nodeId).toBe(2);
  expect(findNode('BETA', nodes).nodeId).toBe(2);
  expect(findNode('10.77.0.1', nodes).nodeId).toBe(1);
  expect(findNode('fd77:0:0::1', nodes).nodeId).toBe(1);
  expect(findNode('10.20.1.1', nodes).nodeId).toBe(1);
  expect(findNode('10.20.5.1', nodes).nodeId).toBe(2);
});

test('what nobody is called or owns is refused with the nearest name', () => {
  expect(() => findNode('bata', nodes)).toThrow('no node of the overlay is called bata; did you mean beta?');
  expect(() => findNode('zzzzz', nodes)).toThrow('"causeway routes" lists the nodes');
  expect(() => findNode('10.78.0.1', nodes)).toThrow('no node of the overlay has the address 10.78.0.1');
});
