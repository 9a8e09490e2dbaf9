import { decode, encode } from 'dns-packet';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseAddress, parsePrefix } from '../../src/crypto/identity/address.js';
import { answerQuery } from '../../src/names/answer.js';
import { Zone } from '../../src/names/zone.js';

const parsed = parsePrefix('10.77.0.0/16');
const zone = new Zone(
  'causeway',
  [{ name: 'a', addresses: [parseAddress('10.77.0.1')!] }],
  parsed.ok ? [parsed.prefix] : [],
);

/** Whatever it is: no exception, and an answer that is one, to this query, within what UDP carries. */
function holds(bytes: Uint8Array): void {
  const { bytes: answer, outcome } = answerQuery(zone, bytes, 'udp');
  if (answer === undefined) {
    expect(outcome).toBe('malformed');
    return;
  }
  expect(answer.length).toBeLessThanOrEqual(Math.max(1232, bytes.length));
  const reply = decode(Buffer.from(answer));
  expect(reply).toMatchObject({ type: 'response', id: (bytes[0] << 8) | bytes[1] });
}

test('any bytes are answered or passed over', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), holds), { numRuns: 3000 });
});

test('so is a query with some of its bytes changed, or its tail gone', () => {
  const query = encode({
    type: 'query',
    id: 1,
    questions: [
      { type: 'A', name: 'a.causeway' },
      { type: 'PTR', name: '1.0.77.10.in-addr.arpa' },
    ].slice(0, 1) as never,
    additionals: [
      { type: 'OPT', name: '.', udpPayloadSize: 4096, ednsVersion: 0, flags: 0, options: [] } as never,
    ],
  });
  const change = fc.tuple(fc.nat(query.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), fc.nat(query.length), (changes, length) => {
      const bytes = Uint8Array.from(query);
      for (const [at, value] of changes) bytes[at] = value;
      holds(bytes.subarray(0, length));
    }),
    { numRuns: 10_000 },
  );
});
