import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findPacket } from '../../src/capture/link-layer.js';
import { encodeInterface, encodePacket, encodeSection } from '../../src/capture/pcapng.js';
import { readCapture } from '../../src/capture/read.js';

const pcapng = Buffer.concat([
  encodeSection('x'),
  encodeInterface('tun', 1, 99),
  encodePacket(1, new Uint8Array(30), 30, 'in', 'a comment'),
  encodePacket(2, new Uint8Array(5), 30, 'out', undefined),
]);
const pcap = Buffer.from(
  'd4c3b2a1020004000000000000000000ffff000001000000' + '0000000000000000040000000400000000000000'.repeat(2),
  'hex',
);

/** It is read or refused in words, and never more is taken from it than it has. */
async function holds(bytes: Uint8Array): Promise<void> {
  const read = await readCapture(bytes);
  if (!read.ok) expect(read.text).toMatch(/\S/);
  const total = read.packets.reduce((sum, { data }) => sum + data.length, 0);
  expect(total).toBeLessThanOrEqual(bytes.length);
  for (const { linkType, data } of read.packets) findPacket(linkType, data);
}

test.each([
  ['pcapng', pcapng],
  ['pcap', pcap],
])('a damaged %s file is read or refused', async (_, whole) => {
  const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 5 }), fc.nat(whole.length), async (changes, length) => {
      const bytes = Uint8Array.from(whole);
      for (const [at, value] of changes) bytes[at] = value;
      await holds(bytes.subarray(0, length));
      await holds(bytes);
    }),
    { numRuns: 2000 },
  );
});

test('so are any bytes', async () => {
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), holds), { numRuns: 2000 });
});
