import { expect, test } from 'vitest';

import { routeStatus } from '../../../src/agent/route-status.js';
import type { RankedWay, Way } from '../../../src/overlay/route/ways.js';
import { sameWays } from '../../support/ways.js';

const certificate = (nodeId: number, name: string) => ({
  ...{ nodeId, name, publicKey: new Uint8Array(32), addresses: [], routes: [], notBefore: 0, notAfter: 0 },
});

const way = (more: Partial<RankedWay>): RankedWay => ({ ...sameWays(2, 10_000, 2)[0], ...more });
const second = (more: Partial<Way>): Way => ({
  ...{ nextHop: 3, cost: 20_000, hops: 2, rtt: 20_000, loss: 0, price: 0 },
  ...more,
});

/** What is said of node 4, reached by `ways`; node 1 is this one. */
function told(...ways: RankedWay[]) {
  const nodes = [
    { certificate: certificate(1, 'a'), ways: sameWays(1, 0, 0) },
    { certificate: certificate(2, 'm1'), ways: sameWays(2, 5000, 1) },
    { certificate: certificate(3, 'm2'), ways: sameWays(3, 5000, 1) },
    { certificate: certificate(4, 'b'), ways },
  ];
  return routeStatus(nodes, 1, ({ certificate: { nodeId } }) => [`10.77.0.${nodeId}/32`]);
}

test('each service has its way, and the reason for it', () => {
  const routes = told(
    way({ second: second({ loss: 0.1, rtt: 26_000, hops: 3 }), isLoopFree: true }),
    way({ second: undefined }),
    way({ second: second({ cost: 10_000 }) }),
  );
  expect(routes[0]).toMatchObject({ owner: 'a', via: null, hops: 0, costMicros: 0, ways: [] });
  expect(routes[3]).toMatchObject({
    prefix: '10.77.0.4/32',
    owner: 'b',
    via: 'm1',
    hops: 2,
    costMicros: 10_000,
  });
  const [bestEffort, reliable, realtime] = routes[3].ways;
  expect(bestEffort).toMatchObject({
    ...{ service: 'best-effort', via: 'm1', second: { via: 'm2', loss: 0.1, loopFree: true } },
    why: 'the second loses 10.0 % instead of 0.0 %, is 6.0 ms longer, has 1 more hop',
  });
  expect(reliable).toMatchObject({ service: 'reliable', second: null, why: 'the only way' });
  expect(realtime.why).toBe('as good as the second');
});

test('who cannot be reached has no way', () => {
  expect(told(...sameWays(0, Infinity, 0))[3]).toMatchObject({
    via: null,
    hops: null,
    costMicros: null,
    ways: [],
  });
});
