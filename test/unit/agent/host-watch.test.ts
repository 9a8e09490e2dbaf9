import type { NetworkInterfaceInfo } from 'node:os';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HostWatch } from '../../../src/agent/host-watch.js';
import { formatAddress } from '../../../src/io/address.js';
import type { Io } from '../../../src/io/ports.js';

let addresses: string[];
let looks: number;
let tell: () => void;
let closed: boolean;
let changes: string[][];
let watch: HostWatch;

beforeEach(() => {
  vi.useFakeTimers();
  addresses = ['192.0.2.1', 'fe80::1%eth0'];
  looks = 0;
  closed = false;
  changes = [];
  const io = {
    watchHost(callback: () => void) {
      tell = callback;
      return { close: () => (closed = true) };
    },
  } as unknown as Io;
  const interfaces = () => {
    looks++;
    return { eth0: addresses.map((address) => ({ address }) as NetworkInterfaceInfo) };
  };
  const text = (words: Uint32Array) => formatAddress(new Uint8Array(words.buffer));
  watch = new HostWatch(io, (running) => changes.push(running.map(text)), interfaces);
});

afterEach(() => {
  watch.close();
  vi.useRealTimers();
});

describe('a watch of the host', () => {
  it('tells the addresses that are left when one goes, at once', () => {
    addresses = ['fe80::1%eth0'];
    tell();
    expect(changes).toEqual([['fe80::1']]);
  });

  it('says nothing where nothing changed', () => {
    tell();
    vi.advanceTimersByTime(1000);
    expect(changes).toEqual([]);
  });

  it('looks twice at a burst, at its beginning and its end', () => {
    looks = 0;
    addresses = ['192.0.2.1'];
    for (let k = 0; k < 100; k++) tell();
    addresses = ['192.0.2.9'];
    tell();
    vi.advanceTimersByTime(1000);
    expect(changes).toEqual([['192.0.2.1'], ['192.0.2.9']]);
    expect(looks).toBe(2);
  });

  it('ends with the agent', () => {
    watch.close();
    expect(closed).toBe(true);
  });
});
