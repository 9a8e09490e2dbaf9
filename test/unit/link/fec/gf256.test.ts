import { describe, expect, it } from 'vitest';
import { inverse, multiply } from '../../../../src/overlay/link/fec/gf256.js';

/** Schoolbook: multiply as polynomials, then divide by 0x11d. */
function slowProduct(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) if ((b >> bit) & 1) product ^= a << bit;
  for (let bit = 14; bit >= 8; bit--) if ((product >> bit) & 1) product ^= 0x11d << (bit - 8);
  return product;
}

describe('arithmetic in GF(256)', () => {
  it('multiplies as polynomials do', () => {
    for (let a = 0; a < 256; a++) {
      for (let b = 0; b < 256; b++) if (multiply(a, b) !== slowProduct(a, b)) expect([a, b]).toBe('equal');
    }
  });

  it('inverts all but zero', () => {
    for (let a = 1; a < 256; a++) expect(slowProduct(a, inverse(a))).toBe(1);
  });
});
