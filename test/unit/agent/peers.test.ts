import { describe, expect, it } from 'vitest';
import { nodeIdOf } from '../../../src/crypto/identity/index.js';
import { PeerBook } from '../../../src/agent/peers.js';

const at = (name: string, ...hosts: string[]) => ({
  name,
  endpoints: hosts.map((host) => ({ host, port: 7100, text: `${host}:7100` })),
});

describe('the peer book', () => {
  it('names who is configured, in order, and for whom it only waits', () => {
    const book = new PeerBook();
    const { added, dropped } = book.configure(0, [at('b', '192.0.2.2'), at('a')]);
    expect([added.map(({ name }) => name), dropped]).toEqual([['b', 'a'], []]);
    expect(book.status(2_000_000)).toMatchObject([
      {
        name: 'a',
        nodeId: nodeIdOf('a'),
        configured: true,
        state: 'waiting',
        sinceSeconds: 2,
        endpoint: null,
      },
      { name: 'b', state: 'connecting', reason: null, rttMicros: null },
    ]);
    expect(book.status(0)[0].reason).toMatch(/no endpoints configured/);
  });

  it('drops whom a new configuration leaves out, keeps the others as they are, but for their endpoints', () => {
    const book = new PeerBook();
    book.configure(0, [at('a', '192.0.2.1'), at('b', '192.0.2.2')]);
    const b = book.byName('b')!;
    book.change(5, b, 'connected');
    const { dropped } = book.configure(9, [at('b', '192.0.2.3')]);
    expect(dropped.map(({ name }) => name)).toEqual(['a']);
    expect(book.byName('a')).toBeUndefined();
    expect(book.get(b.nodeId)).toBe(b);
    expect([b.state, b.since, b.endpoints]).toEqual(['connected', 5, [{ host: '192.0.2.3', port: 7100 }]]);
  });

  it('keeps a peer that only called, whatever is configured', () => {
    const book = new PeerBook();
    const stranger = book.seen(1, 'x');
    expect(book.seen(2, 'x')).toBe(stranger);
    expect(book.configure(3, [at('a', '192.0.2.1')]).dropped).toEqual([]);
    expect(stranger.configured).toBe(false);
    book.configure(4, [at('x', '192.0.2.9')]);
    expect(stranger.configured).toBe(true);
  });

  it('counts a state from its change, not from its repetition, and hides reasons of what works', () => {
    const book = new PeerBook();
    const peer = book.seen(0, 'x');
    expect(book.change(10, peer, 'failed', 'expired')).toBe(true);
    expect(book.change(20, peer, 'failed', 'unknown CA')).toBe(false);
    expect(book.status(1_000_010)[0]).toMatchObject({ reason: 'unknown CA', sinceSeconds: 1 });
    book.change(30, peer, 'connected', 'leftover');
    expect(book.status(30)[0].reason).toBeNull();
  });
});
