/**
 * A TUN device without the addon: no vnet header, so a system call per packet, each of at most the device's MTU.
 *
 * 1. /dev/net/tun is opened here, and perl makes it the device (see perl.ts).
 * 2. A perl that waits for the descriptor says when there are packets; the bytes themselves never pass it.
 * 3. `read()` reads until EAGAIN, then asks to be told again.
 */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { PACKET_PARTIAL, type PacketBatch } from '../batch.js';
import { IoError, type TunDevice, type TunFeatures, type TunOptions } from '../ports.js';
import { completeChecksum } from './checksum.js';
import { attachTun, watchReadable, type Watch } from './perl.js';
import { Readiness } from './readiness.js';

export const TUN_PATH = '/dev/net/tun';
const MAX_PACKET_BYTES = 65_535;
const MAX_NAME_BYTES = 15;

export const PLAIN_TUN_FEATURES: TunFeatures = { vnetHeader: false, tso: false, uso: false };

/**
 * Creates the device. It vanishes after `close()` or this process's end, some milliseconds later: when the watching perl has
 * ended too. Throws IoError with EBUSY, EPERM, EINVAL or ENOENT.
 */
export function createPlainTun(options: TunOptions): TunDevice {
  checkName(options.name);
  const fd = openTun();
  try {
    attachTun(fd, options.name);
    return new PlainTun(fd, options.name);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** What the kernel's dev_valid_name() asks, less its "%d" patterns. */
export function checkName(name: string): void {
  const bytes = Buffer.byteLength(name);
  const valid =
    bytes >= 1 && bytes <= MAX_NAME_BYTES && !/[/:%\s\0]/.test(name) && name !== '.' && name !== '..';
  if (!valid)
    throw new IoError(
      `"${name}" is no interface name: 1 to 15 bytes without /, :, % or spaces`,
      'EINVAL',
      'open',
    );
}

function openTun(): number {
  try {
    return openSync(TUN_PATH, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'UNKNOWN';
    const message =
      code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO'
        ? `${TUN_PATH} isn't there: load the kernel's tun module, or pass the device into this container`
        : `${TUN_PATH} cannot be opened: ${code}; run as root or with CAP_NET_ADMIN`;
    throw new IoError(message, code, 'open', { cause });
  }
}

class PlainTun implements TunDevice {
  readonly features = PLAIN_TUN_FEATURES;
  readonly #watch: Watch;
  readonly #readiness: Readiness;
  readonly #scratch = Buffer.allocUnsafe(MAX_PACKET_BYTES);
  /** A packet in `scratch` that the last batch had no room for, bytes; 0 for none. */
  #held = 0;
  #readable = false;
  #closed = false;

  constructor(
    private readonly fd: number,
    readonly name: string,
  ) {
    this.#readiness = new Readiness(() => this.#readable);
    this.#watch = watchReadable(fd, () => {
      this.#readable = true;
      this.#readiness.check();
    });
  }

  read(batch: PacketBatch): number {
    let used = 0;
    batch.count = 0;
    while (!this.#closed && batch.count < batch.capacity) {
      const length = this.#held || this.#readPacket();
      this.#held = 0;
      if (length === 0) break;
      if (used + length > batch.bytes.length) {
        // A packet larger than the whole arena would be held for ever: it is dropped.
        if (used > 0) this.#held = length;
        if (used > 0) break;
        continue;
      }
      addPlainPacket(batch, this.#scratch.subarray(0, length), used);
      used += length;
    }
    return batch.count;
  }

  /** Reads one packet into `scratch`; 0 where there is none, and then asks to be told of the next. */
  #readPacket(): number {
    try {
      this.#readable = true;
      return readSync(this.fd, this.#scratch);
    } catch (cause) {
      const { code = 'UNKNOWN' } = cause as NodeJS.ErrnoException;
      this.#readable = false;
      if (code !== 'EAGAIN')
        throw new IoError(`TUN device ${this.name} cannot be read: ${code}`, code, 'read', { cause });
      this.#watch.arm();
      return 0;
    }
  }

  write(batch: PacketBatch, order: Int32Array, n: number): number {
    let taken = 0;
    for (let k = 0; k < n && !this.#closed; k++) if (this.#writePacket(batch, order[k])) taken++;
    return taken;
  }

  /** False where the kernel refuses it: a malformed packet, or the interface is down. */
  #writePacket(batch: PacketBatch, i: number): boolean {
    finishChecksum(batch, i);
    try {
      writeSync(this.fd, batch.bytes, batch.offset[i], batch.length[i]);
      return true;
    } catch {
      return false;
    }
  }

  onReadable(callback: () => void): void {
    this.#readiness.onReady(callback);
    if (!this.#closed) this.#watch.arm();
  }

  pause(): void {
    this.#readiness.pause();
  }

  resume(): void {
    this.#readiness.resume();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#readiness.close();
    this.#watch.close();
    closeSync(this.fd);
  }
}

/** Describes one packet without offloads as the batch's next, its bytes at `used`. */
export function addPlainPacket(batch: PacketBatch, packet: Uint8Array, used: number): number {
  const i = batch.count++;
  batch.bytes.set(packet, used);
  batch.offset[i] = used;
  batch.length[i] = packet.length;
  batch.source[i] = i;
  for (const column of ['flags', 'gsoType', 'gsoSize', 'headerLength', 'csumStart'] as const)
    batch[column][i] = 0;
  return i;
}

/** Completes packet i's checksum in the batch, and says so in its flags, if it is partial. */
export function finishChecksum(batch: PacketBatch, i: number): void {
  if ((batch.flags[i] & PACKET_PARTIAL) === 0) return;
  if (completeChecksum(batch.bytes, batch.offset[i], batch.length[i])) batch.flags[i] &= ~PACKET_PARTIAL;
}
