/** Acknowledgements for tests, written from the numbers that arrived. */
import { add21 } from '../../../../src/overlay/link/recovery/numbers.js';
import { ACK_PAIRS_MAX } from '../../../../src/overlay/wire/frames.js';
import { writeAckHead, writeAckPair } from '../../../../src/overlay/wire/recovery.js';

export interface AckFields {
  readonly epoch: number;
  /** Unwrapped. */
  readonly numbers: readonly number[];
  readonly delay?: number;
  readonly ceMarks?: number;
}

const view = new DataView(new ArrayBuffer(300));

/** The acknowledgement of `numbers`, in any order, its value from byte 3; at most the newest 31 runs are told. */
export function ackOf({ epoch, numbers, delay = 0, ceMarks = 0 }: AckFields): {
  view: DataView;
  length: number;
  /** The oldest number told. */
  oldest: number;
} {
  const runs: { newest: number; oldest: number }[] = [];
  for (const number of [...new Set(numbers)].sort((a, b) => b - a)) {
    const last = runs.at(-1);
    if (last?.oldest === number + 1) last.oldest = number;
    else runs.push({ newest: number, oldest: number });
  }
  const told = runs.slice(0, 1 + ACK_PAIRS_MAX);
  const [top] = told;
  const first = top.newest - top.oldest + 1;
  let end = writeAckHead(view, 0, 2, epoch, add21(top.newest, 0), delay, ceMarks, first, told.length - 1);
  for (let i = 1; i < told.length; i++)
    end = writeAckPair(
      view,
      end,
      told[i - 1].oldest - told[i].newest - 1,
      told[i].newest - told[i].oldest + 1,
    );
  return { view, length: end - 3, oldest: told[told.length - 1].oldest };
}
