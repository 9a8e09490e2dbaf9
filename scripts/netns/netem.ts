/** A direction's shape as `tc` commands, for kernels that have netem. */
import type { Shape } from './quantity.js';

/** netem's own queue must never be what drops: this holds a second of full frames at 10 Gbit/s. */
const netemFrames = 1_000_000;

/**
 * netem delays and loses; a token bucket under it serialises at the rate, and drops what would wait longer than the queue allows. The
 * bucket is small, so that frames leave evenly spaced.
 */
export function netemLines(device: string, shape: Shape, mtu: number): string[] {
  const delay = `delay ${Math.round(shape.delayMs * 1000)}us`;
  const lines = [
    `qdisc add dev ${device} root handle 1: netem limit ${netemFrames} ${delay}${lossText(shape)}`,
  ];
  if (shape.rateBps !== null) {
    const queue = `latency ${Math.max(1, Math.round(shape.queueMs * 1000))}us`;
    const bucket = Math.max(mtu + ethernetHeader, Math.ceil((shape.rateBps / 8e3) * bucketMs));
    lines.push(
      `qdisc add dev ${device} parent 1:1 handle 2: tbf rate ${Math.round(shape.rateBps)}bit burst ${bucket} ${queue}`,
    );
  }
  return lines;
}

const ethernetHeader = 14;
/** What the kernel's timers can space out: at 100 Mbit/s and less it is one frame. */
const bucketMs = 0.1;

/** Gilbert's model: a good state that passes and a bad one that loses every frame; a run's mean length is 1/P(bad→good). */
export function gilbert(loss: number, burst: number): { toBad: number; toGood: number } {
  const toGood = 1 / burst;
  return { toGood, toBad: loss >= 1 ? 1 : (loss * toGood) / (1 - loss) };
}

function lossText(shape: Shape): string {
  if (shape.loss === 0) return '';
  const percent = (fraction: number): string => `${Number((fraction * 100).toFixed(6))}%`;
  if (shape.burst === null) return ` loss random ${percent(shape.loss)}`;
  const { toBad, toGood } = gilbert(shape.loss, shape.burst);
  return ` loss gemodel ${percent(toBad)} ${percent(toGood)}`;
}
