import { describe, expect, it } from 'vitest';

import { OwnLinks } from '../../../src/overlay/route/own-links.js';
import { DEFAULT_TUNING } from '../../../src/overlay/route/tuning.js';

const SECOND = 1_000_000;
const PEER = 7;
const RTT = 10_000;

/** A link that lost a tenth from its first second on, and what is told of it. */
function lossyLink() {
  const links = new OwnLinks(DEFAULT_TUNING);
  const measure = (now: number, loss: number): boolean =>
    links.measured(now, PEER, { rtt: RTT, loss, burst: 1, price: 0 });
  links.up(0, PEER, RTT);
  measure(SECOND, 100_000);
  const told = (): number => links.list()[0].loss;
  expect(told()).toBe(100_000);
  return { links, measure, told };
}

describe('what a node tells of a link that loses', () => {
  it('stays when the link goes and comes, until it was better for half a minute since', () => {
    const { links, measure, told } = lossyLink();
    measure(10 * SECOND, 0);
    expect(links.down(25 * SECOND, PEER)).toBe(true);
    links.up(30 * SECOND, PEER, RTT);
    expect(told()).toBe(100_000);
    measure(31 * SECOND, 0);
    expect(links.timeout(50 * SECOND)).toBe(false);
    expect(links.timeout(62 * SECOND)).toBe(true);
    expect(told()).toBe(0);
  });

  it('stays when the link begins anew without having been down', () => {
    const { links, told } = lossyLink();
    links.up(2 * SECOND, PEER, RTT);
    expect(told()).toBe(100_000);
  });

  it('is forgotten where the link was gone for longer than a minute', () => {
    const { links, told } = lossyLink();
    links.down(2 * SECOND, PEER);
    links.up(70 * SECOND, PEER, RTT);
    expect(told()).toBe(0);
  });
});
