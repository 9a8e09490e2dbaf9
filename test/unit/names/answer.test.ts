import { type Answer, decode, encode, type Packet, RECURSION_DESIRED } from 'dns-packet';
import { expect, test } from 'vitest';
import { parseAddress, parsePrefix } from '../../../src/crypto/identity/address.js';
import { answerQuery } from '../../../src/names/answer.js';
import { Zone } from '../../../src/names/zone.js';

const overlay = ['10.77.0.0/16', 'fd77::/48'].map((text) => {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(parsed.text);
  return parsed.prefix;
});
const addresses = (net: number, length: number) =>
  Array.from({ length }, (_, i) => parseAddress(`10.77.${net}.${i}`)!);
const zone = new Zone(
  'causeway',
  [
    { name: 'a', addresses: [parseAddress('10.77.0.1')!, parseAddress('fd77::1')!] },
    { name: 'many', addresses: addresses(9, 40) },
    { name: 'more', addresses: addresses(10, 45) },
  ],
  overlay,
);

type Decoded = ReturnType<typeof decode> & {
  rcode: string;
  flag_aa: boolean;
  flag_tc: boolean;
  flag_rd: boolean;
};

function ask(question: object, more: Packet = {}, transport: 'udp' | 'tcp' = 'udp'): Decoded {
  const query = encode({ type: 'query', id: 77, questions: [question as never], ...more });
  return decode(Buffer.from(answerQuery(zone, query, transport).bytes!)) as Decoded;
}

const OPT = (size: number, version = 0): Answer =>
  ({
    type: 'OPT',
    name: '.',
    udpPayloadSize: size,
    extendedRcode: 0,
    ednsVersion: version,
    flags: 0,
    options: [],
  }) as never;

test('the bytes of a simple answer (RFC 1035 §4)', () => {
  const query = Buffer.from('004d0100000100000000000001610863617573657761790000010001', 'hex');
  expect(Buffer.from(answerQuery(zone, query, 'udp').bytes!).toString('hex')).toBe(
    // header: id, QR AA RD, one question, one answer; the question; a.causeway A IN ttl 30 10.77.0.1
    '004d85000001000100000000' +
      '0161086361757365776179000001' +
      '0001' +
      '016108636175736577617900000100010000001e00040a4d0001',
  );
});

test('A, AAAA, PTR and ANY, with authority and without recursion', () => {
  const a = ask({ type: 'A', name: 'A.Causeway' }, { flags: RECURSION_DESIRED });
  expect(a).toMatchObject({ id: 77, rcode: 'NOERROR', flag_aa: true, flag_rd: true, flag_ra: false });
  expect(a.answers).toMatchObject([{ name: 'A.Causeway', type: 'A', ttl: 30, data: '10.77.0.1' }]);
  expect(ask({ type: 'AAAA', name: 'a.causeway' }).answers).toMatchObject([{ data: 'fd77::1' }]);
  expect(ask({ type: 'ANY', name: 'a.causeway' }).answers).toHaveLength(2);
  expect(ask({ type: 'PTR', name: '1.0.77.10.in-addr.arpa' }).answers).toMatchObject([
    { data: 'a.causeway' },
  ]);
});

test('what is not there says for how long that may be remembered (RFC 2308)', () => {
  const nobody = ask({ type: 'A', name: 'nobody.causeway' });
  expect(nobody).toMatchObject({ rcode: 'NXDOMAIN', flag_aa: true, answers: [] });
  expect(nobody.authorities).toMatchObject([
    { type: 'SOA', name: 'causeway', ttl: 30, data: { minimum: 30 } },
  ]);
  const other = ask({ type: 'MX', name: 'a.causeway' });
  expect(other).toMatchObject({ rcode: 'NOERROR', answers: [], authorities: [{ type: 'SOA' }] });
  const reverse = ask({ type: 'PTR', name: '9.9.77.10.in-addr.arpa' });
  expect(reverse).toMatchObject({ rcode: 'NOERROR', answers: [{ data: 'many.causeway' }] });
  expect(ask({ type: 'PTR', name: '1.1.77.10.in-addr.arpa' })).toMatchObject({
    rcode: 'NXDOMAIN',
    authorities: [{ name: '77.10.in-addr.arpa' }],
  });
});

test('names of others, other classes and other operations are refused', () => {
  expect(ask({ type: 'A', name: 'example.com' }).rcode).toBe('REFUSED');
  expect(ask({ type: 'A', name: 'a.causeway', class: 'CH' }).rcode).toBe('REFUSED');
  expect(ask({ type: 'A', name: 'a.causeway' }, { flags: 4 << 11 })).toMatchObject({
    rcode: 'NOTIMP',
    opcode: 'NOTIFY',
  });
  const none = encode({ type: 'query', id: 1, questions: [] });
  expect(decode(Buffer.from(answerQuery(zone, none, 'udp').bytes!))).toMatchObject({ rcode: 'FORMERR' });
});

test('an answer too long for UDP is truncated, whole over TCP or with EDNS (RFC 6891)', () => {
  const question = { type: 'A', name: 'many.causeway' };
  const short = ask(question);
  expect(short).toMatchObject({ flag_tc: true, answers: [] });
  expect(ask(question, {}, 'tcp').answers).toHaveLength(40);
  expect(ask(question, { additionals: [OPT(65_535)] }).answers).toHaveLength(40);
  // Never more than 1232, whatever the client takes.
  expect(ask({ type: 'A', name: 'more.causeway' }, { additionals: [OPT(65_535)] })).toMatchObject({
    flag_tc: true,
    answers: [],
  });
  const reply = ask({ type: 'A', name: 'a.causeway' }, { additionals: [OPT(1400)] });
  expect(reply.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1232, ednsVersion: 0 }]);
});

test('a later version of EDNS is refused by its code, 16', () => {
  const reply = ask({ type: 'A', name: 'a.causeway' }, { additionals: [OPT(1232, 1)] });
  expect(reply).toMatchObject({ rcode: 'NOERROR', answers: [], additionals: [{ extendedRcode: 1 }] });
});

test('answers, and what is shorter than a header, get no answer; what cannot be read gets FORMERR', () => {
  expect(answerQuery(zone, encode({ type: 'response', id: 1 }), 'udp')).toEqual({ outcome: 'malformed' });
  expect(answerQuery(zone, new Uint8Array(11), 'udp')).toEqual({ outcome: 'malformed' });
  const cut = Buffer.from('004d01000001000000000000016108', 'hex');
  const { bytes } = answerQuery(zone, cut, 'udp');
  expect(Buffer.from(bytes!).toString('hex')).toBe('004d81010000000000000000');
});
