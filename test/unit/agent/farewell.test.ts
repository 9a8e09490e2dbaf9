import { describe, expect, it } from 'vitest';

import { awaitDetours } from '../../../src/agent/farewell.js';

/** ms that a node waits whose neighbours send it a packet each `every` ms until `until`. */
async function waitOf(every: number, until: number): Promise<number> {
  let now = 0;
  await awaitDetours({
    relayed: () => Promise.resolve(Math.floor(Math.min(now, until) / every)),
    sleep: (ms) => {
      now += ms;
      return Promise.resolve();
    },
  });
  return now;
}

describe('a node that has said farewell', () => {
  it('waits a moment for others to go round it, also where nothing passes', async () => {
    expect(await waitOf(1000, 0)).toBe(150);
  });

  it('goes on as long as packets pass', async () => {
    const waited = await waitOf(20, 300);
    expect(waited).toBeGreaterThanOrEqual(350);
    expect(waited).toBeLessThan(450);
  });

  it('ends though somebody goes on sending', async () => {
    expect(await waitOf(20, Infinity)).toBe(600);
  });
});
