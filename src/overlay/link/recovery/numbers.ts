/**
 * Arithmetic on the numbers of a link's transmissions: 21 bits that wrap (RFC 1982). A number is "after" another when it lies less than
 * half the space ahead of it.
 */
import { NUMBER_MASK } from '../../wire/record.js';

/** Shifts a difference of 21 bits to the top of a word and back, which extends its sign. */
const SHIFT = 11;

/** `number + count` in 0 … 2²¹−1; `count` may be negative. */
export function add21(number: number, count: number): number {
  return (number + count) & NUMBER_MASK;
}

/** Signed distance from `from` to `to`, −2²⁰ … 2²⁰−1. */
export function difference21(to: number, from: number): number {
  return ((to - from) << SHIFT) >> SHIFT;
}

export function isAfter21(a: number, b: number): boolean {
  return ((a - b) << SHIFT) >> SHIFT > 0;
}
