import { describe, expect, it } from 'vitest';
import { createBatch } from '../../../src/io/batch.js';
import { RecentHeaders } from '../../../src/overlay/forward/recent-headers.js';

const SLOTS = 4096;

function batchOf(length: number, fill: number) {
  const batch = createBatch(4096, 1);
  batch.bytes.fill(fill);
  batch.offset[0] = 8;
  batch.length[0] = length;
  return batch;
}

describe('the heads of recent packets', () => {
  it('are found by destination and any sequence of the packet, and by no other', () => {
    const recent = new RecentHeaders();
    recent.remember(batchOf(60, 1), 0, 10, 100, 4);
    recent.remember(batchOf(60, 2), 0, 11, 100, 1);
    const find = (destination: number, sequence: number) => recent.find(destination, sequence)?.[0];
    expect([99, 100, 103, 104].map((sequence) => find(10, sequence))).toEqual([undefined, 1, 1, undefined]);
    expect([100, 101].map((sequence) => find(11, sequence))).toEqual([2, undefined]);
    expect(find(12, 100)).toBeUndefined();
  });

  it('follow sequences over their end', () => {
    const recent = new RecentHeaders();
    recent.remember(batchOf(60, 3), 0, 10, 0xfffffffe, 4);
    expect([0xfffffffd, 0xfffffffe, 0, 1, 2].map((sequence) => recent.find(10, sequence)?.[0])).toEqual([
      undefined,
      3,
      3,
      3,
      undefined,
    ]);
  });

  it('keep at most 96 bytes', () => {
    const recent = new RecentHeaders();
    recent.remember(batchOf(1400, 4), 0, 10, 1, 1);
    expect(recent.find(10, 1)).toEqual(new Uint8Array(96).fill(4));
  });

  it('keep all of a short packet, whatever its length', () => {
    for (let length = 20; length <= 96; length++) {
      const recent = new RecentHeaders();
      recent.remember(batchOf(length, 5), 0, 10, 1, 1);
      expect(recent.find(10, 1)).toEqual(new Uint8Array(length).fill(5));
    }
  });

  it('of which the oldest make room, the newest of equal numbers counts', () => {
    const recent = new RecentHeaders();
    for (let i = 0; i <= SLOTS; i++) recent.remember(batchOf(20, i & 255), 0, 10, i, 1);
    expect(recent.find(10, 0)).toBeUndefined();
    expect(recent.find(10, 1)?.[0]).toBe(1);
    recent.remember(batchOf(20, 77), 0, 10, SLOTS, 1);
    expect(recent.find(10, SLOTS)?.[0]).toBe(77);
  });

  it('of nothing are never found, not even for node 0', () => {
    expect(new RecentHeaders().find(0, 0)).toBeUndefined();
  });
});
