import { describe, expect, it } from 'vitest';

import { FlowCache } from '../../../src/intercept/flow-cache.js';
import { Detours } from '../../../src/overlay/forward/detours.js';
import type { Neighbour } from '../../../src/overlay/forward/neighbour.js';
import type { Destination } from '../../../src/overlay/forward/routes.js';
import { LinkQuality } from '../../../src/overlay/link/quality/link-quality.js';

const BULK = 1e6;

//        ┌── 2 ──┐
//   1 ───┤       ├─── 4        2 is the best way, 3 the alternate
//        └── 3 ──┘
function diamond() {
  const neighbour = (nodeId: number): Neighbour =>
    ({ nodeId, up: true, quality: new LinkQuality(0) }) as unknown as Neighbour;
  const [two, three] = [neighbour(2), neighbour(3)];
  const next = new Array<Neighbour | undefined>(16).fill(two);
  const destination: Destination = {
    ...{
      nodeId: 4,
      next,
      alternate: three,
      bulk: 2,
      alternateBulk: 2,
      rtt: 20_000,
      sequence: 0,
      usedSequence: 0,
    },
  };
  const flows = new FlowCache({ capacity: 8 });
  return { two, three, destination, flows, detours: new Detours(flows) };
}

/** A queue of so many packets has stood for a while. */
function queue({ quality }: Neighbour, packets: number): void {
  for (let now = 0; now <= 10_000_000; now += 100_000) quality.load(now, 0, packets);
}

describe('a reliable flow', () => {
  it('goes by the best way where that has room', () => {
    const { two, destination, flows, detours } = diamond();
    flows.bytes[0] = BULK;
    expect(detours.next(0, destination)).toBe(two);
  });

  it('goes by the alternate once it is bulk, if the best way is full, and stays there when it no longer is', () => {
    const { two, three, destination, flows, detours } = diamond();
    queue(two, 20);
    expect(detours.next(0, destination)).toBe(two);
    flows.bytes[0] = BULK;
    expect(detours.next(0, destination)).toBe(three);
    queue(two, 0);
    queue(three, 50);
    expect(detours.next(0, destination)).toBe(three);
  });

  it('stays on the best way if that had room when it became bulk', () => {
    const { two, destination, flows, detours } = diamond();
    flows.bytes[0] = BULK;
    expect(detours.next(0, destination)).toBe(two);
    queue(two, 50);
    expect(detours.next(0, destination)).toBe(two);
  });

  it('does not follow another at once: of two that become bulk together one stays', () => {
    const { two, three, destination, flows, detours } = diamond();
    queue(two, 15);
    flows.bytes.fill(BULK);
    expect([0, 1].map((flow) => detours.next(flow, destination))).toEqual([three, two]);
  });

  it('heeds the price of what lies behind the first links', () => {
    const { two, three, destination, flows, detours } = diamond();
    flows.bytes.fill(BULK);
    destination.bulk = 5;
    expect(detours.next(0, destination)).toBe(three);
    destination.alternateBulk = 9;
    expect(detours.next(1, destination)).toBe(two);
  });

  it('takes the alternate at once where the best way is down, and the best where the alternate is', () => {
    const { two, three, destination, flows, detours } = diamond();
    two.up = false;
    expect(detours.next(0, destination)).toBe(three);
    two.up = true;
    queue(two, 50);
    flows.bytes[0] = BULK;
    expect(detours.next(0, destination)).toBe(three);
    three.up = false;
    expect(detours.next(0, destination)).toBe(two);
  });
});
