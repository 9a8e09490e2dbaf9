/**
 * Arithmetic on sequence numbers that wrap (RFC 1982): every comparison of two wire counters goes through here.
 * A number is "after" another when it lies less than half the space ahead of it.
 */

/** Signed distance from `from` to `to`, −2³¹ … 2³¹−1. */
export function difference32(to: number, from: number): number {
  return (to - from) | 0;
}

export function isAfter32(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

/** `sequence + count` in 0 … 2³²−1; `count` may be negative. */
export function add32(sequence: number, count: number): number {
  return (sequence + count) >>> 0;
}

/** Unsigned distance from `from` forward to `to`, 0 … 2³²−1: for clocks that only run forward. */
export function elapsed32(to: number, from: number): number {
  return (to - from) >>> 0;
}

/** Signed distance from `from` to `to`, −2¹⁵ … 2¹⁵−1. */
export function difference16(to: number, from: number): number {
  return ((to - from) << 16) >> 16;
}

export function isAfter16(a: number, b: number): boolean {
  return ((a - b) << 16) >> 16 > 0;
}

/** `sequence + count` in 0 … 65535; `count` may be negative. */
export function add16(sequence: number, count: number): number {
  return (sequence + count) & 0xffff;
}
