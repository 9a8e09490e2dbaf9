import { expect, test } from 'vitest';
import { ApiError } from '../../../src/control/index.js';
import { parseFlowMatch } from '../../../src/control/flow-match.js';

const four = (last: number, bits = 128) => ({
  version: 4,
  words: [0, 0, 0xffff, 0x0a4d_0000 + last],
  bits,
});
const six = (last: number, bits = 128) => ({ version: 6, words: [0xfd77_0000, 0, 0, last], bits });

test.each([
  [['*', '*', '*'], {}],
  [['tcp', '*:*', '*:22'], { protocols: [6], destinationPort: 22 }],
  [['icmp', '10.77.0.1', '10.77.0.0/16'], { protocols: [1, 58], source: four(1), destination: four(0, 112) }],
  [
    ['132', '10.77.0.1:7', '10.77.0.0/16:*'],
    { protocols: [132], source: four(1), sourcePort: 7, destination: four(0, 112) },
  ],
  [
    ['udp', 'fd77::1', '[fd77::2]:65535'],
    { protocols: [17], source: six(1), destination: six(2), destinationPort: 65535 },
  ],
  [['0', '[fd77::1]', 'fd77::/48'], { protocols: [0], source: six(1), destination: six(0, 48) }],
] as const)('%j', ([protocol, source, destination], match) => {
  expect(parseFlowMatch({ protocol, source, destination })).toEqual(match);
});

test.each([
  [['tpc', '*', '*'], '"tpc" is no protocol; use tcp, udp, icmp, sctp, a number 0 to 255 or "*"'],
  [['256', '*', '*'], '"256" is no protocol; use tcp, udp, icmp, sctp, a number 0 to 255 or "*"'],
  [['toString', '*', '*'], '"toString" is no protocol; use tcp, udp, icmp, sctp, a number 0 to 255 or "*"'],
  [['*', 'db1', '*'], '"db1" is no address or prefix; write 10.77.0.5, 10.77.0.0/16 or fd77::/48'],
  [['*', '', '*'], '"" is no address or prefix; write 10.77.0.5, 10.77.0.0/16 or fd77::/48'],
  [['*', '*', '10.77.0.1:65536'], '"65536" is no port; use 0 to 65535 or "*"'],
  [['*', '*', '[fd77::1]:ssh'], '"ssh" is no port; use 0 to 65535 or "*"'],
  [['*', '*', '10.77.0.1/8'], '10.77.0.1/8 has host bits set; did you mean 10.0.0.0/8?'],
] as const)('%j is refused', ([protocol, source, destination], message) => {
  const parse = () => parseFlowMatch({ protocol, source, destination });
  expect(parse).toThrow(ApiError);
  expect(parse).toThrow(message);
});
