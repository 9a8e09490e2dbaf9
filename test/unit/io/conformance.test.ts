import { describe, it } from 'vitest';
import { createPlainIo } from '../../../src/io/plain/index.js';
import type { Io } from '../../../src/io/ports.js';
import { ioConformance } from './conformance.js';

interface NativeModule {
  loadNative(): Io;
}

/** The native ports, or why they can't be had: a host without a compiler has none. */
async function findNative(): Promise<Io | string> {
  const path = '../../../src/io/native.js';
  try {
    return ((await import(path)) as NativeModule).loadNative();
  } catch (error) {
    return (error as Error).message.split('\n')[0];
  }
}

ioConformance('plain', createPlainIo);

const native = await findNative();
if (typeof native === 'string')
  describe.skip('native io', () => it(`isn't built here: ${native}`, () => undefined));
else ioConformance('native', () => native);
