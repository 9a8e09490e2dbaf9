/** Echoes that wait for an answer or a refusal, by destination and sequence, which would name them. */
import { ERROR_NO_ROUTE } from '../../overlay/wire/error.js';
import type { EchoAnswer, SlowPath } from '../../overlay/forward/slow-path.js';
import type { FromWorker, ToWorker } from '../messages.js';
import { ECHOES_KEPT } from './sizes.js';

export class Echoes {
  private readonly waiting = new Map<string, { id: number; number: number; sentAt: number }>();

  constructor(
    private readonly self: number,
    private readonly slow: Pick<SlowPath, 'sendEcho'>,
    private readonly post: (message: FromWorker) => void,
  ) {}

  send(now: number, { id, number, destination, ttl }: Extract<ToWorker, { type: 'echo' }>): void {
    const sequence = this.slow.sendEcho(now, destination, id, number, ttl);
    if (sequence < 0) {
      this.post({ type: 'echo-error', id, number, from: this.self, code: ERROR_NO_ROUTE, rttMicros: 0 });
      return;
    }
    this.waiting.set(keyOf(destination, sequence), { id, number, sentAt: now });
    for (const old of this.waiting.keys()) {
      if (this.waiting.size <= ECHOES_KEPT) break;
      this.waiting.delete(old);
    }
  }

  answered(answer: EchoAnswer): void {
    const { identifier: id, number, from, rttMicros, there, back, ttl } = answer;
    const asked = [...this.waiting].find(([, echo]) => echo.id === id && echo.number === number);
    if (!asked) return;
    this.waiting.delete(asked[0]);
    const reply = { id, number, from, rttMicros, forward: [...there], back: [...back], ttl };
    this.post({ type: 'echo-reply', reply });
  }

  refused(now: number, destination: number, sequence: number, from: number, code: number): void {
    const key = keyOf(destination, sequence);
    const echo = this.waiting.get(key);
    if (!echo) return;
    this.waiting.delete(key);
    const { id, number, sentAt } = echo;
    this.post({ type: 'echo-error', id, number, from, code, rttMicros: now - sentAt });
  }
}

/** Sequences count per destination. */
function keyOf(destination: number, sequence: number): string {
  return `${destination} ${sequence}`;
}
