/**
 * The ports in TypeScript alone: for hosts that can't build the addon (`--plain`), for tests, and, joined in memory, for the simulator.
 *
 *   tun.ts      a device of the kernel's, through perl.ts       memory.ts   devices, sockets and time of a simulated host
 *   udp.ts      node:dgram, through queue.ts                    segment.ts  cutting offloaded packets; oracle of the native one
 *   aead.ts     node:crypto                                     clock.ts    boot time and a timer of whole milliseconds
 *   raw.ts      whole packets, through perl.ts
 *   copy.ts     into the slots of a store                       pure.ts, address.ts, checksum.ts, readiness.ts, descriptors.ts   what these share
 *
 * Nothing here decides anything, and nothing here is fast: a packet costs a system call and a copy or two.
 */
import { readFileSync } from 'node:fs';
import type { Io, MicroTimer, RawSender, TunDevice, TunOptions, UdpOptions, UdpSocket } from '../ports.js';
import { createBootClock, createPlainTimer } from './clock.js';
import { notify } from './perl.js';
import { PureIo } from './pure.js';
import { createPlainRaw } from './raw.js';
import { createPlainTun } from './tun.js';
import { createPlainUdp } from './udp.js';

export { createMemoryIo, createMemoryNetwork, MemoryTun, MemoryUdp } from './memory.js';
export type {
  MemoryDatagram,
  MemoryHost,
  MemoryIo,
  MemoryNetwork,
  MemoryPath,
  Offload,
  VirtualTime,
} from './memory.js';

/** The ports over Node.js's own modules. */
export function createPlainIo(): Io {
  return new PlainIo();
}

class PlainIo extends PureIo implements Io {
  readonly now = createBootClock();
  readonly cpu = { aes: hasAes() };

  createTun(options: TunOptions): TunDevice {
    return createPlainTun(options);
  }

  createUdp(options: UdpOptions): Promise<UdpSocket> {
    return createPlainUdp(options);
  }

  createRaw(mark: number): RawSender {
    return createPlainRaw(mark);
  }

  createTimer(callback: () => void): MicroTimer {
    return createPlainTimer(callback);
  }

  setSlice(): boolean {
    return false;
  }

  trim(): boolean {
    return false;
  }

  notify(state: string): boolean {
    return notify(state);
  }
}

/** Whether the CPU lists AES instructions, as x86 ("flags") and ARM ("Features") do. */
function hasAes(): boolean {
  try {
    return /^(flags|Features)\s*:.*\baes\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'));
  } catch {
    return false;
  }
}
