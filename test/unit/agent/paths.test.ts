import { beforeEach, describe, expect, it } from 'vitest';
import { readEndpoint } from '../../../src/agent/endpoint.js';
import { OTHER_ADDRESS_OF_B, WorkerPair } from '../../support/forward/worker-pair.js';

const SECOND = 1_000_000;
const FIRST = '192.0.2.2';

describe('a peer with two addresses, between workers', () => {
  let pair: WorkerPair;
  /** Addresses of b whose datagrams vanish, both ways. */
  let dead: Set<string>;

  beforeEach(() => {
    pair = new WorkerPair();
    dead = new Set();
    pair.passes = ({ source, destination }) => !dead.has(source.address) && !dead.has(destination.address);
    pair.join();
    pair.time.advance(SECOND);
    pair.tell('a', {
      type: 'paths',
      peer: 2,
      endpoints: [FIRST, OTHER_ADDRESS_OF_B].map((host) => ({ host, port: 7100 })),
    });
    pair.time.advance(SECOND);
  });

  const inUse = (): string => pair.report('a').links[0].endpoint.host;
  /** Bursts of hellos, as beside data. */
  const busy = (micros: number): void => {
    for (let passed = 0; passed < micros; passed += 20_000) {
      pair.tell('a', { type: 'echo', id: 1, number: passed, destination: 2, ttl: 9 });
      pair.time.advance(20_000);
    }
  };

  it('knows how far both are, and uses the one that it has', () => {
    const [link] = pair.report('a').links;
    expect(link.paths.map(({ endpoint, active, rtt }) => [endpoint.host, active, rtt])).toEqual([
      [FIRST, true, 2000],
      [OTHER_ADDRESS_OF_B, false, 2000],
    ]);
  });

  it('is reached at the other when one dies, before the link counts as down', () => {
    pair.a.posted.length = 0;
    dead.add(FIRST);
    pair.time.advance(3.4 * SECOND);
    expect(inUse()).toBe(OTHER_ADDRESS_OF_B);
    expect(pair.report('a').links[0].state).toBe('up');
    expect(pair.a.posted.filter(({ type }) => type === 'down')).toEqual([]);
    expect(pair.a.posted).toContainEqual(
      expect.objectContaining({
        type: 'moved',
        endpoint: expect.objectContaining({ host: OTHER_ADDRESS_OF_B }),
      }),
    );
    // The peer answers from the address that it is called at.
    const slot = 1;
    expect(readEndpoint(pair.b.udp.endpoints, slot).local).toBe(OTHER_ADDRESS_OF_B);
  });

  it('moves to the nearer one after a while, and only then', () => {
    pair.delay = ({ source, destination }) =>
      [source.address, destination.address].includes(FIRST) ? 30_000 : 5000;
    pair.time.advance(9 * SECOND);
    expect(inUse()).toBe(FIRST);
    pair.time.advance(38 * SECOND);
    expect(inUse()).toBe(OTHER_ADDRESS_OF_B);
  });

  it('is told what it loses by who knows, the end that sends', () => {
    let sent = 0;
    pair.passes = ({ source }) => source.address !== FIRST || sent++ % 5 !== 0;
    busy(20 * SECOND);
    const [there, back] = (['a', 'b'] as const).map((name) => pair.report(name).links[0]);
    expect(there).toMatchObject({ lossOut: 0, health: 'lossy' });
    expect(there.lossIn).toBeGreaterThan(0.1);
    expect(back).toMatchObject({ lossIn: 0, health: 'lossy' });
    expect(back.lossOut).toBeCloseTo(there.lossIn, 1);
  });

  it.each(['alive', 'dead'])(
    'loses no record by ways that are %s, as far as the loss of the link goes',
    (ways) => {
      if (ways === 'dead') dead.add(OTHER_ADDRESS_OF_B);
      busy(2 * SECOND);
      pair.time.advance(120 * SECOND);
      const measured = pair.a.posted.filter((message) => message.type === 'measured').at(-1);
      expect(measured).toMatchObject({ measure: { loss: 0 } });
      expect(inUse()).toBe(FIRST);
      for (const name of ['a', 'b'] as const)
        expect(pair.report(name).links[0]).toMatchObject({ lossOut: 0, lossIn: 0, health: 'good' });
    },
  );
});
