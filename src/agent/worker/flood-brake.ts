/**
 * Has a socket that strangers flood read less often and more at a time, as network drivers moderate interrupts: while reads bring nothing but
 * junk, the socket rests between them. The turn of the event loop, most of what junk costs, is then shared by what came meanwhile; an honest
 * datagram in the flood waits for REST at most (`bench/drops.mjs`).
 */
import type { MicroTimer, UdpSocket } from '../../io/ports.js';

/** Reads of nothing but junk in a row that make a flood. A neighbour that starts or stops sends fewer. */
const FLOOD_READS = 8;
/** Reads in a row; more would keep device and timers waiting. */
const READS_AT_ONCE = 32;
/** µs. */
const REST = 250;

export class FloodBrake {
  private readonly timer: MicroTimer;
  private junkReads = 0;

  /** `most`: messages that a read takes during a flood. */
  constructor(
    private readonly udp: Pick<UdpSocket, 'pause' | 'resume'>,
    private readonly most: number,
    createTimer: (callback: () => void) => MicroTimer,
  ) {
    this.timer = createTimer(() => this.udp.resume());
  }

  /** Whether there is a flood. */
  get isOn(): boolean {
    return this.junkReads >= FLOOD_READS;
  }

  /** Whether to read on at once after a read of `count` datagrams, some of them `honest`. A socket that has no more rests. */
  readsOn(count: number, honest: boolean): boolean {
    if (honest) this.junkReads = 0;
    else if (count > 0) this.junkReads++;
    if (!this.isOn) return false;
    if (count >= this.most) return this.junkReads % READS_AT_ONCE !== 0;
    this.udp.pause();
    this.timer.arm(REST);
    return false;
  }

  close(): void {
    this.timer.close();
  }
}
