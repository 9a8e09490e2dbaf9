/** Chance from a seed: sfc32, the same on every machine. Not for keys. */
export class Random {
  private a = 0x9e3779b9;
  private b = 0x243f6a88;
  private c: number;
  private counter = 1;

  constructor(seed: number) {
    this.c = seed >>> 0;
    for (let i = 0; i < 16; i++) this.u32();
  }

  u32(): number {
    const sum = (this.a + this.b + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** 0 ≤ x < 1. */
  real(): number {
    return this.u32() / 2 ** 32;
  }

  /** 0 .. below-1. */
  integer(below: number): number {
    return Math.floor(this.real() * below);
  }

  chance(probability: number): boolean {
    return this.real() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.integer(from.length)];
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.u32() >>> 24);
  }
}
