/**
 * Arithmetic in GF(2⁸) modulo x⁸ + x⁴ + x³ + x² + 1 (0x11d, the field of RFC 5510 §8.1 and RFC 8681 §3.7.1), where x generates every
 * element but zero. Addition is exclusive or.
 */
const POLYNOMIAL = 0x11d;

const POWERS = new Uint8Array(510);
const LOGARITHMS = new Uint8Array(256);
for (let i = 0, power = 1; i < 255; i++) {
  POWERS[i] = power;
  POWERS[i + 255] = power;
  LOGARITHMS[power] = i;
  power <<= 1;
  if (power > 0xff) power ^= POLYNOMIAL;
}

/** `PRODUCTS[a << 8 | b]` is a·b. */
export const PRODUCTS = new Uint8Array(0x1_0000);
for (let a = 1; a < 256; a++) {
  for (let b = 1; b < 256; b++) PRODUCTS[(a << 8) | b] = POWERS[LOGARITHMS[a] + LOGARITHMS[b]];
}

export function multiply(a: number, b: number): number {
  return PRODUCTS[(a << 8) | b];
}

/** 1 / a; `a` isn't zero. */
export function inverse(a: number): number {
  return POWERS[255 - LOGARITHMS[a]];
}
