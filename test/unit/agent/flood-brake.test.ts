import { beforeEach, describe, expect, it } from 'vitest';
import { FloodBrake } from '../../../src/agent/worker/flood-brake.js';

let done: string[];
let fire: () => void;
let brake: FloodBrake;

beforeEach(() => {
  done = [];
  const socket = { pause: () => done.push('pause'), resume: () => done.push('resume') };
  brake = new FloodBrake(socket, 16, (callback) => {
    fire = callback;
    return { arm: () => done.push('arm'), disarm: () => undefined, close: () => done.push('close') };
  });
});

const junk = (reads: number, datagrams = 16): boolean[] =>
  Array.from({ length: reads }, () => brake.readsOn(datagrams, false));

describe('a socket that is flooded', () => {
  it('rests once what came is read, and is watched again afterwards', () => {
    expect(junk(7)).not.toContain(true);
    expect(done).toEqual([]);
    expect(junk(3)).toEqual([true, true, true]);
    expect(brake.readsOn(15, false)).toBe(false);
    expect(done).toEqual(['pause', 'arm']);
    fire();
    expect(done).toEqual(['pause', 'arm', 'resume']);
    expect(junk(1)).toEqual([true]);
  });

  it('that never runs empty gives others their turn, but has no time to rest', () => {
    junk(7);
    expect(junk(1000).filter((on) => !on).length).toBeGreaterThan(20);
    expect(done).toEqual([]);
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
