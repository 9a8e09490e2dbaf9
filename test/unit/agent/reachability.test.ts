import { beforeEach, describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/io/address.js';
import { ENDPOINT_LOCAL, ENDPOINT_WORDS } from '../../../src/io/batch.js';
import { ORIGIN_HOST, ORIGIN_NETWORK } from '../../../src/io/ports.js';
import { WorkerPair } from '../../support/forward/worker-pair.js';

const SECOND = 1_000_000;
const MS = 1000;
let pair: WorkerPair;

/** An address as four words, as in an endpoint's record. */
const words = (address: string): Uint32Array => new Uint32Array(parseAddress(address)!.slice().buffer);
/** What is said of b's endpoint, and then heeded at a's next input. */
function trouble(origin: number, address = '192.0.2.2', port = 7100): void {
  pair.a.udp.troubles.add(Uint32Array.of(...words(address), port), origin);
  pair.tell('a', { type: 'report', id: 9 });
  pair.take('a', 'report');
}
const downs = (): unknown[] => pair.take('a', 'down');
const silence = (): void => {
  pair.passes = () => false;
};

beforeEach(() => {
  pair = new WorkerPair();
  pair.join();
  pair.time.advance(SECOND);
  pair.take('a');
});

describe('a datagram to a neighbour that this host refuses', () => {
  it('ends its link at once, and the link is back as soon as there is a way', () => {
    pair.a.udp.troubles.add(Uint32Array.of(...words('192.0.2.2'), 7100), ORIGIN_HOST);
    pair.tell('a', { type: 'report', id: 9 });
    expect(downs()).toEqual([{ type: 'down', peer: 2, reason: 'unreachable' }]);
    pair.time.advance(10 * MS);
    expect(pair.take('a', 'up')).toHaveLength(1);
  });

  it('is nobody’s concern where no neighbour is there', () => {
    trouble(ORIGIN_HOST, '192.0.2.3');
    trouble(ORIGIN_HOST, '192.0.2.2', 7101);
    expect(downs()).toEqual([]);
  });
});

describe('an ICMP error about a neighbour', () => {
  it('ends its link within 150 ms where it is dead', () => {
    silence();
    pair.time.advance(100 * MS); // nothing of the peer's is on its way any more
    trouble(ORIGIN_NETWORK);
    pair.time.advance(60 * MS);
    expect(downs()).toEqual([]);
    pair.time.advance(90 * MS);
    expect(downs()).toEqual([{ type: 'down', peer: 2, reason: 'silence' }]);
  });

  it('changes nothing where it lives, though errors keep coming', () => {
    const before = pair.sent.length;
    for (let k = 0; k < 500; k++) {
      trouble(ORIGIN_NETWORK);
      pair.time.advance(2 * MS);
    }
    expect(downs()).toEqual([]);
    // Both ends' hellos: not one a doubt may cause more than five times a second.
    expect(pair.sent.length - before).toBeLessThan(60);
  });
});

describe('a change of this host', () => {
  const host = (...running: string[]): void =>
    pair.tell('a', { type: 'host-changed', running: running.map(words) });

  it('ends the links of an address that is gone, where there is no other way', () => {
    host('127.0.0.1');
    expect(downs()).toEqual([{ type: 'down', peer: 2, reason: 'unreachable' }]);
  });

  it('leaves links of other addresses alone', () => {
    host('127.0.0.1', '192.0.2.1');
    pair.time.advance(SECOND);
    expect(downs()).toEqual([]);
  });

  it('has a link probed whose address is gone while another leads there', () => {
    pair.a.udp.sourceFor = (_slot, address) => {
      address.set(words('192.0.2.77'));
      return true;
    };
    host('192.0.2.77');
    pair.time.advance(200 * MS);
    expect(downs()).toEqual([]);
    silence();
    pair.time.advance(100 * MS);
    host('192.0.2.77', '127.0.0.1');
    const at = 1 * ENDPOINT_WORDS + ENDPOINT_LOCAL;
    expect(pair.a.udp.endpoints.subarray(at, at + 4).some((word) => word !== 0)).toBe(false);
    pair.time.advance(200 * MS);
    expect(downs()).toEqual([{ type: 'down', peer: 2, reason: 'silence' }]);
  });

  it('has links that are down try at once', () => {
    silence();
    trouble(ORIGIN_HOST);
    pair.time.advance(5 * SECOND + 300 * MS);
    pair.take('a');
    pair.passes = () => true;
    host('192.0.2.1');
    pair.time.advance(10 * MS);
    expect(pair.take('a', 'up')).toHaveLength(1);
  });
});
