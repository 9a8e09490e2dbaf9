/**
 * The competitor: TCP with CUBIC as RFC 9438 and Linux have it (HyStart by delay, fast convergence, Reno-friendly region, no pacing), in
 * packets and seconds, and nothing of the product's own in it.
 */
import type { AckSample } from '../../../src/overlay/link/congestion/controller.js';
import { PACKET, type FlowControl } from './bottleneck-flow.js';

const BETA = 0.7;
const C = 0.4;

export class CubicTcp implements FlowControl {
  cwnd = 10;
  ssthresh = Infinity;
  private lastMax = 0;
  private epoch = -1;
  private k = 0;
  private origin = 0;
  private reno = 0;
  private minRtt = Infinity;
  private roundEnd = -1;
  private roundMin = Infinity;
  private roundSamples = 0;
  private recoveryUntil = -1;

  get window(): number {
    return Math.max(2, Math.floor(this.cwnd)) * PACKET;
  }

  sendTime(now: number): number {
    return now;
  }

  onSent(): void {
    // its window grows by acknowledgements only
  }

  onAck(now: number, sample: AckSample): void {
    const packets = sample.ackedBytes / PACKET;
    this.minRtt = Math.min(this.minRtt, sample.rtt);
    if (sample.newestSentAt < this.recoveryUntil || !sample.windowLimited) return;
    if (this.cwnd < this.ssthresh) {
      this.cwnd += packets;
      this.hystart(now, sample);
    } else this.avoid(now / 1e6, packets);
  }

  onLoss(now: number, _bytes: number, newestSentAt: number): void {
    if (newestSentAt < this.recoveryUntil) return;
    this.recoveryUntil = now;
    this.lastMax = this.cwnd < this.lastMax ? (this.cwnd * (1 + BETA)) / 2 : this.cwnd;
    this.cwnd = Math.max(2, this.cwnd * BETA);
    this.ssthresh = this.cwnd;
    this.epoch = -1;
  }

  onMark(now: number, sentAt: number): void {
    this.onLoss(now, 0, sentAt);
  }

  onTimeout(now: number): void {
    this.onLoss(now, 0, now);
    this.cwnd = 1;
  }

  private hystart(now: number, sample: AckSample): void {
    if (sample.newestSentAt >= this.roundEnd) {
      this.roundEnd = now;
      this.roundMin = Infinity;
      this.roundSamples = 0;
    }
    if (++this.roundSamples <= 8) this.roundMin = Math.min(this.roundMin, sample.rtt);
    const rise = Math.min(16_000, Math.max(4000, this.minRtt / 8));
    if (this.roundSamples >= 8 && this.cwnd >= 16 && this.roundMin > this.minRtt + rise) {
      this.ssthresh = this.cwnd;
    }
  }

  private avoid(seconds: number, acked: number): void {
    if (this.epoch < 0) {
      this.epoch = seconds;
      this.reno = this.cwnd;
      this.origin = Math.max(this.cwnd, this.lastMax);
      this.k = this.cwnd < this.lastMax ? Math.cbrt((this.lastMax - this.cwnd) / C) : 0;
    }
    const t = seconds + this.minRtt / 1e6 - this.epoch;
    const target = Math.min(this.origin + C * (t - this.k) ** 3, 1.5 * this.cwnd);
    this.reno += (((3 * (1 - BETA)) / (1 + BETA)) * acked) / this.cwnd;
    if (target > this.cwnd) this.cwnd += ((target - this.cwnd) / this.cwnd) * acked;
    if (this.reno > this.cwnd) this.cwnd = this.reno;
  }
}
