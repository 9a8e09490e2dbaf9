/** `causeway capture`, the main thread's part: from the worker's blocks to a file's bytes, with a bound on what waits for a slow reader. */
import { encodeInterface, encodeSection, encodeStatistics } from '../capture/pcapng.js';
import { LINK_RAW } from '../capture/link-layer.js';
import { ApiError, type CaptureRequest } from '../control/api.js';
import { parseFlowMatch } from '../control/flow-match.js';
import type { Clock } from './agent.js';
import type { CaptureFilter } from './messages.js';
import type { WorkerPort } from './worker/port.js';

/** At once, over all clients. */
const MAX_CAPTURES = 4;
/** Bytes that wait for one reader. */
const MAX_WAITING = 8 << 20;

export interface CaptureRun {
  readonly port: WorkerPort;
  readonly filter: CaptureFilter;
  /** Of the interface in the file. */
  readonly name: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Throws ApiError `bad-request` or what `nodeOf` throws. */
export function captureFilter(
  { decrypted, node, flow, snap }: CaptureRequest,
  nodeOf: (target: string) => number,
): CaptureFilter {
  if (flow !== undefined && !decrypted) {
    throw new ApiError(
      'bad-request',
      'flow: datagrams are sealed, so no flow is seen in them; add --decrypted',
    );
  }
  return {
    decrypted,
    snap,
    ...(node !== undefined && { node: nodeOf(node) }),
    ...(flow !== undefined && { flow: parseFlowMatch(flow) }),
  };
}

export class Captures {
  private running = 0;

  /** `application`: what the file says that it was made by. */
  constructor(private readonly application: string) {}

  /** Ends when `signal` aborts. */
  async *run({ port, filter, name, clock, signal }: CaptureRun): AsyncGenerator<Uint8Array> {
    if (this.running >= MAX_CAPTURES) {
      throw new ApiError('unavailable', `${MAX_CAPTURES} captures run already; end one of them`);
    }
    this.running++;
    const waiting = new Waiting();
    const onAbort = () => waiting.wake();
    signal.addEventListener('abort', onAbort);
    const end = port.capture(filter, clock.wall() * 1000 - clock.now(), ({ bytes, packets, missed }) =>
      waiting.add(bytes, packets, missed),
    );
    try {
      yield Buffer.concat([encodeSection(this.application), encodeInterface(name, LINK_RAW, filter.snap)]);
      while (!signal.aborted) {
        const chunk = waiting.take(clock.wall() * 1000);
        if (chunk.length > 0) yield chunk;
        else await waiting.more();
      }
    } finally {
      end();
      signal.removeEventListener('abort', onAbort);
      this.running--;
    }
  }
}

/** Blocks for a reader, or the news that some are missing. */
class Waiting {
  private readonly chunks: Uint8Array[] = [];
  private bytes = 0;
  private captured = 0;
  private missed = 0;
  private hasMissed = false;
  private awaited: (() => void) | undefined;

  add(bytes: Uint8Array, packets: number, missed: number): void {
    const isTooMuch = this.bytes + bytes.length > MAX_WAITING;
    const lost = missed + (isTooMuch ? packets : 0);
    if (!isTooMuch) {
      this.chunks.push(bytes);
      this.bytes += bytes.length;
      this.captured += packets;
    }
    this.missed += lost;
    this.hasMissed ||= lost > 0;
    this.wake();
  }

  /** What there is, behind it how much was missed so far where that has grown. `at`: µs since 1970. */
  take(at: number): Uint8Array {
    const blocks = this.chunks.splice(0);
    this.bytes = 0;
    if (this.hasMissed) blocks.push(encodeStatistics(at, this.captured, this.missed));
    this.hasMissed = false;
    return Buffer.concat(blocks);
  }

  /** Resolves when there may be something. */
  async more(): Promise<void> {
    await new Promise<void>((resolve) => (this.awaited = resolve));
  }

  wake(): void {
    this.awaited?.();
    this.awaited = undefined;
  }
}
