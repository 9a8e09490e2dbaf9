import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { DROP_REASONS } from '../../../src/overlay/forward/counters.js';

const text = readFileSync(join(import.meta.dirname, '../../../docs/drops.md'), 'utf8');

it.each(DROP_REASONS)('%s is explained in docs/drops.md', (reason) => {
  expect(text).toMatch(new RegExp(`^\\|.*\`${reason}\`.* \\|`, 'm'));
});
