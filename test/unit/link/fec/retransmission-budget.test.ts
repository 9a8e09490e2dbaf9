import { describe, expect, it } from 'vitest';
import { RetransmissionBudget } from '../../../../src/overlay/link/fec/retransmission-budget.js';

const takeAll = (budget: RetransmissionBudget): number => {
  let taken = 0;
  while (budget.take()) taken++;
  return taken;
};

describe('retransmission budget', () => {
  it('earns half a token for each packet', () => {
    const budget = new RetransmissionBudget(3);
    expect(takeAll(budget)).toBe(3);
    budget.earn();
    expect(budget.take()).toBe(false);
    budget.earn();
    budget.earn();
    expect(takeAll(budget)).toBe(1);
    budget.earn();
    expect(takeAll(budget)).toBe(1);
  });

  it('never holds more than its capacity', () => {
    const budget = new RetransmissionBudget(3);
    for (let i = 0; i < 100; i++) budget.earn();
    expect(takeAll(budget)).toBe(3);
  });
});
