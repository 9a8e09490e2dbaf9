import { beforeEach, describe, expect, it } from 'vitest';
import { FloodBrake } from '../../../src/agent/worker/flood-brake.js';

let done: string[];
let fire: () => void;
let brake: FloodBrake;

beforeEach(() => {
  done = [];
  const socket = { pause: () => done.push('pause'), resume: () => done.push('resume') };
  brake = new FloodBrake(socket, (callback) => {
    fire = callback;
    return { arm: () => done.push('arm'), disarm: () => undefined, close: () => done.push('close') };
  });
});

const junk = (reads: number): boolean[] => Array.from({ length: reads }, () => brake.readsOn(1, false));

describe('a socket that is flooded', () => {
  it('rests once what came is read, and is watched again afterwards', () => {
    expect(junk(7)).not.toContain(true);
    expect(done).toEqual([]);
    expect(junk(3)).toEqual([true, true, true]);
    expect(brake.readsOn(0, false)).toBe(false);
    expect(done).toEqual(['pause', 'arm']);
    fire();
    expect(done).toEqual(['pause', 'arm', 'resume']);
    expect(junk(1)).toEqual([true]);
  });

  it('rests at times even where it never runs empty, so that others have their turn', () => {
    junk(7);
    const reads = junk(1000);
    expect(reads.indexOf(false)).toBeLessThan(100);
    expect(done.filter((what) => what === 'pause')).toHaveLength(reads.filter((on) => !on).length);
  });

  it('is read as ever after an honest datagram', () => {
    junk(20);
    expect(brake.readsOn(4, true)).toBe(false);
    expect(junk(7)).not.toContain(true);
    expect(done).toEqual([]);
  });

  it('is no flood where reads find nothing', () => {
    for (let k = 0; k < 100; k++) expect(brake.readsOn(0, false)).toBe(false);
    expect(done).toEqual([]);
  });

  it('has no timer any more once closed', () => {
    brake.close();
    expect(done).toEqual(['close']);
  });
});
