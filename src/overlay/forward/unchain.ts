import {
  DISTANCE_MAX,
  readDestination,
  readDistance,
  readEpoch,
  readFlow,
  readSequence,
  readSource,
  writeDistance,
} from '../wire/routed.js';

/**
 * Takes the routed frame at `dropped`, which goes no further, out of its flow's chain: the frame at `next`, if it follows that one, names
 * the one before instead. A void header would say the same, but where frames come faster than they can go it would be one too many.
 */
export function unchain(view: DataView, dropped: number, next: number): void {
  const step = (readSequence(view, next) - readSequence(view, dropped)) >>> 0;
  if (step !== readDistance(view, next) || !isSameFlow(view, dropped, next)) return;
  const before = readDistance(view, dropped);
  const distance = before === 0 ? 0 : before + step;
  writeDistance(view, next, distance <= DISTANCE_MAX ? distance : 0);
}

function isSameFlow(view: DataView, one: number, other: number): boolean {
  return (
    readFlow(view, one) === readFlow(view, other) &&
    readSource(view, one) === readSource(view, other) &&
    readDestination(view, one) === readDestination(view, other) &&
    readEpoch(view, one) === readEpoch(view, other)
  );
}
